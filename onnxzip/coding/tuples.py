"""An order of all tuples of d integers that is nearly the order of falling probability, at no cost.

Each integer s of the alphabet low ... low + n - 1 has a small cost; the tuples, numbered as d digits to
the base n, are sorted by the sum of their costs, equal ones by number. For costs |s|^g this is the
exact order for any generalised Gaussian (Laplace g = 1, Gauss g = 2) of whatever variance, so that one
table serves all contexts. The file holds the n costs; the sorted table is built when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 16384
MAX_LENGTH = 8
MAX_LEVEL_ROWS = 1 << 21
"""Limit of (largest sum of costs) * rows: sorting in the graph takes 12 bytes of memory for each."""
_EXPONENTS = (1.25, 1.6, 2.0)


@dataclass(frozen=True, eq=False)
class TupleOrder:
    """The sorted table of all tuples.

    Attributes:
        length: integers in a tuple, d.
        low: smallest integer of the alphabet.
        costs: (n,) uint8, cost of each integer from `low` upwards.
    """

    length: int
    low: int
    costs: NDArray[np.uint8]

    @property
    def n_symbols(self) -> int:
        """Size n of the alphabet."""
        return len(self.costs)

    @property
    def n_rows(self) -> int:
        """Number of tuples, n ** d."""
        return self.n_symbols**self.length

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The tuples' numbers in sorted order, (n_rows,)."""
        total = np.zeros(1, np.int64)
        for _ in range(self.length):
            total = np.add.outer(total, self.costs.astype(np.int64)).ravel()
        return np.argsort(total, kind="stable")

    def table(self) -> NDArray[np.int32]:
        """Return the sorted tuples, (n_rows, length) int32."""
        places = self.n_symbols ** np.arange(self.length - 1, -1, -1)
        digits = self.numbers[:, None] // places % self.n_symbols
        return (digits + self.low).astype(np.int32)


def number_tuples(flat: NDArray[np.int32], length: int, low: int, n_symbols: int) -> NDArray[np.int64]:
    """Return the number of each tuple of a (n * length,) array; integers outside the alphabet count as 0."""
    digits = replace_outliers(flat, low, n_symbols).reshape(-1, length)
    numbers = digits[:, 0] - np.int64(low)
    for i in range(1, length):
        numbers *= n_symbols
        numbers += digits[:, i] - low
    return numbers


def replace_outliers(flat: NDArray[np.int32], low: int, n_symbols: int) -> NDArray[np.int32]:
    """Return the array with the integers outside the alphabet replaced by its most neutral one."""
    outside = find_outliers(flat, low, n_symbols)
    if not outside.any():
        return flat
    return np.where(outside, np.int32(np.clip(0, low, low + n_symbols - 1)), flat)


def find_outliers(flat: NDArray[np.int32], low: int, n_symbols: int) -> NDArray[np.bool_]:
    """Return a mask of the integers outside the alphabet."""
    return (flat < low) | (flat >= low + n_symbols)


def max_symbols(length: int) -> int:
    """Return the size of the largest alphabet of which all tuples make a table."""
    n = int(MAX_ROWS ** (1.0 / length) + 1e-9)
    return n if length > 1 else 4096


def candidate_costs(counts: NDArray[np.int64], low: int, length: int) -> Iterator[NDArray[np.uint8]]:
    """Yield costs to try for an alphabet: powers of the magnitude, and the integers' own information.

    Args:
        counts: (n,) how often each integer from `low` upwards occurs in all contexts together.
    """
    largest = max(1, min(255, MAX_LEVEL_ROWS // len(counts) ** length // length))
    magnitude = np.abs(np.arange(low, low + len(counts))).astype(np.float64)
    for exponent in _EXPONENTS:
        if magnitude.max() > 0:
            top = magnitude.max() ** exponent
            scale = largest // top if largest >= top else largest / top
            yield np.rint(magnitude**exponent * scale).astype(np.uint8)
    information = np.log2((counts.max() + 0.5) / (counts + 0.5))
    scale = largest / max(float(information.max()), 1.0)
    yield np.rint(information * scale).astype(np.uint8)
