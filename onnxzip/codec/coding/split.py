"""Splits wide integers into a high part worth coding and low bits that are noise.

    high = (x + 2^(k-1)) >> k,   low = x + 2^(k-1) - 2^k high,   0 <= low < 2^k
    x = 2^k high + (low - 2^(k-1))

Within a cell of 2^k integers a smooth density is nearly flat, so the low bits are incompressible: for a
Gaussian, storing them plainly costs about (2^k / s)^2 / 24 nats, s being the standard deviation of x;
0.015 bit where the high part's is 2. What it saves is memory: high parts go two and more to a code word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.signedinteger[Any]]

MIN_ELEMENTS = 1 << 16
"""Smaller arrays are not split: their decoding takes little memory as it is."""

_SHIFT_BY_DEVIATION = ((32.0, 4), (8.0, 2), (4.0, 1))
"""(least standard deviation, k); k = 3 would not fill a byte."""


def choose_shift(integers: Integers) -> int:
    """Return k for an array: 0 leaves it whole."""
    if integers.size < MIN_ELEMENTS:
        return 0
    deviation = float(np.std(integers, dtype=np.float32))
    return next((k for least, k in _SHIFT_BY_DEVIATION if deviation >= least), 0)


def split(integers: Integers, shift: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Return the high parts (int32) and the low parts less 2^(k-1) (int8), for 1 <= k <= 4."""
    moved = integers.astype(np.int32)
    moved += 1 << (shift - 1)
    high = moved >> shift
    moved -= high << shift
    moved -= 1 << (shift - 1)
    return high, moved.astype(np.int8)
