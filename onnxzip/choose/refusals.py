"""What a user is told where no smaller file stays within the tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxzip.choose.lagrangian import Sensitivity
from onnxzip.choose.search import Trial
from onnxzip.measure.subject import Subject
from onnxzip.propose.proposal import Proposal
from onnxzip.propose.weights import why_none
from onnxzip.records.plan import Plan

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
        f"and {loss}, the tolerance is {metric.limit:.3g}; {_costliest(best.plan, sensitivities)}; "
        f"{advice(subject)}"
    )


def _costliest(plan: Plan, sensitivities: Mapping[str, Sensitivity]) -> str:
    """Name the layers of a plan that cost most, and what each of them costs alone."""
    losses = {name: sensitivities[name].at(c.error) * c.error for name, c in plan.chosen.items()}
    worst = sorted(losses, key=lambda name: (-losses[name], name))[:_N_NAMED]
    named = ", ".join(f"'{name}' ({losses[name]:.2g} alone)" for name in worst)
    return f"most of it costs {named}; `keep` leaves a weight as it is"


def _why(proposal: Proposal) -> str:
    """Return why there is no candidate for any weight, by one of them."""
    of_weights = [skip for skip in proposal.skips if skip.layer in proposal.ladders]
    return why_none(proposal.model, of_weights or proposal.skips)


def advice(subject: Subject) -> str:
    """Return what to do where no smaller file stays within the tolerance."""
    feeds = subject.samples[0].feeds
    if feeds.seed is None:
        return "allow a larger `tolerance`"
    return (
        f"allow a larger `tolerance`, or pass real inputs with `calibration` (this is on {feeds.note})"
    )
