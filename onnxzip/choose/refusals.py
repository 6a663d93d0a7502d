"""What a user is told where no smaller file stays within the tolerance."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.choose.search import Trial
from onnxzip.measure.subject import Subject
from onnxzip.propose.proposal import Proposal


def refusal(proposal: Proposal, trials: Sequence[Trial], subject: Subject) -> str:
    """Say why a search found no plan: what it was offered, and how near it came."""
    source = proposal.model.source
    offered = sum(bool(ladder) for ladder in proposal.ladders.values())
    if not offered:
        n_skips = len(proposal.skips)
        first = proposal.skips[0] if proposal.skips else None
        reason = f"; e.g. '{first.layer}': {first.reason}" if first else ""
        return f"{source}: no weight can be made smaller ({n_skips} refusals{reason})"
    metric = subject.sample.metric
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


def advice(subject: Subject) -> str:
    """Return what to do where no smaller file stays within the tolerance."""
    feeds = subject.sample.feeds
    if feeds.seed is None:
        return "allow a larger `tolerance`"
    return (
        f"allow a larger `tolerance`, or pass real inputs with `calibration` (this is on {feeds.note})"
    )
