"""Chooses how every layer is stored: pure functions from candidates and a budget to a plan.

Layers' errors are taken to add up in squares at the model's output: a plan whose layers have the
relative errors e and the sensitivities s is predicted to lose sqrt(sum((s e)^2)). For a budget of
predicted loss, one Lagrangian over all layers finds the cheapest plan: each layer takes the candidate
with the least cost + price * (s e)^2, and the price is bisected until the budget is just met (Shoham
and Gersho 1988, doi 10.1109/29.90373). Prices only reach plans on the convex hull, which leaves gaps
where one layer is a good part of the model, so that the largest layers are also tried with each of
their candidates in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.propose.ladders import Ladders, at_rate, curve_of, rate_of
from onnxzip.records.plan import Candidate, Plan

_N_BISECTIONS = 60
"""A bound: between a price that fits and one 10^4 below it, 14 halvings reach the 0.1 % that end it."""

_HIGHEST_PRICE = 1e30
"""At it 1e10 bytes do not outweigh a predicted loss of 1e-10."""

_MOST_MOVED = 2.0
"""The square of a ratio of losses is the most that rates are moved by to have it."""

_N_MOVES = 12
"""Halvings of that, which leave less than a thousandth of the ratio."""

_ROUNDING = 1 + 1e-9
"""Of sums of bytes as float64, by far."""

_N_DOMINANT = 4
"""Largest layers whose candidates are each tried: a guess that costs time only, more never save less."""


@dataclass(frozen=True)
class Sensitivity:
    """A layer's relative output error per relative weight error, measured at one error or several.

    Large errors cost more, or less, than small ones in proportion. Between two points the sensitivity
    follows a power of the error, beyond them it stays what it is there; but a layer that decides about
    something (a sign, a rank) changes few answers, as many as its error is large, so that below what was
    measured its squared loss is proportional to the error.

    Attributes:
        points: (error, sensitivity), all above 0, in ascending order of the error.
        jumps: whether the layer is such a one.
    """

    points: tuple[tuple[float, float], ...]
    jumps: bool = False

    def at(self, error: float) -> float:
        """Return the sensitivity for a relative weight error."""
        errors, values = zip(*self.points, strict=True)
        if self.jumps and error < errors[0]:
            return float(values[0] * (errors[0] / max(error, 1e-30)) ** 0.5)
        return float(np.exp(np.interp(np.log(max(error, 1e-30)), np.log(errors), np.log(values))))

    def with_point(self, error: float, value: float) -> Sensitivity:
        """Return the sensitivity with one more point; a point at the same error is replaced."""
        return replace(self, points=tuple(sorted({**dict(self.points), error: value}.items())))


def choose(
    ladders: Ladders, sensitivities: Mapping[str, Sensitivity], budget: float, *, by_macs: bool
) -> Plan:
    """Return the cheapest plan whose predicted loss stays within `budget`.

    Args:
        ladders: candidates by layer name.
        sensitivities: by layer name.
        budget: largest predicted relative output error.
        by_macs: let multiply-accumulates count as much as bytes (objective "speed").
    """
    table = _table(
        [(ladder, sensitivities[name]) for name, ladder in ladders.items() if ladder], by_macs
    )
    if not table.ladders:
        return Plan({}, budget, 0, 0.0)
    picks, price = table.solve(budget**2)
    least = table.least_costs(price, budget**2)
    # A layer that is a good part of the model leaves a gap between two prices: try its other candidates.
    for row in np.argsort(-table.costs_of(picks), kind="stable")[:_N_DOMINANT]:
        for column in range(len(table.ladders[row]) + 1):
            may_win = least[row, column] <= _ROUNDING * table.costs_of(picks).sum()
            if may_win and table.squares[row, column] <= budget**2:
                others, _ = table.solve(budget**2, (int(row), column))
                picks = min(picks, others, key=lambda found: float(table.costs_of(found).sum()))
    chosen = {
        ladder[i].layer.name: ladder[i]
        for ladder, i in zip(table.ladders, picks, strict=True)
        if i < len(ladder) and ladder[i].pass_name != "keep"
    }
    n_bytes = sum(c.n_bytes for c in chosen.values())
    return Plan(chosen, budget, n_bytes, max((c.error for c in chosen.values()), default=0.0))


def predicted_loss(plan: Plan, sensitivities: Mapping[str, Sensitivity]) -> float:
    """Return the loss that a plan is predicted to have."""
    losses = (sensitivities[name].at(c.error) * c.error for name, c in plan.chosen.items())
    return float(sum(loss**2 for loss in losses) ** 0.5)


def moved(
    plan: Plan, ladders: Ladders, sensitivities: Mapping[str, Sensitivity], budget: float
) -> Plan | None:
    """Return a plan with all rates moved in one ratio, so that its predicted loss follows the budget.

    Where a bit more halves every error, as it nearly does, no layer would give a bit to another one.

    Returns:
        The plan for `budget`; None where rates hardly move its loss, because few layers have one.
    """
    curves = {name: curve_of(c, ladders[name]) for name, c in plan.chosen.items()}

    def at(factor: float) -> Plan:
        chosen = {
            name: at_rate(c, curves[name], rate_of(c) * factor) if curves[name] else c
            for name, c in plan.chosen.items()
        }
        n_bytes = sum(c.n_bytes for c in chosen.values())
        error = max((c.error for c in chosen.values()), default=0.0)
        return replace(plan, chosen=chosen, budget=budget, n_bytes=n_bytes, error=error)

    ratio = budget / plan.budget
    wanted = predicted_loss(plan, sensitivities) * ratio
    nearest, furthest = 1.0, ratio**-_MOST_MOVED
    if (predicted_loss(at(furthest), sensitivities) < wanted) == (ratio > 1):
        return None
    for _ in range(_N_MOVES):
        middle = (nearest * furthest) ** 0.5
        is_short = (predicted_loss(at(middle), sensitivities) < wanted) == (ratio > 1)
        nearest, furthest = (middle, furthest) if is_short else (nearest, middle)
    return at(furthest)


def n_saved_bytes(plan: Plan) -> int:
    """Return by how much a plan's weights are estimated to shrink."""
    return sum(c.layer.weight.nbytes for c in plan.chosen.values()) - plan.n_bytes


