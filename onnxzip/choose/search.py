"""Moves the budget of predicted loss until the measured loss just meets the tolerance.

Predictions (`lagrangian.py`) are corrected by measuring the whole model; what a measurement is, the
search does not know. Losses are taken to be a power of the budget, of exponent 1 until two trials tell
it. Near the end a plan is not chosen anew but moved: candidates come in steps, and which of them a plan
just can have is luck; the rates of all its layers can be moved by as little as is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from onnxzip.choose.lagrangian import n_saved_bytes
from onnxzip.records.plan import Plan

MAX_TRIALS = 10
"""Each is a run of the whole model on all samples. With ten, eleven shapes of loss are met to within 3 %
of what an exhaustive scan of budgets saves (tests/choose/test_search.py)."""

_CLOSE_ENOUGH = 1.04
"""Ratio of two budgets that are worth no trial between them: a bit more halves the error, so that 4 % of
it are 0.06 bits a weight."""

_CLOSE_WHERE_MOVED = 1.01
"""The same where plans can be moved by that little: 0.015 bits a weight."""

_NEAR = 1.3
"""Ratio of two budgets within which a plan is moved: 0.4 bits a weight."""

_AIM = 0.995
"""Share of the tolerance that is aimed at: a guess, as a trial that fails is lost."""

_AIMED_WELL = 1.1
"""Ratio to the tolerance that needs no second trial: 0.14 bits a weight, and more trials follow."""

_EXPONENTS = (0.25, 4.0)
"""Exponents of a loss over the budget that two trials may tell; others are noise or a jump."""

_LARGEST_STEP = 8.0
"""Three bits a weight: one measurement that is off (a loss near 0) must not send the budget far away."""

_FIRST_STEP_BELOW = 0.15
"""While nothing passes, each step down is twice the one before; ten of them divide a budget by 7e7."""

_STEPS_ABOVE = (1.1, 1.2, 1.35, 1.5)
"""Larger budgets to look at: a guess that costs only trials that are left."""

SMALLEST_BUDGET = 1e-6
"""Float32 moves outputs by more than that when it adds up in another order (EXACT_LIMIT is 1e-5)."""

LARGEST_BUDGET = 2.0
"""Outputs that are all zero have a loss of 1, and predictions may overstate."""

_MAX_CORRECTIONS = 6
"""Times that predictions are corrected: a layer that jumps is measured at an error an eighth as large
each time, from 4 to 16 bits in four. A guess that costs trials of models that defy prediction."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One plan that was tried on the whole model, and the loss measured for it."""

    plan: Plan
    loss: float
    passed: bool


Measure: TypeAlias = Callable[[Plan], tuple[float, bool]]
"""Returns a plan's loss on the whole model, and whether that is within the tolerance."""


@dataclass(frozen=True, eq=False)
class Planner:
    """What a search makes its plans with.

    Attributes:
        plan_for: returns the plan for a budget of predicted loss.
        correct: called with a trial that failed and the ratio of loss to prediction that is no surprise;
            returns the budget to begin with again, 0 where predictions stay.
        moved: returns a plan with the rates of its layers moved to meet another budget; None where
            plans are only chosen.
    """

    plan_for: Callable[[float], Plan]
    correct: Callable[[Trial, float], float] = lambda trial, usual: 0.0
    moved: Callable[[Plan, float], Plan] | None = None

    @property
    def close_enough(self) -> float:
        """Ratio of two budgets that are worth no trial between them."""
        return _CLOSE_ENOUGH if self.moved is None else _CLOSE_WHERE_MOVED

    def plan_near(self, budget: float, last: Trial | None) -> Plan:
        """Return a plan for a budget: the last one moved, where that is near."""
        is_near = last is not None and 1 / _NEAR < budget / last.plan.budget < _NEAR
        if last is not None and is_near and self.moved is not None:
            return self.moved(last.plan, budget)
        return self.plan_for(budget)


@dataclass(eq=False)
class _Search:
    """The state of one search: what was tried, and between which budgets the answer lies."""

    planner: Planner
    measure: Measure
    tolerance: float | None
    tried: dict[frozenset[tuple[str, int]], Trial] = field(default_factory=dict)
    since: list[Trial] = field(default_factory=list)
    below: float = 0.0
    above: float = math.inf
    n_corrections: int = 0

    def try_plan(self, plan: Plan) -> Trial:
        """Measure a plan, once."""
        key = identity(plan)
        if key not in self.tried:
            self.tried[key] = Trial(plan, *self.measure(plan))
        return self.tried[key]

    def corrected(self, trial: Trial) -> float:
        """Return the budget to begin with again where predictions were corrected, else 0."""
        if trial.passed or self.n_corrections == _MAX_CORRECTIONS:
            return 0.0
        passed = [t for t in self.tried.values() if t.passed and t.plan.chosen]
        usual = max((t.loss / t.plan.budget for t in passed), default=1.0)
        self.n_corrections += 1
        budget = self.planner.correct(trial, usual)
        if budget > 0:
            self.below, self.above, self.since = 0.0, math.inf, []
        return budget

    def note(self, budget: float, trial: Trial) -> None:
        """Narrow the budgets that are left."""
        self.since.append(trial)
        if trial.passed:
            self.below = max(self.below, budget)
        else:
            self.above = budget

    def next_budget(self, budget: float) -> float:
        """Aim where that is possible, bisect (in the logarithm) between known bounds."""
        trial = self.since[-1]
        aimed = self.aimed(budget, trial)
        narrow = self.planner.close_enough**0.25
        if self.below > 0 and self.above < math.inf:
            if aimed and self.below * narrow < aimed < self.above / narrow:
                return aimed
            return math.sqrt(self.below * self.above)
        if aimed is None:
            return budget * (2.0 if trial.passed else 0.5)
        least = self.planner.close_enough
        factor = min(max(aimed / budget, 1 / _LARGEST_STEP), _LARGEST_STEP)
        return budget * (max(factor, least) if trial.passed else min(factor, 1 / least))

    def aimed(self, budget: float, trial: Trial) -> float | None:
        """Return the budget that should just meet the tolerance; None where nothing tells it."""
        if not self.tolerance or not 0 < trial.loss < math.inf:
            return None
        exponent = 1.0
        known = [t for t in self.since[:-1] if 0 < t.loss < math.inf and t.plan.budget != budget]
        if known:
            near = min(known, key=lambda t: abs(math.log(t.plan.budget / budget)))
            run = math.log(budget / near.plan.budget)
            found = math.log(trial.loss / near.loss) / run
            # Two plans close to each other differ by luck more than by their budgets.
            if abs(run) > math.log(_CLOSE_ENOUGH) and _EXPONENTS[0] <= found <= _EXPONENTS[1]:
                exponent = found
        return budget * math.pow(self.tolerance * _AIM / trial.loss, 1 / exponent)


