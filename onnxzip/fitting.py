"""Finds the smallest model within the tolerance: sensitivities, a budget, emission, drift check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from onnxzip import planner
from onnxzip.errors import ToleranceError
from onnxzip.evaluation import Evaluator
from onnxzip.graph import Model
from onnxzip.options import Options
from onnxzip.proof import Subject, expect, measure_drift, prove_exact
from onnxzip.proposal import Proposal
from onnxzip.surgery import Emitted, Restorer, emit_plan
from onnxzip.types import Check, Plan, Skip

ShowProgress: TypeAlias = Callable[[str, float], None]

_N_PROBE_RUNS = 4
_FIRST_BUDGET = 0.05
_TIGHTEN = 0.85
_MAX_TIGHTENINGS = 4


@dataclass(frozen=True, eq=False)
class Fit:
    """The compressed model with its plan and proof; `skips` says what the search left alone."""

    emitted: Emitted
    plan: Plan
    checks: tuple[Check, ...]
    skips: tuple[Skip, ...]


def fit(
    original: Model, proposal: Proposal, subject: Subject, options: Options, show: ShowProgress
) -> Fit:
    """Choose, emit and prove; tighten the plan when a provider's drift check fails.

    Raises:
        ToleranceError: no smaller model meets the tolerance.
        VerificationError: an emitted graph fails its exact check.
    """
    restorer = Restorer(proposal.passes, proposal.codec)
    sensitivities, skips = _sensitivities(proposal, subject, restorer, show)

    def plan_for(budget: float) -> Plan:
        by_macs = options.objective == "speed"
        return planner.choose(proposal.ladders, sensitivities, budget, by_macs=by_macs)

    plan = _search(plan_for, proposal, subject, restorer, original, show)
    for attempt in range(_MAX_TIGHTENINGS):
        show("rewriting", 0.85)
        emitted = emit_plan(proposal.model, plan, proposal.passes, restorer)
        show("checking", 0.88)
        expected = expect(proposal.model, emitted, plan, restorer, subject)
        restorer.forget()
        drifts = measure_drift(emitted.model, original, subject)
        if all(check.passed for check in drifts):
            exact = prove_exact(expected, emitted.model, subject)
            return Fit(emitted, plan, (*exact, *drifts), tuple(skips))
        plan = plan_for(plan.budget * _TIGHTEN ** (attempt + 1))
    failed = next(check for check in drifts if not check.passed)
    raise ToleranceError(
        f"{original.source}: {failed.metric} is {failed.value:.3g} on {failed.provider}, the tolerance "
        f"is {failed.limit:.3g}, and no tighter plan meets it; allow a larger --tolerance"
    )


def _sensitivities(
    proposal: Proposal, subject: Subject, restorer: Restorer, show: ShowProgress
) -> tuple[dict[str, float], list[Skip]]:
    """Measure how much each layer's error alone moves the output, relative to its own."""
    probes = planner.probes(proposal.ladders)
    if not probes:
        return dict.fromkeys(proposal.ladders, 1.0), []
    evaluator = _evaluator(proposal, subject)
    measured: dict[str, float] = {}
    for i, (name, candidate) in enumerate(probes.items()):
        show(f"sensitivity {i + 1} of {len(probes)}", 0.5 + 0.15 * i / len(probes))
        weights = {name: restorer.restore(candidate)}
        measured[name] = evaluator.relative_error(weights, _N_PROBE_RUNS) / candidate.error
    evaluator.close()
    filled, unseen = planner.fill_unseen(measured)
    reason = "no feed reached it: its error is bounded like that of a sensitive layer"
    skips = [Skip(name, "planner", reason) for name in unseen]
    return {name: filled.get(name, 1.0) for name in proposal.ladders}, skips


def _search(
    plan_for: Callable[[float], Plan],
    proposal: Proposal,
    subject: Subject,
    restorer: Restorer,
    original: Model,
    show: ShowProgress,
) -> Plan:
    """Return the plan that saves most among those whose measured loss meets the tolerance."""
    metric = subject.metric
    evaluator = _evaluator(proposal, subject)
    n_trials = 0

    def measure(plan: Plan) -> tuple[float, bool]:
        nonlocal n_trials
        n_trials += 1
        show(f"trial {n_trials}", 0.65 + 0.2 * min(n_trials / planner.MAX_TRIALS, 1))
        weights = {name: restorer.restore(c) for name, c in plan.chosen.items()}
        loss = evaluator.loss(weights)
        return loss, metric.passes(loss)

    aims = metric.name == "rel_l2"
    trials = planner.search(
        plan_for, measure, metric.limit if aims else _FIRST_BUDGET, metric.limit if aims else None
    )
    evaluator.close()
    best = planner.best_trial(trials)
    if best is None:
        raise ToleranceError(_refusal(original, proposal, trials, subject))
    return best.plan


def _evaluator(proposal: Proposal, subject: Subject) -> Evaluator:
    return Evaluator(
        proposal.model,
        proposal.layers,
        subject.feeds,
        subject.reference,
        subject.metric,
        subject.custom_ops,
    )


def _refusal(original: Model, proposal: Proposal, trials: list[planner.Trial], subject: Subject) -> str:
    offered = sum(bool(ladder) for ladder in proposal.ladders.values())
    if not offered:
        n_skips = len(proposal.skips)
        first = proposal.skips[0] if proposal.skips else None
        reason = f"; e.g. '{first.layer}': {first.reason}" if first else ""
        return f"{original.source}: no weight can be made smaller ({n_skips} refusals{reason})"
    best = min(trials, key=lambda trial: trial.plan.budget)
    metric = subject.metric
    return (
        f"{original.source}: even with {len(best.plan.chosen)} of {offered} weights changed, "
        f"{metric.name} is {best.loss:.3g} and the tolerance {metric.limit:.3g}; "
        "allow a larger --tolerance"
    )
