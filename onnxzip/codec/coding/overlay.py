"""Tuples with a single one that lie far apart, a byte each: how far from the last, and which.

A prefix code spends a bit or more on each tuple, however sure it is. Where nearly all tuples are zero it
is cheaper to say where the others are. A tuple of d integers that are all zero has the pattern 0, one
with a 1 or -1 in place i and zeros else has 2 i + 1 or 2 i + 2:

    code = (2 d + 1) * advance + pattern        position = sum of the advances up to here

A gap that one byte cannot cross is crossed by codes that land on other tuples with a pattern and write
what is there anyway; a long one by a jump, whose advance is stored apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
        codes: (n,) uint8, of (2 d + 1) patterns.
        jumps: rising places among the codes, int32, whose advance is not in the code.
        advances: int32, the advances of the jumps.
    """

    codes: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    jumps: Integers = field(default_factory=_none)
    advances: Integers = field(default_factory=_none)


def n_patterns(length: int) -> int:
    """Return how many patterns tuples of a length may have."""
    return 2 * length + 1


def max_advance(length: int) -> int:
    """Return the largest advance of a code; the code is below 256."""
    return (256 - n_patterns(length)) // n_patterns(length)


def patterns_of(tuples: Integers) -> NDArray[np.int64]:
    """Return the pattern of each of (n, length) tuples; -1 for one that has none."""
    magnitudes = np.abs(tuples)
    places = np.argmax(magnitudes, axis=1)
    value = tuples[np.arange(len(tuples)), places]
    found = np.where(value == 0, 0, 2 * places + np.where(value > 0, 1, 2))
    return np.where(magnitudes.sum(axis=1, dtype=np.int64) <= 1, found, -1)


def pattern_tuples(length: int) -> Integers:
    """Return the tuples of all patterns in their order, (2 length + 1, length) int32."""
    tuples = np.zeros((n_patterns(length), length), np.int32)
    for i in range(length):
        tuples[2 * i + 1 : 2 * i + 3, i] = 1, -1
    return tuples


def write_overlay(patterns: NDArray[np.int64], positions: NDArray[np.int64], length: int) -> Overlay:
    """Return the overlay that puts patterns in place.

    Args:
        patterns: (n,) of all tuples, -1 where one has none.
        positions: rising, the tuples that get theirs by this overlay.
        length: of a tuple.
    """
    if not len(positions):
        return Overlay()
    n, most = n_patterns(length), max_advance(length)
    gaps = np.diff(positions, prepend=0)
    is_far = gaps > most
    codes = np.where(is_far, 0, n * gaps) + patterns[positions]
    landings = np.maximum.accumulate(np.where(patterns >= 0, np.arange(len(patterns)), -1))
    stops: list[int] = []
    places: list[int] = []
    jumps: list[int] = []
    for place in np.flatnonzero(is_far).tolist():
        end = int(positions[place])
        found = _stops(landings, end - int(gaps[place]), end, most)
        if found:
            last = [end - int(gaps[place]), *found]
            stops += [n * (b - a) + int(patterns[b]) for a, b in zip(last, found, strict=False)]
            places += [place] * len(found)
            codes[place] += n * (end - found[-1])
        else:
            jumps.append(place)
    moved = np.array(jumps, np.int64) + np.searchsorted(places, jumps, side="right")
    return Overlay(
        np.insert(codes, places, stops).astype(np.uint8),
        moved.astype(np.int32),
        gaps[jumps].astype(np.int32),
    )


def _stops(landings: NDArray[np.int64], start: int, end: int, most: int) -> list[int]:
    """Return where to land between two positions; nothing where that takes more than a jump."""
    found: list[int] = []
    last = start
    while end - last > most:
        landing = int(landings[last + most])
        if landing <= last or len(found) == _MAX_STOPS:
            return []
        found.append(landing)
        last = landing
    return found


def n_overlay_bits(
    n_ones: NDArray[np.float64],
    n_tuples: NDArray[np.float64],
    n_runs: NDArray[np.int64],
    length: int,
) -> NDArray[np.float64]:
    """Estimate the bits for ones spread evenly over so many tuples in so many runs, by context."""
    density = np.clip(n_ones / np.maximum(n_tuples, 1), 1e-6, 1.0)
    far = (1 - density) ** max_advance(length)
    n_stops = np.minimum(far / np.maximum(1 - far, 1e-6), JUMP_BITS / 8)
    return np.asarray(8 * n_ones * (1 + n_stops) + JUMP_BITS * np.minimum(n_runs, n_ones))
