"""Arrays whose squares would leave float32 are quantised at another scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.layer import MAX_EXPONENT
from onnxzip.records.payload import Coefficients


def extreme_exponent(values: NDArray[np.float32]) -> int:
    """Return the binary exponent of the largest value where squares would leave float32, else 0."""
    largest = float(np.abs(values).max(initial=0.0))
    exponent = int(np.frexp(largest)[1]) if largest > 0 else 0
    return exponent if abs(exponent) > MAX_EXPONENT else 0


def rescaled(coefficients: Coefficients, exponent: int) -> Coefficients:
    """Multiply the steps by 2 ** exponent; steps too small for a normal float32 become zero."""
    with np.errstate(over="ignore"):  # a step that is Inf is measured like any other
        steps = np.ldexp(coefficients.steps, exponent)
    steps = np.where(steps < np.finfo(np.float32).tiny, 0, steps)
    return replace(coefficients, steps=steps, lost=None)
