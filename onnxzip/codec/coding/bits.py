"""Fields of variable width in a byte string, and the table of all its windows.

Bit p is bit p mod 8 (from the least significant) of byte p div 8; a field of width k at position p is
    (window(p)) mod 2^k    with    window(p) = (byte[p div 8] + 256 byte[p div 8 + 1]) div 2^(p mod 8),
so a field of at most MAX_WIDTH bits is read by one look-up in the table of windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_WIDTH = 7
"""Bits. A window of w bits is looked up by a byte and w - 1 bits of the next one (`emit.fields`), in a
table of 2^(w + 10) bytes, and a node of a tree has 2^w children in memory; 9 bits: -0.1 to -0.5 % in
size."""

_BLOCK = 1 << 20
"""Fields written at a time: some ten arrays of 8 MB instead of ten times the whole."""


def pack_fields(values: NDArray[np.int32], widths: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Write fields one behind the other.

    Args:
        values: (n,) each below 2 ** width.
        widths: (n,) 0 ... MAX_WIDTH bits.

    Returns:
        uint8, n_bits // 8 + 1 bytes: with any byte behind them, the position behind the last field
        has a window too.
    """
    n_bits = int(widths.sum(dtype=np.int64))
    packed = np.zeros(n_bits // 8 + 1, np.uint8)
    start = 0
    for i in range(0, len(values), _BLOCK):
        width = widths[i : i + _BLOCK]
        used = np.flatnonzero(width)
        ends = start + np.cumsum(width[used], dtype=np.int64)
        if len(used):
            _or_fields(packed, values[i : i + _BLOCK][used], ends - width[used])
            start = int(ends[-1])
    return packed


def _or_fields(packed: NDArray[np.uint8], values: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
    """OR fields into place; sums do, since no two fields share a bit."""
    place, shift = starts >> 3, starts & 7
    first = int(place[0])
    shifted = values.astype(np.int64) << shift
    size = int(place[-1]) - first + 2
    total = np.bincount(place - first, weights=shifted & 255, minlength=size)
    total += np.bincount(place - first + 1, weights=shifted >> 8, minlength=size)
    part = packed[first : first + size]
    part += total[: len(part)].astype(np.uint8)
