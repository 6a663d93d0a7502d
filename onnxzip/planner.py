"""Chooses how every layer is stored: pure functions from candidates and a budget to a plan.

Layers' errors are taken to add up in squares at the model's output: a plan whose layers have the
relative errors e and the sensitivities s is predicted to lose sqrt(sum((s e)^2)). For a budget of
predicted loss, one Lagrangian over all layers finds the cheapest plan: each layer takes the candidate
with the least cost + price * (s e)^2, and the price is bisected until the budget is just met (Shoham
and Gersho 1988, doi 10.1109/29.90373). Prices only reach plans on the convex hull, which leaves gaps
where one layer is a good part of the model, so that the largest layers are also tried with each of
their candidates in turn. The search then corrects the prediction by measuring the whole
model, and moves the budget until the measured loss just meets the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onnxzip.types import Candidate, Form, Plan

Ladders = Mapping[str, Sequence[Candidate]]

MAX_TRIALS = 10
PROBE_ERROR = 0.05
"""Sensitivities are measured with the candidate whose error is nearest to this."""

_CLOSE_ENOUGH = 1.04
_AIMED_WELL = 1.1
_LARGEST_STEP = 8.0
_FIRST_STEP_BELOW = 0.15
_STEPS_ABOVE = (1.1, 1.2, 1.35, 1.5)
_SMALLEST_BUDGET = 1e-6
_LARGEST_BUDGET = 2.0
_UNBOUNDED = 1e3
_N_SIZE_BISECTIONS = 24
_N_BISECTIONS = 60
_HIGHEST_PRICE = 1e30
_N_DOMINANT = 4
_TRUSTED_FACTOR = 1.5
_UNSEEN_QUANTILE = 0.75


@dataclass(frozen=True, eq=False)
class Trial:
    """One plan that was tried on the whole model, and the loss measured for it."""

    plan: Plan
    loss: float
    passed: bool


@dataclass(frozen=True)
class Sensitivity:
    """A layer's relative output error per relative weight error, measured at one error or several.

    Large errors cost more, or less, than small ones in proportion. Between two points the sensitivity
    follows a power of the error, beyond them it stays what it is there.

    Attributes:
        points: (error, sensitivity), all above 0, in ascending order of the error.
    """

    points: tuple[tuple[float, float], ...]

    def at(self, error: float) -> float:
        """Return the sensitivity for a relative weight error."""
        errors, values = zip(*self.points, strict=True)
        return float(np.exp(np.interp(np.log(max(error, 1e-30)), np.log(errors), np.log(values))))

    def with_point(self, error: float, value: float) -> Sensitivity:
        """Return the sensitivity with one more point; a point at the same error is replaced."""
        return Sensitivity(tuple(sorted({**dict(self.points), error: value}.items())))


def forms_for(objective: str) -> tuple[Form, ...]:
    """Return the forms that passes should offer: "size" stores, "speed" also computes."""
    return ("stored", "computed") if objective == "speed" else ("stored",)


def probes(ladders: Ladders) -> dict[str, Candidate]:
    """Return, for each layer, the candidate to measure its sensitivity with."""
    found: dict[str, Candidate] = {}
    for name, ladder in ladders.items():
        useful = [c for c in ladder if c.form == "stored" and c.error > 0 and not c.is_estimate]
        if useful:
            found[name] = min(useful, key=lambda c: abs(np.log(c.error / PROBE_ERROR)))
    return found


def with_midpoints(ladder: Sequence[Candidate]) -> list[Candidate]:
    """Return a ladder with a candidate halfway between any two that differ in the rate alone.

    On a curve of bytes over rate and of error over rate the geometric mean is near the middle. Plans are
    tried on the whole model, so that an estimate need not be exact; `proposal.measured` makes it so.
    """
    curves: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in ladder:
        others = tuple(sorted((k, v) for k, v in candidate.settings.items() if k != "rate"))
        if "rate" in candidate.settings and candidate.error > 0:
            curves.setdefault((candidate.pass_name, candidate.form, others), []).append(candidate)
    middles: list[Candidate] = []
    for curve in curves.values():
        curve.sort(key=lambda c: float(c.settings["rate"]))
        for low, high in pairwise(curve):
            if low.n_bytes < high.n_bytes and low.error > high.error and low.macs == high.macs:
                rate = (float(low.settings["rate"]) * float(high.settings["rate"])) ** 0.5
                settings = {**low.settings, "rate": float(f"{rate:.3g}")}
                n_bytes = int((low.n_bytes * high.n_bytes) ** 0.5)
                error = (low.error * high.error) ** 0.5
                middle = replace(low, settings=settings, n_bytes=n_bytes, error=error, encoded=None)
                middles.append(replace(middle, is_estimate=True))
    return [*ladder, *middles]


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


def doubtful(plan: Plan, sensitivities: Mapping[str, Sensitivity]) -> dict[str, Candidate]:
    """Return the chosen candidates whose error is far above the next smaller one measured."""
    return {
        name: candidate
        for name, candidate in plan.chosen.items()
        if candidate.form == "stored"
        and candidate.error
        > _TRUSTED_FACTOR
        * max(
            (e for e, _ in sensitivities[name].points if e <= candidate.error), default=candidate.error
        )
    }


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
    picks = table.solve(budget**2)
    # A layer that is a good part of the model leaves a gap between two prices: try its other candidates.
    for row in np.argsort(-table.costs_of(picks), kind="stable")[:_N_DOMINANT]:
        for column in range(len(table.ladders[row]) + 1):
            if table.squares[row, column] <= budget**2:
                others = table.solve(budget**2, (int(row), column))
                picks = min(picks, others, key=lambda found: float(table.costs_of(found).sum()))
    chosen = {
        ladder[i].layer.name: ladder[i]
        for ladder, i in zip(table.ladders, picks, strict=True)
        if i < len(ladder) and ladder[i].pass_name != "keep"
    }
    n_bytes = sum(c.n_bytes for c in chosen.values())
    return Plan(chosen, budget, n_bytes, max((c.error for c in chosen.values()), default=0.0))


def choose_for_size(plan_for: Callable[[float], Plan], n_to_save: float) -> Plan:
    """Return the plan of the smallest budget that saves at least so many bytes by its estimate.

    Args:
        plan_for: returns the plan for a budget of predicted loss.
        n_to_save: bytes; where no budget saves as much, the plan of the largest is returned.
    """
    low, high = np.log(_SMALLEST_BUDGET), np.log(_UNBOUNDED)
    for _ in range(_N_SIZE_BISECTIONS):
        middle = (low + high) / 2
        is_enough = n_saved_bytes(plan_for(float(np.exp(middle)))) >= n_to_save
        low, high = (low, middle) if is_enough else (middle, high)
    return plan_for(float(np.exp(high)))


def search(
    plan_for: Callable[[float], Plan],
    measure: Callable[[Plan], tuple[float, bool]],
    first_budget: float,
    tolerance: float | None,
    max_trials: int = MAX_TRIALS,
    enough: float = 1.0,
) -> list[Trial]:
    """Move the budget until the measured loss just meets the tolerance.

    Args:
        plan_for: returns the plan for a budget of predicted loss.
        measure: returns a plan's loss on the whole model and whether that is within the tolerance.
        first_budget: where to begin.
        tolerance: the loss to aim at where loss grows in proportion to the budget (rel_l2);
            None where nothing is known about the relation, and the budget is bisected instead.
        max_trials: most plans to measure; up to twice as many while none has passed, at ever
            smaller budgets.
        enough: the share of the tolerance from which on a passing plan ends the search.

    Returns:
        All trials in order; the best is `best_trial(...)`.
    """
    tried: dict[frozenset[tuple[str, int]], Trial] = {}
    budget, below, above = first_budget, 0.0, float("inf")
    for _ in range(3 * max_trials):
        plan = plan_for(budget)
        trial = tried.get(_identity(plan))
        if trial is None:
            trial = tried[_identity(plan)] = Trial(plan, *measure(plan))
        below = max(below, budget) if trial.passed else below
        above = budget if not trial.passed else above
        if tolerance and trial.passed and trial.loss >= enough * tolerance:
            return list(tried.values())
        if below > 0 and (len(tried) >= max_trials or above / below < _CLOSE_ENOUGH):
            break
        if len(tried) >= 2 * max_trials:
            break
        nothing_left = not trial.passed and not plan.chosen
        if nothing_left or not _SMALLEST_BUDGET <= budget <= _LARGEST_BUDGET:
            break
        budget = _next_budget(budget, below, above, trial, tolerance)
        if len(tried) >= max_trials:
            budget = min(budget, above / (1 + _FIRST_STEP_BELOW * 2 ** (len(tried) - max_trials)))
    _look_above(plan_for, measure, below, tried, max_trials)
    _close_in(plan_for, measure, tried, max_trials)
    return list(tried.values())


def aim(
    plan_for: Callable[[float], Plan],
    measure: Callable[[Plan], tuple[float, bool]],
    first_budget: float,
    tolerance: float,
) -> float:
    """Return about which budget leads to a measured loss of `tolerance`, after two trials at most."""
    budget = first_budget
    for _ in range(2):
        loss, _ = measure(plan_for(budget))
        aimed = budget * tolerance / loss if loss > 0 else budget * _LARGEST_STEP
        budget = min(max(aimed, budget / _LARGEST_STEP), budget * _LARGEST_STEP)
        if 1 / _AIMED_WELL < loss / tolerance < _AIMED_WELL:
            break
    return budget


def _look_above(
    plan_for: Callable[[float], Plan],
    measure: Callable[[Plan], tuple[float, bool]],
    below: float,
    tried: dict[frozenset[tuple[str, int]], Trial],
    max_trials: int,
) -> None:
    """Spend what trials are left on larger budgets than the one that was settled on.

    Where a large layer changes its candidate the whole plan changes, and its measured loss may fall
    although the predicted one rises. A single layer's loss can only fall by luck with the inputs.
    """
    for step in _STEPS_ABOVE:
        plan = plan_for(below * step)
        if len(tried) >= max_trials or not below > 0:
            return
        if len(plan.chosen) > 1 and _identity(plan) not in tried:
            tried[_identity(plan)] = Trial(plan, *measure(plan))


def _close_in(
    plan_for: Callable[[float], Plan],
    measure: Callable[[Plan], tuple[float, bool]],
    tried: dict[frozenset[tuple[str, int]], Trial],
    max_trials: int,
) -> None:
    """Spend what trials are left between the largest budget that passed and the next that did not."""
    while len(tried) < max_trials:
        below = max((t.plan.budget for t in tried.values() if t.passed), default=0.0)
        failed = [t.plan.budget for t in tried.values() if not t.passed and t.plan.budget > below]
        if not below > 0 or not failed or min(failed) / below < _CLOSE_ENOUGH:
            return
        plan = plan_for(float((below * min(failed)) ** 0.5))
        if _identity(plan) in tried or not plan.chosen:
            return
        tried[_identity(plan)] = Trial(plan, *measure(plan))


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the passing trial that saves most, None when none passed with anything changed."""
    passed = [t for t in trials if t.passed and t.plan.chosen]
    return max(passed, key=lambda t: n_saved_bytes(t.plan), default=None)


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

    def solve(self, room: float, fixed: tuple[int, int] | None = None) -> NDArray[np.int64]:
        """Return each row's column at the least price whose squares sum up to at most `room`.

        Args:
            room: largest sum of squared losses.
            fixed: a row and the column it has to take, whose square fits into the room.
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
        return picks_at(high)[0]


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
