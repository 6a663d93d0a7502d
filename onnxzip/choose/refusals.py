"""What a user is told where no smaller file stays within the tolerance."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.choose.search import Trial
from onnxzip.graph import MIN_ELEMENTS
from onnxzip.measure.subject import Subject
from onnxzip.propose.proposal import Proposal


def refusal(proposal: Proposal, trials: Sequence[Trial], subject: Subject) -> str:
    """Say why a search found no plan: what it was offered, and how near it came."""
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
    best = min(tried, key=lambda trial: -trial.loss if metric.higher_is_better else trial.loss)
    return (
        f"{source}: the most exact plan changes {len(best.plan.chosen)} of {offered} weights "
        f"and has {metric.name} {best.loss:.3g}, the tolerance is {metric.limit:.3g}; {advice(subject)}"
    )


def _why(proposal: Proposal) -> str:
    if not proposal.skips:
        return f"none has {MIN_ELEMENTS} elements or more"
    first, *others = proposal.skips
    more = f", and {len(others)} more refusals" if others else ""
    return f"'{first.layer}': {first.reason}{more}"


def advice(subject: Subject) -> str:
    """Return what to do where no smaller file stays within the tolerance."""
    feeds = subject.samples[0].feeds
    if feeds.seed is None:
        return "allow a larger `tolerance`"
    return (
        f"allow a larger `tolerance`, or pass real inputs with `calibration` (this is on {feeds.note})"
    )
