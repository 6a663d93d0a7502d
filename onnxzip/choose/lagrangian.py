"""Chooses how every layer is stored: pure functions from candidates and a budget to a plan.

Layers' errors are taken to add up in squares at the model's output: a plan whose layers have the
relative errors e and the sensitivities s is predicted to lose sqrt(sum((s e)^2)). For a budget of
predicted loss, one Lagrangian over all layers finds the cheapest plan: each layer takes the candidate
with the least bytes + price * (s e)^2 (transforms/allocation.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.propose.ladders import Ladders, at_rate, curve_of, rate_of
from onnxzip.records.plan import Candidate, Plan
from onnxzip.transforms.allocation import cheapest

_MOST_MOVED = 2.0
"""The square of a ratio of losses is the most that rates are moved by to have it."""

_N_MOVES = 12
"""Halvings of that, which leave less than a thousandth of the ratio."""


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


def choose(ladders: Ladders, sensitivities: Mapping[str, Sensitivity], budget: float) -> Plan:
    """Return the cheapest plan whose predicted loss stays within `budget`.

    Args:
        ladders: candidates by layer name.
        sensitivities: by layer name.
        budget: largest predicted relative output error.
    """
    known = [(ladder, sensitivities[name]) for name, ladder in ladders.items() if ladder]
    if not known:
        return Plan({}, budget, 0, 0.0)
    picks = cheapest(*_table(known), budget**2)
    chosen = {
        ladder[i].layer.name: ladder[i]
        for (ladder, _), i in zip(known, picks, strict=True)
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
    return sum(c.layer.n_bytes for c in plan.chosen.values()) - plan.n_bytes


def _table(
    ladders: Sequence[tuple[Sequence[Candidate], Sensitivity]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all candidates' bytes and predicted squared losses, a row for each layer.

    The column behind a row's candidates leaves it alone; further ones have infinite bytes.
    """
    width = max(len(ladder) for ladder, _ in ladders) + 1
    costs = np.full((len(ladders), width), np.inf)
    squares = np.zeros((len(ladders), width))
    for row, (ladder, sensitivity) in enumerate(ladders):
        costs[row, : len(ladder)] = [c.n_bytes for c in ladder]
        costs[row, len(ladder)] = ladder[0].layer.n_bytes
        squares[row, : len(ladder)] = [(sensitivity.at(c.error) * c.error) ** 2 for c in ladder]
    return costs, squares
