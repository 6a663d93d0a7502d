"""Picks one of several options for each of many items, at the least cost within a sum of squares.

For a price p each item takes the option with the least cost + p * square, and the price is bisected
until the squares' sum just fits (Shoham and Gersho 1988, doi 10.1109/29.90373). Prices only reach picks
on the convex hull, which leaves gaps where one item is a good part of the whole, so that the dearest
items are also tried with each of their options in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_N_BISECTIONS = 60
"""A bound: between a price that fits and one 10^4 below it, 14 halvings reach the 0.1 % that end it."""

_HIGHEST_PRICE = 1e30
"""At it 1e10 bytes do not outweigh a squared loss of 1e-20."""

_ROUNDING = 1 + 1e-9
"""Of sums of costs as float64, by far."""

_N_DOMINANT = 4
"""Dearest items whose options are each tried: a guess that costs time only, more never save less."""


def cheapest(costs: NDArray[np.float64], squares: NDArray[np.float64], room: float) -> NDArray[np.int64]:
    """Return the column to take in each row.

    Args:
        costs: (n_items, n_options); infinite where an item has no such option.
        squares: (n_items, n_options); each row has an option with a square of 0.
        room: largest sum of the squares of what is picked.

    Returns:
        (n_items,).
    """
    table = _Table(costs, squares)
    picks, price = table.solve(room)
    least = table.least_costs(price, room)
    for row in np.argsort(-table.costs_of(picks), kind="stable")[:_N_DOMINANT]:
        for column in np.flatnonzero(np.isfinite(costs[row])):
            may_win = least[row, column] <= _ROUNDING * table.costs_of(picks).sum()
            if may_win and squares[row, column] <= room:
                others, _ = table.solve(room, (int(row), int(column)))
                picks = min(picks, others, key=lambda found: float(table.costs_of(found).sum()))
    return picks


@dataclass(frozen=True, eq=False)
class _Table:
    """All options, a row for each item; see `cheapest`."""

    costs: NDArray[np.float64]
    squares: NDArray[np.float64]

    def costs_of(self, picks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each row's cost."""
        return np.take_along_axis(self.costs, picks[:, None], axis=1)[:, 0]

    def least_costs(self, price: float, room: float) -> NDArray[np.float64]:
        """Return what picks within the room cost at least that take a column in a row.

        Whatever the price p is: of such picks sum(cost) >= sum(cost + p * square) - p * room, and each
        row adds at least its own least term to the sum.

        Returns:
            (n_items, n_options).
        """
        terms = self.costs + price * self.squares
        least = terms.min(axis=1)
        return np.asarray(terms + (least.sum() - least)[:, None] - price * room)

    def solve(
        self, room: float, fixed: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], float]:
        """Return each row's column at the least price whose squares sum up to at most `room`.

        Args:
            room: largest sum of squares.
            fixed: a row and the column it has to take, whose square fits into the room.

        Returns:
            The columns, (n_items,), and the price.
        """
        costs = self.costs
        if fixed is not None:
            costs = costs.copy()
            costs[fixed[0]] = np.inf
            costs[fixed] = self.costs[fixed]

        def picks_at(price: float) -> tuple[NDArray[np.int64], bool]:
            picks = np.argmin(costs + price * self.squares, axis=1)
            total = np.take_along_axis(self.squares, picks[:, None], axis=1).sum()
            return picks, bool(total > room)

        low, high = 0.0, 1.0
        while picks_at(high)[1] and high < _HIGHEST_PRICE:
            high *= 16.0
        for _ in range(_N_BISECTIONS):
            middle = (low * high) ** 0.5 if low > 0 else high / 1e4
            low, high = (middle, high) if picks_at(middle)[1] else (low, middle)
            if low > 0 and high / low < 1.001:
                break
        return picks_at(high)[0], high
