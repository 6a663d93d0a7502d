"""What a user is told where no smaller file stays within the tolerance."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence

from onnxzip.choose.lagrangian import Sensitivity
from onnxzip.choose.search import Trial
from onnxzip.measure.subject import Subject
from onnxzip.propose.proposal import Proposal
from onnxzip.propose.weights import why_none
from onnxzip.records.costs.latency import Speed
from onnxzip.records.plan import Plan
from onnxzip.report.numbers import format_latency
from onnxzip.report.tables.latency import speed_line

_N_NAMED = 3
"""Layers that a message names: as many as one reads in a line."""


def refusal(
    proposal: Proposal,
    trials: Sequence[Trial],
    subject: Subject,
    sensitivities: Mapping[str, Sensitivity],
) -> str:
    """Say why a search found no plan: what it was offered, how near it came, and what cost most."""
    source = proposal.model.source
    offered = sum(bool(ladder) for ladder in proposal.ladders.values())
    if not offered:
        return f"{source}: no weight can be made smaller: {_why(proposal)}"
    metric = subject.metric
    tried = [trial for trial in trials if trial.plan.chosen]
    if not tried:
        return (
            f"{source}: no candidate for {offered} weights stays within {metric.name} "
            f"{metric.limit:.3g}; {advice(subject)}"
        )
    best = min(tried, key=lambda trial: trial.loss)
    loss = f"loses {best.loss:.3g}" if metric.higher_is_better else f"has {metric.name} {best.loss:.3g}"
    return (
        f"{source}: the best of {len(tried)} plans changes {len(best.plan.chosen)} of {offered} weights "
        f"and {loss}, the tolerance is {metric.limit:.3g}; "
        f"{_costliest(best.plan, sensitivities)}; {_flags(best, sensitivities, subject)}"
    )


def _costliest(plan: Plan, sensitivities: Mapping[str, Sensitivity]) -> str:
    """Name the layers of a plan that cost most, and what each of them costs alone."""
    losses = _losses(plan, sensitivities)
    worst = list(losses)[:_N_NAMED]
    return "most of it costs " + ", ".join(f"'{name}' ({losses[name]:.2g} alone)" for name in worst)


def _losses(plan: Plan, sensitivities: Mapping[str, Sensitivity]) -> dict[str, float]:
    """Return what each layer of a plan costs alone, by name, the worst first."""
    losses = {name: sensitivities[name].at(c.error) * c.error for name, c in plan.chosen.items()}
    return dict(sorted(losses.items(), key=lambda item: (-item[1], item[0])))


_SLACK = 1.1
"""On the loss of the best plan, for a tolerance that is met without another search for the last bit."""


def _flags(best: Trial, sensitivities: Mapping[str, Sensitivity], subject: Subject) -> str:
    """Return the options to try next, with their values.

    The costliest layer is named as a pattern where others are left to be made smaller. A tolerance is
    named where the loss is one in the unit that tolerances have.
    """
    costliest, *others = _losses(best.plan, sensitivities)
    pattern = re.sub(r"([\[?*])", r"[\1]", costliest)
    keep = f"leave that alone with `keep` {shlex.quote(pattern)}, " if others else ""
    metric = subject.metric
    is_in_unit = not (metric.higher_is_better or metric.counts_events) and math.isfinite(best.loss)
    value = f"{best.loss * _SLACK:.2g}" if is_in_unit and best.loss > metric.limit else ""
    return keep + advice(subject, value)


def _why(proposal: Proposal) -> str:
    """Return why there is no candidate for any weight, by one of them."""
    of_weights = [skip for skip in proposal.skips if skip.layer in proposal.ladders]
    return why_none(proposal.model, of_weights or proposal.skips)


def advice(subject: Subject, tolerance: str = "") -> str:
    """Return what to do where no smaller file stays within the tolerance, and which would be enough."""
    feeds = subject.samples[0].feeds
    more = f"allow `tolerance` {tolerance}" if tolerance else "allow a larger `tolerance`"
    if feeds.seed is None:
        return more
    return f"{more}, or pass real inputs with `calibration` (this is on {feeds.note})"


def why_not_faster(source: str, speed: Speed) -> str:
    """Say that the best model is not faster than its original, with what was measured.

    Args:
        source: what the original is called in messages.
        speed: of the model that is not written.
    """
    before, after = format_latency(speed.before.median), format_latency(speed.after.median)
    certainly = "" if speed.ratio.low >= 1 else " for certain"
    lacks_int8 = speed.provider == "CPU" and not speed.processor.int8
    where = ", a processor with int8 instructions (this one has none known)" if lacks_int8 else ""
    return (
        f"{source}: the fastest model that was found is not faster{certainly}: it {speed_line(speed)}, "
        f"{after} at the median and the original {before}; ask for `objective` size, or try another "
        f"`batch`, other `threads`{where} or a larger `tolerance`"
    )
