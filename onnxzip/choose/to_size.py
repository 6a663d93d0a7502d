"""The best plan whose file fits a size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxzip.choose.lagrangian import n_saved_bytes
from onnxzip.choose.search import identity
from onnxzip.records.plan import Plan

_UNBOUNDED = 1e3
"""A budget that allows everything: errors are about 1 at most, at sensitivities below 1000."""

_LEAST_BUDGET = 1e-12
"""All weights at their highest rates, or as they are: what is measured as nothing counts for nothing."""

_N_SIZE_BISECTIONS = 24
"""Budgets to a millionth: ln(1e15) / 2^24."""

_MAX_SIZES = 5
"""Files to make, each with a refit: a guess that costs time."""

_FULL_ENOUGH = 0.98
"""What is left is worth 0.05 bits a weight: less than from one rung of a ladder to the next."""

_BELOW = 0.998
"""Aim a little below, so that what is estimated exactly does not come out some bytes too large."""


def budget_for_size(plan_for: Callable[[float], Plan], n_to_save: float) -> float:
    """Return the smallest budget whose plan saves at least so many bytes by its estimate.

    Args:
        plan_for: returns the plan for a budget of predicted loss.
        n_to_save: bytes; where no budget saves as much, the largest is returned.
    """
    low, high = np.log(_LEAST_BUDGET), np.log(_UNBOUNDED)
    for _ in range(_N_SIZE_BISECTIONS):
        middle = (low + high) / 2
        is_enough = n_saved_bytes(plan_for(float(np.exp(middle)))) >= n_to_save
        low, high = (low, middle) if is_enough else (middle, high)
    return float(np.exp(high))


def fill(
    refitted_for: Callable[[float], Plan],
    plan_for: Callable[[float], Plan],
    size_of: Callable[[Plan], int],
    n_bytes: int,
    n_before: int,
) -> tuple[Plan | None, int]:
    """Find the plan with the least predicted loss whose file takes at most `n_bytes`.

    Estimates are corrected by the sizes of real files. Between one that fits and one that does not the
    estimate is halved; the search ends when a file is full enough, or when no new plan comes up.

    Args:
        refitted_for: returns the plan for a budget of predicted loss, fitted again where that can be.
        plan_for: returns it as it was planned.
        size_of: returns the size of the file that a plan makes.
        n_bytes: what the file may take.
        n_before: what the original takes.

    Returns:
        The plan, None where none is that small, and the size of the smallest file that was made.
    """
    allowed, fitting, too_large = float(n_bytes), 0.0, float("inf")
    best: Plan | None = None
    smallest = n_before
    tried: set[frozenset[tuple[str, int]]] = set()
    for _ in range(_MAX_SIZES):
        budget = budget_for_size(plan_for, n_before - allowed)
        unfitted = plan_for(budget)
        planned = identity(unfitted)
        if planned in tried:
            break
        tried.add(planned)
        plan = refitted_for(budget)
        n_found = size_of(plan)
        smallest = min(smallest, n_found)
        if n_found <= n_bytes:
            fitting = max(fitting, allowed)
            if best is None or plan.budget < best.budget:
                best = plan
            if n_found >= _FULL_ENOUGH * n_bytes:
                break
        else:
            too_large = min(too_large, allowed)
        allowed *= n_bytes / n_found * _BELOW
        if n_found > n_bytes:  # less than it was thought to take, or the same plan comes up again
            allowed = min(allowed, n_before - n_saved_bytes(unfitted) - 1)
        if not fitting < allowed < too_large:
            allowed = (fitting + too_large) / 2
    return best, smallest
