"""Distances between the outputs of two models, accumulated over runs.

    rel_l2   |y - y'| / |y| of each output over all runs, the worst output         limit 0.1
    cosine   1 - cos(y, y') of each sample, mean over samples, the worst output    limit 0.005
    psnr     10 log10(peak² / mean((y - y')²)) in dB, peak = max(y) - min(y) of the output (255 for
             uint8), the least output; higher is better                            limit 30
    top1     share of changed answers; with labels the drop in accuracy, as a fraction   limit 0.01
    module:function, in Python also a callable   f(reference outputs, outputs) -> loss; all runs joined
             along axis 0

Outputs of integers, booleans and strings count with the share of elements that differ (in psnr, numbers
count as numbers). NaN or Inf at the same places in both are left out; anywhere else they are an infinite
loss, and so is a changed shape.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import CalibrationError, UsageError
from onnxzip.measure.running_sums import (
    Deviation,
    Runs,
    measure_cosine,
    measure_sums,
    measure_top1,
    psnr,
    relative,
)
from onnxzip.options import UserFunction
from onnxzip.runtime.outputs import Outputs

DEFAULT_LIMITS = {"rel_l2": 0.1, "cosine": 0.005, "psnr": 30.0, "top1": 0.01}


@dataclass(frozen=True, eq=False)
class Metric:
    """A way to measure the loss, and the limit it is held to; made by `make_metric`.

    Attributes:
        name: "rel_l2", "cosine", "psnr", "top1", or the "module:function" of a user's.
        limit: largest loss allowed (psnr: least dB).
        labels: int64 (n_samples, ...) for top1.
        function: the user's function.
    """

    name: str
    limit: float
    labels: NDArray[np.int64] | None = None
    function: UserFunction | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is a smaller loss."""
        return self.name == "psnr"

    @property
    def is_proportional(self) -> bool:
        """Whether the loss grows in proportion to the predicted one, so that a search can aim at it."""
        return self.name == "rel_l2"

    def passes(self, value: float) -> bool:
        """Return the verdict on a value; NaN never passes."""
        return value >= self.limit if self.higher_is_better else value <= self.limit

    def measure(self, reference: Runs, outputs: Runs) -> Deviation:
        """Compare the outputs of two models, run by run.

        Raises:
            CalibrationError: the metric does not apply to these outputs, or the user's function fails.
        """
        pairs = zip(reference, outputs, strict=True)
        if self.function is not None:
            return Deviation(_call(self.name, self.function, pairs))
        if self.name == "cosine":
            return measure_cosine(pairs)
        if self.name == "top1":
            return measure_top1(pairs, self.labels)
        return measure_sums(pairs, psnr if self.name == "psnr" else relative, self.higher_is_better)


def make_metric(
    metric: str | UserFunction,
    tolerance: float | None = None,
    labels: NDArray[np.int64] | None = None,
    *,
    name: str = "",
) -> Metric:
    """Make a metric of what `Options` lets pass.

    Args:
        metric: see the top of this file; a module is looked up in the working directory too.
        tolerance: the limit in the metric's own unit, which a user's function needs; DEFAULT_LIMITS
            otherwise.
        labels: for top1.
        name: what a user's function is called in messages and in the report.

    Raises:
        UsageError: there is no metric of this name.
        CalibrationError: the user's function cannot be imported.
    """
    if not isinstance(metric, str):
        assert tolerance is not None
        return Metric(name, tolerance, function=metric)
    name = metric
    if ":" in name:
        assert tolerance is not None
        return Metric(name, tolerance, function=_import_function(name))
    if name not in DEFAULT_LIMITS:
        raise UsageError(
            f"`metric` {name} is unknown; use {', '.join(DEFAULT_LIMITS)} or module:function"
        )
    return Metric(name, DEFAULT_LIMITS[name] if tolerance is None else tolerance, labels)


def without_limit(metric: Metric) -> Metric:
    """Return the metric with a limit that everything passes."""
    return replace(metric, limit=-math.inf if metric.higher_is_better else math.inf)


def _import_function(name: str) -> UserFunction:
    module_name, _, function_name = name.partition(":")
    folder = str(Path.cwd())  # a console script's path lacks it
    sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # the user's module may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CalibrationError(
            f"`metric` {name}: cannot be imported: {reason}; check the names"
        ) from error
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise CalibrationError(
            f"`metric` {name}: is not a function; name one that takes two dicts of outputs"
        )
    return function  # type: ignore[no-any-return]


def _call(name: str, function: UserFunction, pairs: Iterator[tuple[Outputs, Outputs]]) -> float:
    runs = list(pairs)
    joined = [_join(name, [pair[side] for pair in runs]) for side in (0, 1)]
    try:
        value = float(function(joined[0], joined[1]))
    except Exception as error:  # the user's function may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CalibrationError(
            f"`metric` {name}: failed: {reason}; it takes two dicts of outputs"
        ) from error
    if math.isnan(value):
        raise CalibrationError(f"`metric` {name}: returned NaN; it must return a number")
    return value


def _join(name: str, runs: list[Outputs]) -> Outputs:
    try:
        return {key: np.concatenate([np.atleast_1d(run[key]) for run in runs]) for key in runs[0]}
    except (KeyError, ValueError) as error:
        raise CalibrationError(
            f"`metric` {name}: the outputs of different runs differ in shape and cannot be joined; "
            "pass calibration data of one shape"
        ) from error
