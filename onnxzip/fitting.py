"""Finds the smallest model within the tolerance: sensitivities, a budget, emission, drift check."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from onnxzip import planner
from onnxzip.errors import ToleranceError
from onnxzip.graph import Judgement, Model, n_bytes_of, release_pages, with_constants
from onnxzip.metrics import DEFAULT_LIMITS
from onnxzip.options import Options
from onnxzip.probing import Prober
from onnxzip.proof import Expectation, Subject, expect, measure_drift, prove_exact
from onnxzip.proposal import Proposal, measured
from onnxzip.refit import Refitter
from onnxzip.rounding import settled
from onnxzip.surgery import Emitted, Restorer, emit_plan
from onnxzip.types import Check, Plan, Skip

ShowProgress: TypeAlias = Callable[[str, float], None]

_FIRST_BUDGET = 0.05
_TIGHTEN = 0.85
_MAX_TIGHTENINGS = 4
_MAX_EMISSIONS = 5
_FULL_ENOUGH = 0.98
_BELOW = 0.998
_N_PLAIN_TRIALS = 2
_N_REFIT_TRIALS = 3
_CLOSE_ENOUGH = 0.97
_USUAL_GAIN = 1.2


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
    restorer = Restorer(proposal.passes, proposal.codecs)
    refitter = Refitter(proposal, subject)
    others = {*refitter.biases, *(layer.name for layer in proposal.small_layers)}
    prober = Prober(proposal, subject, restorer, others)
    unseen = prober.probe_all(show)
    metric = subject.sample.metric
    aims = metric.name == "rel_l2" and options.target_size is None
    first_budget = metric.limit if aims else _FIRST_BUDGET
    ladders = _cap_unseen(proposal.ladders, prober.sensitivities, unseen, first_budget)
    rounding = prober.choose_rounding(
        proposal.small_layers, first_budget, keeps_names=options.keep_names
    )
    constants = {layer.name: layer.weight for layer in rounding.layers}
    job = _Job(original, proposal, subject, options, restorer, refitter, show)

    def plan_for(budget: float) -> Plan:
        plan = prober.plan_for(ladders, budget, by_macs=options.objective == "speed")
        return replace(plan, constants=constants, rounding=rounding)

    def finish(plan: Plan, emitted: Emitted, expected: Expectation, drifts: list[Check]) -> Fit:
        exact = prove_exact(expected, emitted.model, subject)
        plan = job.measured(plan)
        skips = (*refitter.skips, *_left_alone(proposal, plan, unseen))
        return Fit(emitted, plan, (*exact, *drifts), skips)

    if options.target_size is not None:
        plan, emitted = _fill(job, plan_for, options.target_size)
        prober.close()
        expected, drifts = job.check(plan, emitted)
        return finish(plan, emitted, expected, drifts)
    plan = _search(job, plan_for, prober, first_budget)
    prober.close()
    if subject.fitted is not subject.sample:
        subject.fitted.reference.forget()  # the checks need the memory
    for attempt in range(_MAX_TIGHTENINGS):
        emitted = job.emit(plan)
        expected, drifts = job.check(plan, emitted)
        if all(check.passed for check in drifts):
            return finish(plan, emitted, expected, drifts)
        plan = job.refit(plan_for(plan.budget * _TIGHTEN ** (attempt + 1)))
    failed = next(check for check in drifts if not check.passed)
    raise ToleranceError(
        f"{original.source}: {failed.metric} is {failed.value:.3g} on {failed.provider}, the tolerance "
        f"is {failed.limit:.3g}, and no tighter plan meets it; {_advice(subject)}"
    )


@dataclass(frozen=True, eq=False)
class _Job:
    """All that does not change while plans are tried."""

    original: Model
    proposal: Proposal
    subject: Subject
    options: Options
    restorer: Restorer
    refitter: Refitter
    show: ShowProgress

    def refit(self, plan: Plan) -> Plan:
        """Fit the plan's weights and biases again, where there is data to fit them to."""
        return self.refitter.refit(plan, self.restorer, lambda stage, _: self.show(stage, 0.75))

    def measured(self, plan: Plan) -> Plan:
        """Return the plan with measured errors only."""
        passes, encode = self.proposal.passes, self.restorer.encode
        chosen = {
            name: measured(encode(c), passes[c.pass_name]) if c.is_estimate else c
            for name, c in plan.chosen.items()
        }
        return replace(plan, chosen=chosen, error=max((c.error for c in chosen.values()), default=0.0))

    def emit(self, plan: Plan) -> Emitted:
        """Write the plan into the graph."""
        self.show("rewriting", 0.85)
        return emit_plan(
            with_constants(self.proposal.model, plan.constants),
            plan,
            self.proposal.passes,
            self.restorer,
            self.proposal.level.emit,
            keeps_names=self.options.keep_names or not self.proposal.level.renames,
            judged=_judgement(self.subject),
        )

    def check(self, plan: Plan, emitted: Emitted) -> tuple[Expectation, list[Check]]:
        """Collect what the emitted graph must answer, and measure its drift on every provider."""
        self.show("checking", 0.88)
        self.proposal.release_statistics()
        model = with_constants(self.proposal.model, settled(plan))
        expected = expect(model, emitted, plan, self.restorer, self.subject)
        release_pages(self.original.arrays.values())
        return expected, measure_drift(emitted.model, self.original, self.subject)


