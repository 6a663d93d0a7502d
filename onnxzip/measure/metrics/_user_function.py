"""A metric of the user's own: f(reference outputs, outputs) -> loss, all runs joined along axis 0.

It takes two dicts of arrays by output name. For a model with one output it may take the two arrays
themselves. Its signature says so, nothing is tried out: its first parameter is annotated as an array, or
called y_true, as those of scikit-learn and keras are.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from onnxzip.errors import CalibrationError
from onnxzip.measure.metric import Deviation, Metric
from onnxzip.measure.outputs.running_sums import Runs
from onnxzip.options import UserFunction
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs

_ARRAY_TYPE = re.compile(r"\b(ndarray|NDArray|ArrayLike|Array)\b")
_MAPPING_TYPE = re.compile(r"\b([Dd]ict|\w*Mapping)\b")
_ARRAY_NAME = "y_true"
"""Annotations, and a name, of a parameter that takes an array."""

_ADVICE = (
    "or the arrays of a single one if its first parameter is annotated as an array or called y_true"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionMetric(Metric):
    """What a function returns for two dicts of outputs, or for the two arrays of the only output.

    Attributes:
        function: takes the reference's outputs and the others; returns the loss.
        called: "module:function"; the colon tells it from every metric of ours.
    """

    summary: ClassVar[str] = "a Python module:function"
    function: UserFunction
    called: str

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.called

    def measure(self, reference: Runs, outputs: Runs, sizes: Sequence[int] | None = None) -> Deviation:
        """Call the function; see `Metric`."""
        runs = list(zip(reference, outputs, strict=True))
        before, after = (self._join([pair[side] for pair in runs]) for side in (0, 1))
        is_for_arrays = takes_arrays(self.function)
        arguments = [self._only(side) if is_for_arrays else side for side in (before, after)]
        # Which of its two kinds the function is, only its signature knows.
        function = cast("Callable[[object, object], float]", self.function)
        try:
            value = float(function(*arguments))
        except (Exception, SystemExit) as error:  # the user's function may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise CalibrationError(
                f"`metric` {self.name}: failed: {reason}; it is given two "
                + ("arrays" if is_for_arrays else f"dicts of outputs, {_ADVICE}")
            ) from error
        if math.isnan(value):
            raise CalibrationError(f"`metric` {self.name}: returned NaN; it must return a number")
        return Deviation(value)

    def _only(self, outputs: Outputs) -> Array:
        if len(outputs) != 1:
            raise CalibrationError(
                f"`metric` {self.name}: takes arrays, but the model has {len(outputs)} outputs "
                f"({', '.join(outputs)}); write one that takes two dicts of them by name"
            )
        return next(iter(outputs.values()))

    def _join(self, runs: Sequence[Outputs]) -> Outputs:
        try:
            return {key: np.concatenate([np.atleast_1d(run[key]) for run in runs]) for key in runs[0]}
        except (KeyError, ValueError) as error:
            raise CalibrationError(
                f"`metric` {self.name}: the outputs of different runs differ in shape and cannot be "
                "joined; pass calibration data of one shape"
            ) from error


def takes_arrays(function: UserFunction) -> bool:
    """Whether a function's signature says that it takes arrays and not dicts of them.

    Its first parameter's annotation decides, as it stands there; without one its name.
    """
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (TypeError, ValueError):  # a function in C, of which Python knows no signature
        return False
    if first is None:
        return False
    if first.annotation is inspect.Parameter.empty:
        return first.name == _ARRAY_NAME
    if first.annotation == ArrayLike:  # a union, whose text does not say so
        return True
    text = inspect.formatannotation(first.annotation)
    return bool(_ARRAY_TYPE.search(text)) and not _MAPPING_TYPE.search(text)


def import_function(name: str) -> UserFunction:
    """Return the function that "module:function" names; the working directory is looked into too.

    Raises:
        CalibrationError: there is none.
    """
    module_name, _, function_name = name.partition(":")
    folder = str(Path.cwd())  # a console script's path lacks it
    sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CalibrationError(
            f"`metric` {name}: cannot be imported: {reason}; check the names"
        ) from error
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise CalibrationError(
            f"`metric` {name}: is not a function; name one that takes two dicts of outputs, {_ADVICE}"
        )
    return function  # type: ignore[no-any-return]
