"""A metric of the user's own: f(reference outputs, outputs) -> loss, all runs joined along axis 0."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.measure.metric import Deviation, Metric
from onnxzip.measure.running_sums import Runs
from onnxzip.options import UserFunction
from onnxzip.runtime.outputs import Outputs


@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionMetric(Metric):
    """What a function returns for two dicts of outputs.

    Attributes:
        function: takes the reference's outputs and the others, by name; returns the loss.
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
        try:
            value = float(self.function(before, after))
        except (Exception, SystemExit) as error:  # the user's function may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise CalibrationError(
                f"`metric` {self.name}: failed: {reason}; it takes two dicts of outputs"
            ) from error
        if math.isnan(value):
            raise CalibrationError(f"`metric` {self.name}: returned NaN; it must return a number")
        return Deviation(value)

    def _join(self, runs: Sequence[Outputs]) -> Outputs:
        try:
            return {key: np.concatenate([np.atleast_1d(run[key]) for run in runs]) for key in runs[0]}
        except (KeyError, ValueError) as error:
            raise CalibrationError(
                f"`metric` {self.name}: the outputs of different runs differ in shape and cannot be "
                "joined; pass calibration data of one shape"
            ) from error


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
            f"`metric` {name}: is not a function; name one that takes two dicts of outputs"
        )
    return function  # type: ignore[no-any-return]
