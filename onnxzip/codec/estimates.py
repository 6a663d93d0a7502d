"""What integers and steps take in a file, before they are coded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BYTES_PER_ARRAY = 200
N_BYTES_PER_TABLE = 40
_N_CLASSES = 4
_CLASS_SIZE = 4096


FLOAT16_NORMAL = (6.2e-5, 6.5e4)
"""Just inside its smallest normal number, 2^-14, and its largest one, 65504: steps are rounded."""


def n_ideal_bits(integers: NDArray[np.signedinteger[Any]]) -> float:
    """Return the zeroth-order entropy of (n_segments, length) integers within segment contexts, in bits.

    The segments are put into at most _N_CLASSES classes of about equal size by mean magnitude, as
    a stand-in for the contexts that the coder finds over the whole model.
    """
    if integers.size == 0:
        return 0.0
    n_classes = min(_N_CLASSES, max(1, integers.size // _CLASS_SIZE), len(integers))
    spread = np.abs(integers).mean(axis=1, dtype=np.float32) if n_classes > 1 else np.zeros(1)
    order = np.argsort(spread, kind="stable") if n_classes > 1 else np.arange(len(integers))
    low = int(integers.min())
    bits = 0.0
    for members in np.array_split(order, n_classes):
        rows = integers if n_classes == 1 else integers[members]
        counts = np.bincount(rows.ravel().astype(np.int32) - low).astype(np.float64)
        used = counts[counts > 0]
        bits += float((used * np.log2(used.sum() / used)).sum())
    return bits


def step_dtype(steps: NDArray[np.float32]) -> np.dtype[np.generic]:
    """Return float16 when that holds every step exactly, else float32."""
    with np.errstate(over="ignore"):
        exact = bool(np.array_equal(steps.astype(np.float16).astype(np.float32), steps))
    return np.dtype(np.float16 if exact else np.float32)
