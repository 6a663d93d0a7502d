"""Chooses how every layer is stored: pure functions from candidates and a budget to a plan.

Layers' errors are taken to add up in squares at the model's output: a plan whose layers have the
relative errors e and the sensitivities s is predicted to lose sqrt(sum((s e)^2)). For a budget of
predicted loss, one Lagrangian over all layers finds the cheapest plan: each layer takes the candidate
with the least cost + price * (s e)^2, and the price is bisected until the budget is just met (Shoham
and Gersho 1988, doi 10.1109/29.90373). The search then corrects the prediction by measuring the whole
model, and moves the budget until the measured loss just meets the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.types import Candidate, Form, Plan

Ladders = Mapping[str, Sequence[Candidate]]

MAX_TRIALS = 8
PROBE_ERROR = 0.05
"""Sensitivities are measured with the candidate whose error is nearest to this."""

_CLOSE_ENOUGH = 1.04
_LARGEST_STEP = 8.0
_SMALLEST_BUDGET = 1e-6
_LARGEST_BUDGET = 2.0
_N_BISECTIONS = 60
_UNSEEN_QUANTILE = 0.75


@dataclass(frozen=True, eq=False)
class Trial:
    """One plan that was tried on the whole model, and the loss measured for it."""

    plan: Plan
    loss: float
    passed: bool


def forms_for(objective: str) -> tuple[Form, ...]:
    """Return the forms that passes should offer: "size" stores, "speed" also computes."""
    return ("stored", "computed") if objective == "speed" else ("stored",)


def probes(ladders: Ladders) -> dict[str, Candidate]:
    """Return, for each layer, the candidate to measure its sensitivity with."""
    found: dict[str, Candidate] = {}
    for name, ladder in ladders.items():
        useful = [c for c in ladder if c.form == "stored" and c.error > 0]
        if useful:
            found[name] = min(useful, key=lambda c: abs(np.log(c.error / PROBE_ERROR)))
    return found


def fill_unseen(measured: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Replace sensitivities of zero: a weight that no feed reached is not a weight without effect.

    Returns:
        The sensitivities, where an unreached layer has the upper quartile of the others (1 if there
        are none), and the names of the unreached layers.
    """
    seen = [s for s in measured.values() if s > 0]
    typical = float(np.quantile(seen, _UNSEEN_QUANTILE)) if seen else 1.0
    unseen = [name for name, s in measured.items() if s <= 0]
    return {name: s if s > 0 else typical for name, s in measured.items()}, unseen


def choose(
    ladders: Ladders, sensitivities: Mapping[str, float], budget: float, *, by_macs: bool
) -> Plan:
    """Return the cheapest plan whose predicted loss stays within `budget`.

    Args:
        ladders: candidates by layer name.
        sensitivities: relative output error per relative weight error, by layer name.
        budget: largest predicted relative output error.
        by_macs: let multiply-accumulates count as much as bytes (objective "speed").
    """
    rows = [_row(ladder, sensitivities[name]) for name, ladder in ladders.items() if ladder]
    macs_price = _macs_price([row.candidates[0] for row in rows]) if by_macs else 0.0
    costs = [row.cost(macs_price) for row in rows]
    low, high = 0.0, 1.0
    while _predicted(rows, costs, high) > budget and high < 1e30:
        high *= 16.0
    for _ in range(_N_BISECTIONS):
        middle = (low * high) ** 0.5 if low > 0 else high / 1e4
        if _predicted(rows, costs, middle) > budget:
            low = middle
        else:
            high = middle
        if low > 0 and high / low < 1.001:
            break
    return _plan(rows, costs, high, budget)


