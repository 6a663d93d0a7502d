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

MAX_ROWS = 19683
"""27^3, and nearly 140^2: sorting and planning take time and memory for each (MAX_LEVEL_ROWS). A third
of it: no change but 4 bytes on digits_cnn (`tests.bench.constants`, as all figures of this file, on
digits_cnn, _autoencoder, _attention and _gru)."""

MAX_LENGTH = 8
"""3^8 rows; nine integers would leave an alphabet of three only, and more padding. 5: no change on the
four models."""

SORTING_BYTES = 700
"""The 14 nodes that sort take 400, and some 300 with their initializers."""

MAX_STORED_BYTES = 600
"""Less than SORTING_BYTES."""


MAX_LEVEL_ROWS = 1 << 21
"""Limit of (largest sum of costs) * rows: sorting in the graph takes 12 bytes of memory for each."""

_EXPONENTS = (1.25, 1.6, 2.0)
"""From near Laplace to Gauss. None, only the information: +0.3, +0.7, 0, +0.2 %; only 1.25: no change
but +0.1 % of digits_gru; only 2: +0.3, 0, 0, 0 %; 1 as well: no change."""


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
        return int(self.n_symbols**self.length)

    @property
    def neutral(self) -> int:
        """The integer to pad with."""
        return int(np.clip(0, self.low, self.low + self.n_symbols - 1))

    @property
    def is_stored(self) -> bool:
        """Whether the table is so small that the file holds it as it is."""
        return self.length == 1 or self.n_rows * self.length <= MAX_STORED_BYTES

    @property
    def n_bytes(self) -> int:
        """About what the table costs in the file, nodes included."""
        return self.n_rows * self.length if self.is_stored else SORTING_BYTES + self.n_symbols

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The tuples' numbers in sorted order, (n_rows,)."""
        total = np.zeros(1, np.int64)
        for _ in range(self.length):
            total = np.add.outer(total, self.costs.astype(np.int64)).ravel()
        return np.argsort(total, kind="stable")

    @property
    def rows(self) -> NDArray[np.int64]:
        """The sorted row of each number, (n_rows,)."""
        rows = np.empty(self.n_rows, np.int64)
        rows[self.numbers] = np.arange(self.n_rows)
        return rows

    def table(self) -> NDArray[np.int32]:
        """Return the sorted tuples, (n_rows, length) int32."""
        places = self.n_symbols ** np.arange(self.length - 1, -1, -1)
        digits = self.numbers[:, None] // places % self.n_symbols
        return (digits + self.low).astype(np.int32)


def number_tuples(tuples: NDArray[np.int32], order: TupleOrder) -> NDArray[np.int64]:
    """Return the number of each of (n, length) tuples; integers outside the alphabet count as an end."""
    n = order.n_symbols
    numbers = np.zeros(len(tuples), np.int64)
    for i in range(order.length):
        numbers *= n
        numbers += np.clip(tuples[:, i], order.low, order.low + n - 1)
        numbers -= order.low
    return numbers


def find_outliers(tuples: NDArray[np.int32], order: TupleOrder) -> NDArray[np.bool_]:
    """Return a mask of the tuples with an integer outside the alphabet."""
    outside = np.zeros(len(tuples), bool)
    for i in range(order.length):
        outside |= (tuples[:, i] < order.low) | (tuples[:, i] >= order.low + order.n_symbols)
    return outside


def literal_bits(length: int) -> float:
    """Return about what a literal tuple costs: a gap, a byte for each integer, a short code word."""
    return 19.0 + 8.0 * length


def max_symbols(length: int) -> int:
    """Return the size of the largest alphabet of which all tuples make a table."""
    n = int(MAX_ROWS ** (1.0 / length) + 1e-9)
    return n if length > 1 else 4096


def candidate_costs(counts: NDArray[np.int64], low: int, length: int) -> Iterator[NDArray[np.uint8]]:
    """Yield costs to try for an alphabet: powers of the magnitude, and the integers' own information.

    Args:
        counts: (n,) how often each integer of the alphabet occurs in all contexts together.
        low: the alphabet's smallest integer.
        length: integers in a tuple.
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
