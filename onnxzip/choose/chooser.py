"""Chooses a plan: what a layer's error costs, then the plans that a tolerance or a size allows.

A `Chooser` is what stays while plans come and go: the sensitivities measured so far, the payloads of the
latest plan, and whatever weights can be fitted again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onnxzip.choose import blind
from onnxzip.choose.blame import CONTRADICTION
from onnxzip.choose.finish import Fitted, last_layers, step_back, with_last_moved
from onnxzip.choose.lagrangian import Sensitivity, moved, predicted_loss
from onnxzip.choose.refitting.refit import Refitter
from onnxzip.choose.refusals import advice, refusal
from onnxzip.choose.search import Planner, Trial
from onnxzip.choose.sensitivity import Prober
from onnxzip.choose.to_loss import LossSearch
from onnxzip.choose.to_size import fill
from onnxzip.choose.trial_log import TrialLog
from onnxzip.disk.cache.cache import NOTHING_KEPT, Cache
from onnxzip.errors import ToleranceError
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.ladders import Ladders
from onnxzip.propose.offers import with_true_error
from onnxzip.propose.proposal import Proposal
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Plan, Rounding, Skip
from onnxzip.records.progress import Rounds, ShowProgress
from onnxzip.report.record import LayerSensitivity
from onnxzip.rewrite.restorer import Restorer

_FIRST_BUDGET = 0.05
"""Predicted loss to begin with where the metric's unit is not that of predictions: half of what rel_l2
allows by default. A guess that costs trials, as the search moves it."""

_SHARE_OF_LUCK = 0.5**0.5
"""Share of the first budget that a layer that jumps may be predicted to lose: half of it in squares."""


class Chooser:
    """Chooses plans for a model, the first one and tighter ones after it; making one measures it.

    Attributes:
        log: what was tried.
        refused: why no plan meets the tolerance; "" where one does.
    """

    def __init__(
        self,
        proposal: Proposal,
        subject: Subject,
        options: Options,
        restorer: Restorer,
        show: ShowProgress,
        cache: Cache = NOTHING_KEPT,
    ) -> None:
        """Measure every layer's sensitivity, and decide how small tensors are stored."""
        self._proposal, self._subject = proposal, subject
        self._rounds = Rounds(show, "search")
        self._restorer = restorer
        self._refitter = Refitter(proposal, subject, cache)
        others = {*self._refitter.biases, *(layer.name for layer in proposal.small_layers)}
        self._prober = Prober(proposal, subject, restorer, others, cache)
        unseen = self._prober.reached_by_none(self._prober.probe_all(show))
        aim = self._prober.aim
        if not proposal.is_exact:
            aim.set_floor(self._prober.trials)
        self._is_proportional = aim.is_proportional
        aimed = aim.tolerance if aim.is_proportional and options.target_size is None else None
        self._first_budget = aimed or _FIRST_BUDGET
        self._blind = {**blind.unreached(unseen), **blind.silent(proposal, subject)}
        self._ladders = blind.harmless(proposal.ladders, self._blind)
        self._rounding = self._prober.choose_rounding(
            proposal.small_layers, self._first_budget, keeps_names=options.keep_names
        )
        self._n_tightenings = 0
        self.log = TrialLog(proposal.n_plain_bytes)
        self.refused = ""

    def plan_to_loss(self) -> Plan:
        """Return the plan that saves most among those whose measured loss meets the tolerance.

        Where none does, it is the one that loses least, and `refused` says so.

        Raises:
            ToleranceError: no plan saves anything.
        """
        is_moving = any(codec.is_continuous for codec in self._proposal.codecs.values())
        planner = Planner(self._plan_for, self._correct, self._moved if is_moving else None)
        refit = self._refit if self._refitter.is_able else None
        search = LossSearch(planner, refit, self._finish, self._prober, self._rounds.begin, self.log)
        found = search.run(self._first_budget)
        best = search.best or self._proposal.plain_plan
        if best is None:
            sensitivities = self._prober.sensitivities
            self.refused = refusal(self._proposal, found, self._subject, sensitivities)
            if search.least is None:
                raise ToleranceError(self.refused)
            best = search.least.plan
        self._rest()
        return self.settle(best)

    def plan_to_size(self, n_bytes: int, size_of: Callable[[Plan], int]) -> Plan:
        """Return the plan with the least predicted loss whose file takes at most `n_bytes`.

        Args:
            n_bytes: what the file may take.
            size_of: returns the size of the file that a plan makes.

        Raises:
            ToleranceError: no plan is that small.
        """
        model = self._proposal.model
        plan, smallest = fill(
            lambda budget: self._refit(self._plan_for(budget)),
            self._plan_for,
            self.log.of_sizes(size_of, n_bytes),
            n_bytes,
            self._proposal.n_plain_bytes,
        )
        if plan is None:
            raise ToleranceError(
                f"{model.source}: the smallest file that was found takes {smallest} bytes, more than "
                f"`target_size` {n_bytes}; allow more, or a higher `level`"
            )
        self._rest()
        return self.settle(plan)

    def tighter(self, plan: Plan, drifts: Sequence[Check]) -> Plan:
        """Return a plan of less predicted loss than one that failed a provider's drift check.

        It is less by what the check measured to be too much. Where there were enough of them, it is the
        last one again, and `refused` says so.
        """
        failed = [check for check in drifts if check.failed]
        self.log.add_failed_proof(plan, failed)
        share = step_back(self._n_tightenings, failed)
        if share is None:
            self.refused = (
                f"{self._proposal.model.source}: {failed[0].metric} is {failed[0].value:.3g} on "
                f"{failed[0].provider}, the tolerance is {failed[0].limit:.3g}, and no tighter plan "
                f"meets it; {advice(self._subject)}"
            )
            return self.settle(plan)
        self._n_tightenings += 1
        tighter = self._refit(self._plan_for(plan.budget * share))
        self._rest()
        return self.settle(tighter)

    def settle(self, plan: Plan) -> Plan:
        """Return the plan with measured errors only, where they were interpolated between two rates.

        The payloads that this takes are the restorer's, which has them when the plan is emitted.
        """
        passes, encode = self._proposal.passes, self._restorer.encode
        chosen = {
            name: replace(with_true_error(encode(c), passes[c.pass_name]), encoded=c.encoded)
            if c.is_estimate
            else c
            for name, c in plan.chosen.items()
        }
        return replace(plan, chosen=chosen, error=max((c.error for c in chosen.values()), default=0.0))

    def skips(self, plan: Plan) -> tuple[Skip, ...]:
        """Say which layers the plan leaves as they are, and which it had to choose blindly."""
        ladders = self._proposal.ladders
        kept = [name for name, ladder in ladders.items() if ladder and name not in plan.chosen]
        reason = "left as it is: no candidate is worth its share of the loss allowed"
        return (
            *self._refitter.skips,
            *(Skip(name, "planner", reason) for name in kept),
            *(Skip(name, "planner", why) for name, why in self._blind.items() if name in plan.chosen),
        )

    @property
    def doubts(self) -> list[str]:
        """Why the verdict says nothing about some weights; nothing where it says something about all."""
        return blind.doubts(self._blind, is_generated=self._subject.is_generated)

    @property
    def findings(self) -> list[Finding]:
        """What the user's inputs leave open."""
        return blind.findings(self._blind, is_generated=self._subject.is_generated)

    @property
    def sensitivities(self) -> tuple[LayerSensitivity, ...]:
        """What single layers' errors were measured to do."""
        return self._prober.measured

    def _plan_for(self, budget: float) -> Plan:
        """Return the cheapest plan within a budget of predicted loss."""
        plan = self._prober.plan_for(self._ladders, budget)
        constants = {layer.name: layer.weight for layer in self._rounding.layers}
        return replace(plan, constants=constants, rounding=self._rounding)

    def _moved(self, plan: Plan, budget: float) -> Plan:
        """Return a plan whose rates are moved to meet another budget, or one that is chosen anew."""
        found = moved(plan, self._ladders, self._prober.sensitivities, budget)
        return self._plan_for(budget) if found is None else found

    def _finish(self, base: Fitted, ratio: float) -> Plan | None:
        """Return a fitted plan whose last layers are moved to have another loss."""
        sensitivities = self._prober.sensitivities
        return with_last_moved(base, ratio, self._refitter.order, self._ladders, sensitivities)

    def _correct(self, trial: Trial, usual: float) -> float:
        """Correct predictions where a trial contradicts them; return the budget to begin with again.

        Args:
            trial: one that failed.
            usual: the ratio of loss to budget of trials that passed.

        Returns:
            0 where the layers that lose more than was predicted do not explain the loss: layers' errors
            then add up in another way, and the budget has to follow it.
        """
        plan = trial.plan
        if self._is_proportional and trial.loss <= CONTRADICTION * max(usual, 1.0) * plan.budget:
            return 0.0
        prober = self._prober
        found = prober.correct(plan)
        if self._rounding.layers and prober.moves_outputs(self._rounding, self._first_budget):
            self._rounding, found = Rounding(), True
            return self._first_budget
        jumping = [name for name in plan.chosen if prober.sensitivities[name].jumps]
        share = self._first_budget * _SHARE_OF_LUCK
        self._ladders = _cap(self._ladders, prober.sensitivities, jumping, share)
        explained = predicted_loss(plan, prober.sensitivities)
        is_explained = not self._is_proportional or CONTRADICTION * explained >= trial.loss
        return min(plan.budget, self._first_budget) if found and is_explained else 0.0

    def _refit(self, plan: Plan) -> Plan:
        """Fit the plan's weights and biases again, where there is data to fit them to."""
        last, _ = last_layers(plan, self._refitter.order, self._prober.sensitivities)
        self._rounds.begin("refit")
        return self._refitter.refit(plan, self._restorer, self._rounds.show, last[0] if last else "")

    def _rest(self) -> None:
        """Give back memory that checks need; what was given back is made again when it is asked for."""
        self._prober.close()
        self._refitter.rest()
        if self._subject.is_held_out:
            for sample in {*self._subject.fitted, *self._subject.searched} - {*self._subject.samples}:
                sample.reference.forget()
        self._proposal.release_statistics()


def _cap(
    ladders: Ladders, sensitivities: Mapping[str, Sensitivity], names: Sequence[str], budget: float
) -> Ladders:
    """Let layers have no more error than a budget would allow each of them.

    The search raises the budget as far as the measured loss permits, and the errors of a layer that no
    feed reached, or that jumps, are not in that loss, or only by luck. The most exact candidate stays:
    what it costs is told by a trial.
    """
    capped = dict(ladders)
    for name in names:
        least = min((c.error for c in ladders[name]), default=0.0)
        capped[name] = [
            c
            for c in ladders[name]
            if c.error <= least or c.error * sensitivities[name].at(c.error) <= budget
        ]
    return capped
