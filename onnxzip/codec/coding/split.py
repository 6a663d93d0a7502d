"""Splits wide integers into a high part worth coding and a low one that is noise.

    high = floor((x + floor(f / 2)) / f),   low = x - f high,   -floor(f / 2) <= low < f - floor(f / 2)

With f = 2^k the low part is k bits. Within a cell of 2^k integers a smooth density is nearly flat, so
that the low bits are incompressible: for a Gaussian, storing them plainly costs about (2^k / s)^2 / 24
nats, s being the standard deviation of x; 0.015 bit where the high part's is 2. What it saves is memory:
high parts go two and more to a code word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.packed import MIN_OF_TWO_BYTES

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

LARGEST_OF_6_BITS = 29
"""4 * 7 + 1: the high part of no integer up to it is above 7, so that 4 bits and 2 bits hold it."""

LARGEST_OF_7_BITS = 44
"""6 * 7 + 2: likewise, with 4 bits and a low part of 6 values, three to a byte (6.67 bits in all)."""

_MIN_OF_6_BITS = 1 << 12
"""Integers: fewer save less than the nodes that join two parts, and their tables, take in the file."""

_LARGEST_OF_4_BITS = 7

_LARGEST_OF_2_BYTES = 19
"""Of three integers together, in alphabets of 40 (`packed`)."""


def packed_factor(integers: Integers) -> int:
    """Return the f by which integers are split where they are packed; 1 packs them whole.

    Too wide for a byte, but not for a byte and a half: 16. Too wide for half a byte, and not for 6 bits:
    4, unless there are enough of them for three to share two bytes. And not for 6.67 bits: 6.
    """
    low, high = (int(integers.min()), int(integers.max())) if integers.size else (0, 0)
    largest = max(-low, high)
    least = _LARGEST_OF_4_BITS if integers.size < MIN_OF_TWO_BYTES else _LARGEST_OF_2_BYTES
    if least < largest <= LARGEST_OF_7_BITS and integers.size >= _MIN_OF_6_BITS:
        return 4 if largest <= LARGEST_OF_6_BITS else 6
    return 16 if 128 < largest <= LARGEST_OF_12_BITS else 1


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


def split(integers: Integers, factor: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Return the high parts (int32) and the low parts (int8), for 2 <= factor <= 256."""
    moved = integers.astype(np.int32)
    moved += factor // 2
    high = moved // factor
    moved -= high * factor
    moved -= factor // 2
    return high, moved.astype(np.int8)
