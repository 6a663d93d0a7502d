"""The metrics, one a file: a module here defines one, named like its file, and nothing else lists it.

A metric is a frozen `SumMetric`: name, default limit, how it is shown, a line for --help, and what a
sample adds to its two sums. What begins with an underscore is no metric.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import UsageError, did_you_mean
from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.metrics._user_function import FunctionMetric, import_function
from onnxzip.options import UserFunction, name_of


@cache
def metrics() -> dict[str, type[SumMetric]]:
    """Return every metric by name, in alphabetical order.

    A metric that fails to import is an error, never a silence.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return {name: _metric_of(name) for name in names if not name.startswith("_")}


def _metric_of(name: str) -> type[SumMetric]:
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, SumMetric)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1 or classes[0].name != name:
        raise ImportError(f"measure/metrics/{name}.py has to define one metric, named '{name}'")
    return classes[0]


def make_metric(
    metric: str | UserFunction,
    tolerance: float | None = None,
    labels: NDArray[np.int64] | None = None,
) -> Metric:
    """Make a metric from what the user calls it.

    Args:
        metric: a name in `metrics()`, a "module:function", which is looked up in the working directory
            too, or a function of two dicts of outputs (all runs joined along axis 0) that returns the
            loss.
        tolerance: the limit in the metric's own unit; the metric's default otherwise.
        labels: true classes, for a metric that takes them.

    Raises:
        UsageError: unknown metric, no tolerance for a user's function, labels without use.
        CalibrationError: the user's function cannot be imported.
    """
    name = metric if isinstance(metric, str) else name_of(metric)
    found = metrics().get(name)
    if labels is not None and not (found and found.takes_labels):
        takers = " or ".join(key for key, value in metrics().items() if value.takes_labels)
        raise UsageError(f"`labels` belong to `metric` {takers}; leave one of them out")
    if found:
        return found(found.default_limit if tolerance is None else tolerance, labels)
    if ":" not in name:
        meant = did_you_mean(name, metrics())
        known = f"use {', '.join(metrics())} or module:function"
        raise UsageError(f"`metric` {name} is unknown; {' '.join(filter(None, (meant, known)))}")
    if tolerance is None:
        raise UsageError(f"`metric` {name} has no default limit; pass `tolerance`")
    function = import_function(metric) if isinstance(metric, str) else metric
    return FunctionMetric(tolerance, function=function, called=name)


def without_limit(metric: Metric) -> Metric:
    """Return the metric with a limit that everything passes."""
    return replace(metric, limit=-math.inf if metric.higher_is_better else math.inf)
