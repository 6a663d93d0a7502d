"""Moves the budget of predicted loss until the measured loss just meets the tolerance.

Predictions (`lagrangian.py`) are corrected by measuring the whole model; what a measurement is, the
search does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxzip.choose.lagrangian import n_saved_bytes
from onnxzip.records.plan import Plan

MAX_TRIALS = 10
"""Each is a run of the whole model on all samples. With ten, eleven shapes of loss are met to within 3 %
of what an exhaustive scan of budgets saves (tests/choose/test_search.py)."""

_CLOSE_ENOUGH = 1.04
"""Ratio of two budgets that are worth no trial between them: a bit more halves the error, so that 4 % of
it are 0.06 bits a weight."""

_AIMED_WELL = 1.1
"""Ratio to the tolerance that needs no second trial: 0.14 bits a weight, and more trials follow."""

_LARGEST_STEP = 8.0
"""Three bits a weight: one measurement that is off (a loss near 0) must not send the budget far away."""

_FIRST_STEP_BELOW = 0.15
"""While nothing passes, each step down is twice the one before; ten of them divide a budget by 7e7."""

_STEPS_ABOVE = (1.1, 1.2, 1.35, 1.5)
"""Larger budgets to look at: a guess that costs only trials that are left."""

SMALLEST_BUDGET = 1e-6
"""Float32 moves outputs by more than that when it adds up in another order (EXACT_LIMIT is 1e-5)."""

_LARGEST_BUDGET = 2.0
"""Outputs that are all zero have a loss of 1, and predictions may overstate."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One plan that was tried on the whole model, and the loss measured for it."""

    plan: Plan
    loss: float
    passed: bool


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
        trial = tried.get(identity(plan))
        if trial is None:
            trial = tried[identity(plan)] = Trial(plan, *measure(plan))
        below = max(below, budget) if trial.passed else below
        above = budget if not trial.passed else above
        if tolerance and trial.passed and trial.loss >= enough * tolerance:
            return list(tried.values())
        if below > 0 and (len(tried) >= max_trials or above / below < _CLOSE_ENOUGH):
            break
        if len(tried) >= 2 * max_trials:
            break
        nothing_left = not trial.passed and not plan.chosen
        if nothing_left or not SMALLEST_BUDGET <= budget <= _LARGEST_BUDGET:
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
        if len(plan.chosen) > 1 and identity(plan) not in tried:
            tried[identity(plan)] = Trial(plan, *measure(plan))


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
        if identity(plan) in tried or not plan.chosen:
            return
        tried[identity(plan)] = Trial(plan, *measure(plan))


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the passing trial that saves most, None when none passed with anything changed."""
    passed = [t for t in trials if t.passed and t.plan.chosen]
    return max(passed, key=lambda t: n_saved_bytes(t.plan), default=None)


def identity(plan: Plan) -> frozenset[tuple[str, int]]:
    """Return what two plans have in common that choose the same candidates."""
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