def _fill(job: _Job, plan_for: Callable[[float], Plan], n_bytes: int) -> tuple[Plan, Emitted]:
    """Return the plan with the least predicted loss whose file takes at most `n_bytes`.

    Raises:
        ToleranceError: no plan is that small.
    """
    before = job.original.n_bytes
    allowed = float(n_bytes)
    best: tuple[Plan, Emitted] | None = None
    n_found = 0
    for _ in range(_MAX_EMISSIONS):
        plan = job.refit(planner.choose_for_size(plan_for, before - allowed))
        emitted = job.emit(plan)
        n_found = n_bytes_of(emitted.model)
        if n_found <= n_bytes:
            best = plan, emitted
        if _FULL_ENOUGH * n_bytes <= n_found <= n_bytes:
            break
        allowed *= n_bytes / n_found * _BELOW
    if best is None:
        raise ToleranceError(
            f"{job.original.source}: the smallest file that was found takes {n_found} bytes, more than "
            f"--target-size {n_bytes}; allow more, or a higher level"
        )
    return best


def _cap_unseen(
    ladders: planner.Ladders,
    sensitivities: Mapping[str, planner.Sensitivity],
    unseen: Sequence[str],
    budget: float,
) -> planner.Ladders:
    """Let a layer that no feed reached have no more error than the first budget would allow it.

    The search raises the budget as far as the measured loss permits, and these layers' errors are
    not in that loss.
    """
    capped = dict(ladders)
    for name in unseen:
        capped[name] = [c for c in ladders[name] if c.error * sensitivities[name].at(c.error) <= budget]
    return capped


def _left_alone(proposal: Proposal, plan: Plan, unseen: Sequence[str]) -> tuple[Skip, ...]:
    """Say which layers the plan leaves as they are, and which it had to choose blindly."""
    kept = [n for n, ladder in proposal.ladders.items() if ladder and n not in plan.chosen]
    reason = "left as it is: no candidate is worth its share of the loss allowed"
    blind = "no feed reached it: its error is bounded by that of a sensitive layer"
    return (
        *(Skip(name, "planner", reason) for name in kept),
        *(Skip(name, "planner", blind) for name in unseen if name in plan.chosen),
    )


def _search(job: _Job, plan_for: Callable[[float], Plan], prober: Prober, first_budget: float) -> Plan:
    """Return the plan that saves most among those whose measured loss meets the tolerance.

    Where weights can be fitted again, plans are searched without that first, with few trials, and then
    with it, from the budget on that was found: a plan that is fitted again loses less.
    """
    trials = _Trials(job, prober)
    metric = job.subject.sample.metric
    tolerance = metric.limit if metric.name == "rel_l2" else None
    if not job.refitter.is_able:
        found = planner.search(plan_for, trials.measure, first_budget, tolerance)
    else:
        if tolerance:
            start = planner.aim(plan_for, trials.measure, first_budget, tolerance) * _USUAL_GAIN
        else:
            plain = planner.search(plan_for, trials.measure, first_budget, None, _N_PLAIN_TRIALS)
            best = planner.best_trial(plain) or plain[-1]
            start = best.plan.budget * _USUAL_GAIN
        found = planner.search(
            plan_for, trials.measure_refit, start, tolerance, _N_REFIT_TRIALS, _CLOSE_ENOUGH
        )
    if trials.best is None:
        raise ToleranceError(_refusal(job.original, job.proposal, found, job.subject))
    return trials.best


