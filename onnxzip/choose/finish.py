"""Moves the last layers of a plan that was fitted again, so that its loss just meets the tolerance.

A refit answers a small change of rates with other errors everywhere: two budgets 2 % apart may lose 7 %
more or less, and no search between them ends nearer to the tolerance than by luck. What comes first in
the model stays as it was fitted here, with the errors that it has; only layers behind it are moved and
fitted again. A quarter of the loss, in squares, is theirs.

What the search ended with is then judged, of the user's data on samples that it has not seen: where they
lose too much, the whole plan steps back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxzip.choose.lagrangian import Sensitivity, moved
from onnxzip.measure.aim import as_loss
from onnxzip.propose.ladders import Ladders
from onnxzip.records.check import Check
from onnxzip.records.plan import Plan

_KEPT_SHARE = 0.75
"""Of the squared loss stays where it is. What is fitted again answers with other errors, so that less of
it is more certain, and less can be moved. At 0.5 / 0.75, without data: digits_cnn 34.2 / 35.2 kB (35.3
without this file), digits_autoencoder 36.0 / 36.3 (36.7), resnet20 117.6 / 110.0 (117.4) (`python -m
tests.bench.constants onnxzip.choose.finish:_KEPT_SHARE 0.5 0.75`)."""

_MOST_MOVED = 1.3
"""Ratio of losses that the layers behind are moved by: 0.4 bits a weight. More would take bits from
where they belong."""

_N_MEASURED_STEPS = 2
"""Times that the budget is taken back by what was measured to be too much: what is held out loses a few
percent more or less than what plans were tried on, and a refit answers as much by luck."""

_SAFELY_BACK = 0.985
"""Share of the tolerance that such a step aims at: two hundredths of a bit a weight."""

_LARGEST_STEP_BACK = 0.5
"""Share of the budget that it leaves at least: a bit a weight."""

_TIGHTEN = 0.85
"""Share of the budget that is left where no excess says more, and by all steps after those: loss follows
it, so that a provider 15 % off meets the tolerance next time."""

_MAX_STEPS = _N_MEASURED_STEPS + 4
"""Four times 0.85 halve the budget: a provider that is further off than that computes something else."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A plan that was fitted again and tried.

    Attributes:
        planned: before that.
        plan: after it.
        loss: that was measured.
    """

    planned: Plan
    plan: Plan
    loss: float


Finish = Callable[[Fitted, float], Plan | None]
"""Returns a plan with another loss, as a ratio to that of a fitted one; None where there is none."""


def with_last_moved(
    base: Fitted,
    ratio: float,
    order: Sequence[str],
    ladders: Ladders,
    sensitivities: Mapping[str, Sensitivity],
) -> Plan | None:
    """Return a plan whose last layers are moved, and are to be fitted again; others are as fitted.

    Args:
        base: what to begin with.
        ratio: of its loss and the one that is wanted.
        order: the layers that are fitted, the first one first.
        ladders: candidates by layer name.
        sensitivities: by layer name.

    Returns:
        None where the last layers cannot make up for it.
    """
    names, share = last_layers(base.planned, order, sensitivities)
    if not share > 0 or (ratio**2 - 1) / share + 1 <= 0:
        return None
    factor = math.sqrt((ratio**2 - 1) / share + 1)
    factor = min(max(factor, 1 / _MOST_MOVED), _MOST_MOVED)
    last = {name: base.planned.chosen[name] for name in names}
    part = moved(
        replace(base.planned, chosen=last), ladders, sensitivities, base.planned.budget * factor
    )
    if part is None:
        return None
    found = {**base.plan.chosen, **part.chosen}
    return replace(
        base.plan,
        chosen=found,
        budget=base.planned.budget * ratio,
        n_bytes=sum(c.n_bytes for c in found.values()),
        error=max(c.error for c in found.values()),
    )


def last_layers(
    planned: Plan, order: Sequence[str], sensitivities: Mapping[str, Sensitivity]
) -> tuple[list[str], float]:
    """Return the layers of a plan that are moved, the first one first, and their share of its loss.

    Args:
        planned: before anything was fitted.
        order: the layers that are fitted, the first one first.
        sensitivities: by layer name.

    Returns:
        The names, and their share in squares.
    """
    chosen = planned.chosen
    squares = {n: (sensitivities[n].at(c.error) * c.error) ** 2 for n, c in chosen.items()}
    total, n_last, share = sum(squares.values()), 0, 0.0
    fitted = [name for name in order if name in chosen]
    for name in reversed(fitted):
        if n_last and share + squares[name] / total > 1 - _KEPT_SHARE:
            break
        n_last, share = n_last + 1, share + squares[name] / total
    return fitted[len(fitted) - n_last :], share


def step_back(n_before: int, failed: Sequence[Check]) -> float | None:
    """Return the share of its budget that a plan keeps which was judged to lose too much.

    Args:
        n_before: steps that were made already.
        failed: the checks that say so.

    Returns:
        None where there were enough steps.
    """
    if n_before >= _MAX_STEPS:
        return None
    if n_before >= _N_MEASURED_STEPS:
        return _TIGHTEN
    return min(map(_measured_step, failed))


def _measured_step(failed: Check) -> float:
    """Return the share at which what failed would just meet its limit."""
    limit, value = (as_loss(failed, x) for x in (failed.limit, failed.value))
    if not (limit > 0 and math.isfinite(failed.value)):
        return _TIGHTEN  # nothing may change, or all is lost: no ratio tells how far that is
    return max(_SAFELY_BACK * limit / value, _LARGEST_STEP_BACK)