def search(
    plan_for: Callable[[float], Plan],
    measure: Callable[[Plan], tuple[float, bool]],
    first_budget: float,
    tolerance: float | None,
    max_trials: int = MAX_TRIALS,
) -> list[Trial]:
    """Move the budget until the measured loss just meets the tolerance.

    Args:
        plan_for: returns the plan for a budget of predicted loss.
        measure: returns a plan's loss on the whole model and whether that is within the tolerance.
        first_budget: where to begin.
        tolerance: the loss to aim at where loss grows in proportion to the budget (rel_l2);
            None where nothing is known about the relation, and the budget is bisected instead.
        max_trials: most plans to measure.

    Returns:
        All trials in order; the best is `best_trial(...)`.
    """
    tried: dict[frozenset[tuple[str, int]], Trial] = {}
    budget, below, above = first_budget, 0.0, float("inf")
    for _ in range(2 * max_trials):
        plan = plan_for(budget)
        trial = tried.get(_identity(plan))
        if trial is None:
            trial = tried[_identity(plan)] = Trial(plan, *measure(plan))
        below = max(below, budget) if trial.passed else below
        above = budget if not trial.passed else above
        if len(tried) >= max_trials or above / max(below, 1e-12) < _CLOSE_ENOUGH:
            break
        nothing_left = not trial.passed and not plan.chosen
        if nothing_left or not _SMALLEST_BUDGET <= budget <= _LARGEST_BUDGET:
            break
        budget = _next_budget(budget, below, above, trial, tolerance)
    return list(tried.values())


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the passing trial that saves most, None when none passed with anything changed."""
    passed = [t for t in trials if t.passed and t.plan.chosen]
    return max(passed, key=lambda t: n_saved_bytes(t.plan), default=None)


def n_saved_bytes(plan: Plan) -> int:
    """Return by how much a plan's weights are estimated to shrink."""
    return sum(c.layer.weight.nbytes for c in plan.chosen.values()) - plan.n_bytes


@dataclass(frozen=True, eq=False)
class _Row:
    """A layer's candidates and their predicted squared losses; index -1 means "leave it alone"."""

    candidates: Sequence[Candidate]
    squares: np.ndarray[tuple[int], np.dtype[np.float64]]

    def cost(self, macs_price: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        layer = self.candidates[0].layer
        macs = [(c.macs if c.form == "computed" else layer.macs) or 0 for c in self.candidates]
        n_bytes = [float(c.n_bytes) for c in self.candidates]
        costs = np.array([*n_bytes, float(layer.weight.nbytes)])
        return costs + macs_price * np.array([*macs, layer.macs or 0], np.float64)


def _row(ladder: Sequence[Candidate], sensitivity: float) -> _Row:
    squares = np.array([*((sensitivity * c.error) ** 2 for c in ladder), 0.0])
    return _Row(ladder, squares)


def _macs_price(candidates: Sequence[Candidate]) -> float:
    n_bytes = sum(c.layer.weight.nbytes for c in candidates)
    macs = sum(c.layer.macs or 0 for c in candidates)
    return n_bytes / macs if macs else 0.0


def _picks(
    rows: Sequence[_Row], costs: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]], price: float
) -> list[int]:
    return [int(np.argmin(c + price * r.squares)) for r, c in zip(rows, costs, strict=True)]


def _predicted(
    rows: Sequence[_Row], costs: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]], price: float
) -> float:
    picks = _picks(rows, costs, price)
    return float(sum(r.squares[i] for r, i in zip(rows, picks, strict=True)) ** 0.5)


def _plan(
    rows: Sequence[_Row],
    costs: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]],
    price: float,
    budget: float,
) -> Plan:
    picks = _picks(rows, costs, price)
    chosen = {
        row.candidates[i].layer.name: row.candidates[i]
        for row, i in zip(rows, picks, strict=True)
        if i < len(row.candidates) and row.candidates[i].pass_name != "keep"
    }
    n_bytes = sum(c.n_bytes for c in chosen.values())
    return Plan(chosen, budget, n_bytes, max((c.error for c in chosen.values()), default=0.0))


def _identity(plan: Plan) -> frozenset[tuple[str, int]]:
    return frozenset((name, id(candidate)) for name, candidate in plan.chosen.items())


def _next_budget(
    budget: float, below: float, above: float, trial: Trial, tolerance: float | None
) -> float:
    """Aim by proportion where that is possible, bisect (in the logarithm) between known bounds."""
    aimed = budget * tolerance / trial.loss * 0.99 if tolerance and trial.loss > 0 else None
    if below > 0 and above < float("inf"):
        if aimed and below * 1.01 < aimed < above / 1.01:
            return aimed
        return float((below * above) ** 0.5)
    if aimed is None:
        return budget * (2.0 if trial.passed else 0.5)
    factor = min(max(aimed / budget, 1 / _LARGEST_STEP), _LARGEST_STEP)
    return budget * (max(factor, _CLOSE_ENOUGH) if trial.passed else min(factor, 1 / _CLOSE_ENOUGH))