@dataclass(frozen=True, eq=False)
class _Table:
    """All candidates, a row for each layer; the column behind a row's candidates leaves it alone.

    Attributes:
        ladders: the candidates of each row.
        costs: (n_rows, n_columns) float64; infinite where there is no candidate.
        squares: (n_rows, n_columns) float64, predicted squared losses.
    """

    ladders: Sequence[Sequence[Candidate]]
    costs: NDArray[np.float64]
    squares: NDArray[np.float64]

    def costs_of(self, picks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each row's cost."""
        return np.take_along_axis(self.costs, picks[:, None], axis=1)[:, 0]

    def least_costs(self, price: float, room: float) -> NDArray[np.float64]:
        """Return what plans of at most `room` cost at least that take a column in a row.

        Whatever the price p is: of such a plan sum(cost) >= sum(cost + p * square) - p * room, and each
        row adds at least its own least term to the sum.

        Returns:
            (n_rows, n_columns).
        """
        terms = self.costs + price * self.squares
        least = terms.min(axis=1)
        return np.asarray(terms + (least.sum() - least)[:, None] - price * room)

    def solve(
        self, room: float, fixed: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], float]:
        """Return each row's column at the least price whose squares sum up to at most `room`.

        Args:
            room: largest sum of squared losses.
            fixed: a row and the column it has to take, whose square fits into the room.

        Returns:
            The columns, (n_rows,), and the price.
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


def _table(ladders: Sequence[tuple[Sequence[Candidate], Sensitivity]], by_macs: bool) -> _Table:
    """Fill the table from ladders and sensitivities."""
    width = max((len(ladder) for ladder, _ in ladders), default=0) + 1
    costs = np.full((len(ladders), width), np.inf)
    squares = np.zeros((len(ladders), width))
    price = _macs_price([ladder[0] for ladder, _ in ladders]) if by_macs else 0.0
    for row, (ladder, sensitivity) in enumerate(ladders):
        layer = ladder[0].layer
        macs = [(c.macs if c.form == "computed" else layer.macs) or 0 for c in ladder]
        n_bytes = [float(c.n_bytes) for c in ladder]
        costs[row, : len(ladder)] = np.array(n_bytes) + price * np.array(macs, np.float64)
        costs[row, len(ladder)] = layer.weight.nbytes + price * (layer.macs or 0)
        squares[row, : len(ladder)] = [(sensitivity.at(c.error) * c.error) ** 2 for c in ladder]
    return _Table([ladder for ladder, _ in ladders], costs, squares)


def _macs_price(candidates: Sequence[Candidate]) -> float:
    n_bytes = sum(c.layer.weight.nbytes for c in candidates)
    macs = sum(c.layer.macs or 0 for c in candidates)
    return n_bytes / macs if macs else 0.0