def search(
    planner: Planner,
    measure: Measure,
    first_budget: float,
    tolerance: float | None,
    max_trials: int = MAX_TRIALS,
    enough: float = 1.0,
) -> list[Trial]:
    """Move the budget until the measured loss just meets the tolerance.

    Args:
        planner: makes plans, corrects predictions, and moves plans.
        measure: returns a plan's loss on the whole model and whether that is within the tolerance.
        first_budget: where to begin.
        tolerance: the loss to aim at where it grows with a power of the budget (rel_l2); None where
            nothing is known about the relation, and the budget is bisected instead.
        max_trials: most plans to measure; up to twice as many, and MAX_TRIALS at least, while none has
            passed, at ever smaller budgets.
        enough: the share of the tolerance from which on a passing plan ends the search.

    Returns:
        All trials in order; the best is `best_trial(...)`.
    """
    state = _Search(planner, measure, tolerance)
    budget = first_budget
    n_until_passed = max(2 * max_trials, MAX_TRIALS)
    for _ in range(3 * n_until_passed):
        trial = state.try_plan(planner.plan_near(budget, state.since[-1] if state.since else None))
        if tolerance and trial.passed and trial.loss >= enough * tolerance:
            return list(state.tried.values())
        if again := state.corrected(trial):
            budget = again
            continue
        state.note(budget, trial)
        n_tried = len(state.tried)
        close = state.below > 0 and state.above / state.below < planner.close_enough
        if n_tried >= (max_trials if state.below > 0 else n_until_passed) or close:
            break
        nothing_left = not trial.passed and not trial.plan.chosen
        if nothing_left or not SMALLEST_BUDGET <= budget <= LARGEST_BUDGET:
            break
        budget = state.next_budget(budget)
        if n_tried >= max_trials:
            budget = min(budget, state.above / (1 + _FIRST_STEP_BELOW * 2 ** (n_tried - max_trials)))
    if planner.moved is None:
        _look_above(state, max_trials)
        _close_in(state, max_trials)
    return list(state.tried.values())


def aim(planner: Planner, measure: Measure, first_budget: float, tolerance: float) -> float:
    """Return about which budget leads to a measured loss of `tolerance`.

    After two trials at most, and one for each time that predictions are corrected.
    """
    state = _Search(planner, measure, tolerance)
    budget, n_aimed = first_budget, 0
    while n_aimed < 2:
        trial = state.try_plan(planner.plan_for(budget))
        if again := state.corrected(trial):
            budget = again
            continue
        n_aimed += 1
        state.note(budget, trial)
        aimed = state.aimed(budget, trial) or budget * (_LARGEST_STEP if trial.passed else 0.5)
        budget = min(max(aimed, budget / _LARGEST_STEP), budget * _LARGEST_STEP)
        if 1 / _AIMED_WELL < trial.loss / tolerance < _AIMED_WELL:
            break
    return budget


def _look_above(state: _Search, max_trials: int) -> None:
    """Spend what trials are left on larger budgets than the one that was settled on.

    Where a large layer changes its candidate the whole plan changes, and its measured loss may fall
    although the predicted one rises. A single layer's loss can only fall by luck with the inputs.
    """
    for step in _STEPS_ABOVE:
        if len(state.tried) >= max_trials or not state.below > 0:
            return
        plan = state.planner.plan_for(state.below * step)
        if len(plan.chosen) > 1:
            state.try_plan(plan)


def _close_in(state: _Search, max_trials: int) -> None:
    """Spend what trials are left between the largest budget that passed and the next that did not."""
    while len(state.tried) < max_trials:
        trials = state.tried.values()
        below = max((t.plan.budget for t in trials if t.passed), default=0.0)
        failed = [t.plan.budget for t in trials if not t.passed and t.plan.budget > below]
        if not below > 0 or not failed or min(failed) / below < _CLOSE_ENOUGH:
            return
        plan = state.planner.plan_for(float((below * min(failed)) ** 0.5))
        if identity(plan) in state.tried or not plan.chosen:
            return
        state.try_plan(plan)


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the passing trial that saves most, None when none passed with anything changed."""
    passed = [t for t in trials if t.passed and t.plan.chosen]
    return max(passed, key=lambda t: n_saved_bytes(t.plan), default=None)


def identity(plan: Plan) -> frozenset[tuple[str, int]]:
    """Return what two plans have in common that choose the same candidates."""
    return frozenset((name, id(candidate)) for name, candidate in plan.chosen.items())
