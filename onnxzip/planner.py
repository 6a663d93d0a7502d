"""Chooses how every layer is stored: pure functions from candidates and a budget to a plan.

The plan for a limit takes, for each layer, the cheapest candidate whose error stays within the limit;
a layer with none is left as it is. The search then moves the limit along until the whole model's
measured loss just meets the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onnxzip.types import Candidate, Form, Plan

MAX_TRIALS = 8
_CLOSE_ENOUGH = 1.08
_FIRST_LIMIT = 0.05
_LARGEST_STEP = 8.0
_SMALLEST_LIMIT = 1e-5


@dataclass(frozen=True)
class Trial:
    """One plan that was tried on the whole model, and the loss measured for it."""

    plan: Plan
    loss: float
    passed: bool


def choose(ladders: Mapping[str, Sequence[Candidate]], limit: float) -> Plan:
    """Return the plan with the fewest bytes whose per-layer errors stay within `limit`.

    A computed form that is offered and meets the limit goes before a stored one: candidates are only
    computed when speed is the objective, and then only with fewer multiply-accumulates.
    """
    chosen: dict[str, Candidate] = {}
    for name, candidates in ladders.items():
        useful = [c for c in candidates if c.error <= limit and c.n_bytes < c.layer.weight.nbytes]
        if useful:
            chosen[name] = min(useful, key=_cost)
    return Plan(
        chosen,
        limit,
        sum(c.n_bytes for c in chosen.values()),
        max((c.error for c in chosen.values()), default=0.0),
    )


def search(
    ladders: Mapping[str, Sequence[Candidate]],
    measure: Callable[[Plan], tuple[float, bool]],
    tolerance: float | None = None,
) -> list[Trial]:
    """Move the limit until the measured loss just meets the tolerance.

    Args:
        ladders: candidates by layer name.
        measure: returns a plan's loss on the whole model and whether that is within the tolerance.
        tolerance: the loss to aim at where loss grows in proportion to the limit (rel_l2);
            None where nothing is known about the relation, and the limit is bisected instead.

    Returns:
        All trials in order; the best is `best_trial(...)`. At most MAX_TRIALS.
    """
    trials: list[Trial] = []
    limit, below, above = _FIRST_LIMIT, 0.0, float("inf")
    tried: dict[frozenset[tuple[str, int]], Trial] = {}
    while len(trials) < MAX_TRIALS and limit >= _SMALLEST_LIMIT:
        plan = choose(ladders, limit)
        trial = tried.get(_identity(plan))
        if trial is None:
            loss, passed = measure(plan)
            trial = tried[_identity(plan)] = Trial(plan, loss, passed)
            trials.append(trial)
        if trial.passed:
            below = max(below, limit)
        else:
            above = min(above, limit)
        largest = max((c.error for ladder in ladders.values() for c in ladder), default=0.0)
        if above / max(below, 1e-12) < _CLOSE_ENOUGH or below >= largest:
            break
        if not trial.passed and not plan.chosen:
            break
        limit = _next_limit(limit, below, above, trial, tolerance)
    return trials


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the passing trial with the fewest bytes, None when none passed with anything changed."""
    passed = [t for t in trials if t.passed and t.plan.chosen]
    return min(passed, key=lambda t: _saved(t.plan), default=None)


def _saved(plan: Plan) -> int:
    return plan.n_bytes - sum(c.layer.weight.nbytes for c in plan.chosen.values())


def forms_for(objective: str) -> tuple[Form, ...]:
    """Return the forms that passes should offer: "size" stores, "speed" also computes."""
    return ("stored", "computed") if objective == "speed" else ("stored",)


def _cost(candidate: Candidate) -> tuple[int, int, float, str]:
    macs = candidate.macs if candidate.form == "computed" and candidate.macs is not None else None
    rank = macs if macs is not None else candidate.layer.macs or 0
    return (rank, candidate.n_bytes, candidate.error, candidate.pass_name)


def _identity(plan: Plan) -> frozenset[tuple[str, int]]:
    return frozenset((name, id(candidate)) for name, candidate in plan.chosen.items())


def _next_limit(
    limit: float, below: float, above: float, trial: Trial, tolerance: float | None
) -> float:
    """Aim by proportion where that is possible, bisect (in the logarithm) between known bounds."""
    if below > 0 and above < float("inf"):
        middle = float((below * above) ** 0.5)
        if tolerance and trial.loss > 0:
            aimed = limit * tolerance / trial.loss * 0.98
            if below * 1.02 < aimed < above / 1.02:
                return aimed
        return middle
    factor = 2.0 if trial.passed else 0.5
    if tolerance and trial.loss > 0:
        factor = min(max(tolerance / trial.loss * 0.98, 1 / _LARGEST_STEP), _LARGEST_STEP)
        factor = max(factor, _CLOSE_ENOUGH) if trial.passed else min(factor, 1 / _CLOSE_ENOUGH)
    return limit * factor
