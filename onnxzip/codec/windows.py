"""Packs integers in fewer bits than the farthest of them need: those are put in place last.

A window of 2 m + 1 integers around 0 takes a fixed number of bits (`packed`), of the integers themselves
or of the high parts behind which low ones follow (`split`). What lies outside is stored with its place:
patched frame of reference (Zukowski et al. 2006, doi 10.1109/ICDE.2006.150). Weights that were quantised
by a step for each tensor have few numbers near the ends of their type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.packed import MIN_OF_TWO_BYTES, n_packed_bytes
from onnxzip.codec.coding.prefix import Outliers
from onnxzip.codec.coding.split import split

_OUTLIER_BYTES = 3
"""The gap before it in two bytes, and a byte."""

_MOST_OUTLIERS = 0.05
"""Share of the integers: an outlier takes more memory at load than all else that is packed."""

_MIN_SAVED = 1 / 32
"""Share of the bytes; as much as coding has to save (`emit.coded`)."""


@dataclass(frozen=True)
class Window:
    """How integers are packed.

    Attributes:
        factor: by which they are split; 1 leaves them whole.
        largest: magnitude of what is in the window; None where all is.
        n_bytes: what they take in the file.
    """

    factor: int
    largest: int | None
    n_bytes: int


_WINDOWS = ((1, 1), (1, 2), (1, 4), (1, 7), (1, 19), (4, 7), (6, 7), (256, 7), (256, 19))
"""(factor, largest): 1.6, 2.67, 3.2, 4, 5.33, 6, 6.67, 12 and 13.33 bits; 3.2 and 5.33 bits are several
integers in two bytes, for which an array has to be large."""

_BITS = {1: 8 / 5, 2: 8 / 3, 4: 16 / 5, 7: 4.0, 19: 16 / 3}

_LOW_BITS = {1: 0.0, 4: 2.0, 6: 8 / 3, 256: 8.0}


def choose_window(integers: NDArray[np.signedinteger[Any]]) -> Window:
    """Return the window that makes (n_segments, length) integers smallest; all of them if none does."""
    best = Window(1, None, n_packed_bytes(integers))
    if not integers.size:
        return best
    most_bytes = (1 - _MIN_SAVED) * best.n_bytes
    for factor, largest in _WINDOWS:
        bits = _BITS[largest] + _LOW_BITS[factor]
        is_short = largest in (4, 19) and integers.size < MIN_OF_TWO_BYTES
        if is_short or integers.size * bits / 8 >= min(best.n_bytes, most_bytes):
            continue
        high = integers if factor == 1 else split(integers, factor)[0]
        n_outside = int(np.count_nonzero(np.abs(high) > largest))
        n_bytes = int(integers.size * bits / 8) + _OUTLIER_BYTES * n_outside
        if n_outside <= _MOST_OUTLIERS * integers.size and n_bytes < min(best.n_bytes, most_bytes):
            best = Window(factor, largest if n_outside else None, n_bytes)
    return best


def parted(
    integers: NDArray[np.int32], largest: int | None
) -> tuple[NDArray[np.int32], Outliers | None]:
    """Return integers with zeros in place of those outside a window, and these."""
    if largest is None:
        return integers, None
    positions = np.flatnonzero(np.abs(integers) > largest)
    inside = integers.copy()
    inside.flat[positions] = 0
    return inside, Outliers(positions.astype(np.int32), integers.ravel()[positions])
