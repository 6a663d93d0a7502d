"""Ones and minus ones that lie far apart, a byte each: how far from the last one, and which.

A prefix code spends a bit or more on each tuple, however sure it is. Where nearly all integers are zero
it is cheaper to say where the others are:

    code = 3 * advance + value + 1        position = sum of the advances up to here

A gap that one byte cannot cross is crossed by codes that land on other integers from -1 to 1 and write
what is there anyway; a long one by a jump, whose advance is stored apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_ADVANCE = 84
"""The largest with 3 * advance + 2 in a byte: 254."""

JUMP_BITS = 28.0
"""Beside its code: a position as a gap of 16 bits, and an advance of 8 or 16. Half of it: no change;
twice: 0, +0.1, 0, 0 % of digits_cnn, _autoencoder, _attention and _gru (`tests.bench.constants`)."""

_MAX_STOPS = 2
"""A byte each: four take more than a jump. None: 0, +0.5, +0.5, 0 %; one: 0, +0.2, +0.1, 0 %; three: 0,
-0.1, -0.1, 0 %."""

Integers = NDArray[np.int32]


def _none() -> Integers:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Overlay:
    """What is written over an array.

    Attributes:
        codes: (n,) uint8.
        jumps: rising places among the codes, int32, whose advance is not in the code.
        advances: int32, the advances of the jumps.
    """

    codes: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    jumps: Integers = field(default_factory=_none)
    advances: Integers = field(default_factory=_none)


def write_overlay(flat: Integers, positions: NDArray[np.int64]) -> Overlay:
    """Return the overlay that puts -1 or 1 at rising positions of an array.

    Args:
        flat: (n,) what the array is in the end.
        positions: where `flat` is -1 or 1 by this overlay.
    """
    if not len(positions):
        return Overlay()
    gaps = np.diff(positions, prepend=0)
    is_far = gaps > MAX_ADVANCE
    codes = np.where(is_far, 0, 3 * gaps) + flat[positions] + 1
    landings = np.maximum.accumulate(np.where(np.abs(flat) <= 1, np.arange(len(flat)), -1))
    stops: list[int] = []
    places: list[int] = []
    jumps: list[int] = []
    for place in np.flatnonzero(is_far).tolist():
        end = int(positions[place])
        found = _stops(landings, end - int(gaps[place]), end)
        if found:
            last = [end - int(gaps[place]), *found]
            stops += [3 * (b - a) + int(flat[b]) + 1 for a, b in zip(last, found, strict=False)]
            places += [place] * len(found)
            codes[place] += 3 * (end - found[-1])
        else:
            jumps.append(place)
    moved = np.array(jumps, np.int64) + np.searchsorted(places, jumps, side="right")
    return Overlay(
        np.insert(codes, places, stops).astype(np.uint8),
        moved.astype(np.int32),
        gaps[jumps].astype(np.int32),
    )


def _stops(landings: NDArray[np.int64], start: int, end: int) -> list[int]:
    """Return where to land between two positions; nothing where that takes more than a jump."""
    found: list[int] = []
    last = start
    while end - last > MAX_ADVANCE:
        landing = int(landings[last + MAX_ADVANCE])
        if landing <= last or len(found) == _MAX_STOPS:
            return []
        found.append(landing)
        last = landing
    return found


def n_overlay_bits(
    n_ones: NDArray[np.float64], n_values: NDArray[np.float64], n_runs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Estimate the bits for ones spread evenly over so many values in so many runs, by context."""
    density = np.clip(n_ones / np.maximum(n_values, 1), 1e-6, 1.0)
    far = (1 - density) ** MAX_ADVANCE
    n_stops = np.minimum(far / np.maximum(1 - far, 1e-6), JUMP_BITS / 8)
    return np.asarray(8 * n_ones * (1 + n_stops) + JUMP_BITS * np.minimum(n_runs, n_ones))