class _Trials:
    """Measures plans on the whole model.

    Attributes:
        best: the plan that saves most among those that passed, fitted again if it was so measured.
    """

    def __init__(self, job: _Job, prober: Prober) -> None:
        self.best: Plan | None = None
        self._job = job
        self._prober = prober
        self._n_trials = 0

    def measure(self, plan: Plan) -> tuple[float, bool]:
        """Return the plan's loss, and whether it is within the tolerance."""
        job, evaluator = self._job, self._prober.evaluator
        metric, sample, fitted = job.subject.sample.metric, job.subject.sample, job.subject.fitted
        self._n_trials += 1
        share = min(self._n_trials / planner.MAX_TRIALS, 1)
        job.show(f"trial {self._n_trials}", 0.65 + 0.2 * share)
        weights = {name: job.restorer.restore(c) for name, c in plan.chosen.items()}
        weights.update(settled(plan))
        loss = evaluator.loss(weights, sample)
        if metric.passes(loss) and fitted is not sample:
            fitted_loss = evaluator.loss(weights, fitted)
            loss = loss if metric.passes(fitted_loss) else fitted_loss
        passed = metric.passes(loss)
        if passed and plan.chosen and (self.best is None or _saves_more(plan, self.best)):
            self.best = plan
        return loss, passed

    def measure_refit(self, plan: Plan) -> tuple[float, bool]:
        """Return the loss of the plan when it is fitted again."""
        self._prober.close()  # a session on the whole model; a refit needs the memory
        return self.measure(self._job.refit(plan))


def _saves_more(plan: Plan, than: Plan) -> bool:
    return planner.n_saved_bytes(plan) > planner.n_saved_bytes(than)


def _refusal(original: Model, proposal: Proposal, trials: list[planner.Trial], subject: Subject) -> str:
    offered = sum(bool(ladder) for ladder in proposal.ladders.values())
    if not offered:
        n_skips = len(proposal.skips)
        first = proposal.skips[0] if proposal.skips else None
        reason = f"; e.g. '{first.layer}': {first.reason}" if first else ""
        return f"{original.source}: no weight can be made smaller ({n_skips} refusals{reason})"
    metric = subject.sample.metric
    tried = [trial for trial in trials if trial.plan.chosen]
    if not tried:
        return (
            f"{original.source}: no candidate for {offered} weights stays within {metric.name} "
            f"{metric.limit:.3g}; {_advice(subject)}"
        )
    best = min(tried, key=lambda trial: -trial.loss if metric.higher_is_better else trial.loss)
    return (
        f"{original.source}: the most exact plan changes {len(best.plan.chosen)} of {offered} weights "
        f"and has {metric.name} {best.loss:.3g}, the tolerance is {metric.limit:.3g}; {_advice(subject)}"
    )


def _judgement(subject: Subject) -> Judgement | None:
    """Return what a file is judged by, None where that are the defaults."""
    metric, on_data = subject.sample.metric, subject.sample.feeds.seed is None
    is_default = (metric.name, metric.limit) == ("rel_l2", DEFAULT_LIMITS["rel_l2"])
    if is_default and not on_data:
        return None
    limit = metric.limit if 0 < metric.limit < math.inf else None
    return Judgement(metric.name if metric.name in DEFAULT_LIMITS else "", limit, on_data)


def _advice(subject: Subject) -> str:
    """Return what to do where no smaller file stays within the tolerance."""
    feeds = subject.sample.feeds
    if feeds.seed is None:
        return "allow a larger --tolerance"
    return (
        f"allow a larger --tolerance, or pass real inputs with --calibration (this is on {feeds.note})"
    )
