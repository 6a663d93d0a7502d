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
"""Smaller arrays of integers that are not wide are not split: they take little memory to decode."""

WIDE = 32.0
"""Standard deviation from which on arrays of any length are split: few of so many different integers
repeat, so that a code learns nothing of them, and they would be stored in 16 bits."""

_MEDIAN_OF_A_GAUSSIAN = 0.6745
"""Median magnitude at a standard deviation of 1."""

_SHIFT_BY_DEVIATION = ((512.0, 8), (WIDE, 4), (8.0, 2), (4.0, 1))
"""(least standard deviation, k); k = 3, 5, 6 or 7 would not fill a byte."""


LARGEST_OF_12_BITS = 2039
"""16 * 127 + 7: the high part of no integer up to it is above 127, so that a byte and 4 bits hold it."""


def is_of_12_bits(integers: Integers) -> bool:
    """Whether integers are too wide for a byte, but not for a byte and a half (`split` by 4)."""
    low, high = (int(integers.min()), int(integers.max())) if integers.size else (0, 0)
    return max(-low, high) > 128 and max(-low, high) <= LARGEST_OF_12_BITS


def choose_shift(integers: Integers) -> int:
    """Return k for an array: 0 leaves it whole."""
    if integers.size < MIN_ELEMENTS:
        # Few large ones among many small integers make a large deviation, but no wide array.
        deviation = float(np.median(np.abs(integers))) / _MEDIAN_OF_A_GAUSSIAN if integers.size else 0.0
        if deviation < WIDE:
            return 0
    else:
        deviation = float(np.std(integers, dtype=np.float32))
    return next((k for least, k in _SHIFT_BY_DEVIATION if deviation >= least), 0)


def split(integers: Integers, shift: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Return the high parts (int32) and the low parts less 2^(k-1) (int8), for 1 <= k <= 8."""
    moved = integers.astype(np.int32)
    moved += 1 << (shift - 1)
    high = moved >> shift
    moved -= high << shift
    moved -= 1 << (shift - 1)
    return high, moved.astype(np.int8)
