"""Measures how much each layer's error alone moves the output, at the errors that plans really use.

A layer is measured first with a small error. Large errors are not to small ones as they are in size: on
resnet44 a layer that is harmless at 0.05 costs more than all others together at 0.7. So each layer to
which a plan gives far more error than it was measured at is measured again, there, and the plan is made
anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from onnxzip.choose.blame import CONTRADICTION, blame
from onnxzip.choose.lagrangian import Sensitivity, choose
from onnxzip.choose.probing.points import LEAST_SENSITIVITY, RUINED, fill_unseen, never_falling
from onnxzip.choose.probing.results import Results
from onnxzip.choose.probing.staged import StagedProbes
from onnxzip.disk.cache.cache import NOTHING_KEPT, Cache
from onnxzip.measure.aim import Aim, Outcome
from onnxzip.measure.probe import Probe
from onnxzip.measure.reach import unreached
from onnxzip.measure.subject import Subject
from onnxzip.measure.trial_session import TrialSession
from onnxzip.propose.ladders import Ladders
from onnxzip.propose.proposal import Proposal
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Plan, Rounding
from onnxzip.records.progress import ShowProgress, at
from onnxzip.report.record import LayerSensitivity
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import RATES, n_saved_bytes, rounded, settled

PROBE_ERROR = 0.05
"""Sensitivities are measured with the candidate whose error is nearest to this: half of what rel_l2
allows a whole model by default; where plans give a layer more, it is measured again."""

_TRUSTED_FACTOR = 1.5
"""Errors this many times as large are measured again, half a bit more: a guess that costs time."""


def probes(ladders: Ladders) -> dict[str, Candidate]:
    """Return, for each layer, the candidate to measure its sensitivity with."""
    found: dict[str, Candidate] = {}
    for name, ladder in ladders.items():
        nearest = _nearest([c for c in ladder if not c.is_estimate], PROBE_ERROR)
        if nearest is not None:
            found[name] = nearest
    return found


def _nearest(ladder: Sequence[Candidate], error: float) -> Candidate | None:
    """Return the candidate whose error is nearest to one, of those that have an error."""
    useful = [c for c in ladder if c.error > 0]
    return min(useful, key=lambda c: abs(np.log(c.error / error)), default=None)


def doubtful(plan: Plan, sensitivities: Mapping[str, Sensitivity]) -> dict[str, Candidate]:
    """Return the chosen candidates whose error is far above the next smaller one measured."""
    return {
        name: candidate
        for name, candidate in plan.chosen.items()
        if candidate.error
        > _TRUSTED_FACTOR
        * max(
            (e for e, _ in sensitivities[name].points if e <= candidate.error), default=candidate.error
        )
    }


_N_BLAMING = 8
"""Parts to measure besides those that lead to one layer: for a few layers more. A guess that costs time,
where a prediction fails."""

_FAR_BELOW = 4.0
"""Two bits: far enough that losses tell how they follow errors, not so far that they end in noise."""

_SMOOTH = (0.75, 3.0)
"""Exponents of a layer's loss over its error that no jump has: 1 where the loss is proportional, 1/2
where the error changes as many answers as it is large, and nothing or everything by luck."""

_ROUNDING_SHARE = 0.1
"""Errors add up in squares: what has a tenth of the loss allowed adds half a percent to it."""

_MAX_REMEASURINGS = 4
"""Times that a plan's doubtful layers are measured: a guess that costs time only."""


class Prober:
    """Holds the layers' sensitivities and adds to them as plans need it.

    Attributes:
        sensitivities: by layer name.
        subject: what is measured on.
        measured: what each layer's first measurement found.
    """

    def __init__(
        self,
        proposal: Proposal,
        subject: Subject,
        restorer: Restorer,
        others: Collection[str] = (),
        cache: Cache = NOTHING_KEPT,
    ) -> None:
        """Open nothing yet; `others` are initializers that plans may change besides the layers."""
        self._others = others
        self._results = Results(cache, proposal, others)
        self.sensitivities: dict[str, Sensitivity] = {}
        self.measured: tuple[LayerSensitivity, ...] = ()
        self._unseen: set[str] = set()
        self._proposal = proposal
        self.subject = subject
        self._restorer = restorer
        self._trials: TrialSession | None = None

    @cached_property
    def aim(self) -> Aim:
        """What plans are to reach."""
        return Aim(self.subject)

    @property
    def trials(self) -> TrialSession:
        """What plans are tried with; opened when it is needed, until `close`."""
        if self._trials is None:
            example = self.subject.samples[0].feeds.feeds[0]
            proposal = self._proposal
            self._trials = TrialSession(
                proposal.model, proposal.layers, example, self.subject.custom_ops, self._others
            )
        return self._trials

    def outcome(self, plan: Plan) -> Outcome:
        """Return what a plan comes to on the whole model."""

        def run() -> Outcome:
            weights = self._restorer.restore_all(plan.chosen.values())
            return self.aim.outcome(self.trials, {**weights, **settled(plan)})

        return self._results.outcome(plan, self.subject, self.aim.floor, run)

    def reached_by_none(self, names: Collection[str]) -> list[str]:
        """Return which of the weights that move no output no input reaches; others cancel out."""
        layers, probes = self._proposal.layers, self.subject.probes
        return self._results.reached_by_none(
            names, probes, lambda: unreached(self.trials, layers, names, probes, LEAST_SENSITIVITY)
        )

    def close(self) -> None:
        """Free the trials's memory."""
        if self._trials is not None:
            self._trials.close()
            self._trials = None

    def probe_all(self, show: ShowProgress) -> list[str]:
        """Measure every layer with a small error; return the names of those that no feed reached."""
        candidates = probes(self._proposal.ladders)
        measured: dict[str, float] = {}
        n = len(candidates)
        show(f"sensitivity 1 of {n}", at("sensitivities"))
        for i, (name, loss) in enumerate(self._measure(candidates), 1):
            show(f"sensitivity {min(i + 1, n)} of {n}", at("sensitivities", i / n))
            measured[name] = loss / candidates[name].error
        measured = {name: measured[name] for name in candidates}
        self.measured = tuple(
            LayerSensitivity(name, candidates[name].error, value * candidates[name].error)
            for name, value in measured.items()
        )
        filled, unseen = fill_unseen(measured)
        self.sensitivities = {
            name: Sensitivity(((candidates[name].error, filled[name]),))
            if name in candidates
            else Sensitivity(((1.0, 1.0),))
            for name in self._proposal.ladders
        }
        self._unseen = set(unseen)
        return unseen

    def correct(self, plan: Plan) -> bool:
        """Measure parts of a plan whose loss contradicts its prediction, down to single layers.

        Returns:
            Whether a layer was found that costs more than was predicted, and its sensitivity corrected.
        """
        predicted = {
            name: self.sensitivities[name].at(c.error) * c.error
            for name, c in plan.chosen.items()
            if c.error > 0
        }
        most = _N_BLAMING + 2 * len(predicted).bit_length()
        chosen = plan.chosen
        found = blame(predicted, lambda names: self._part_error([chosen[n] for n in names]), most)
        blamed = {n: loss for n, loss in found.items() if not loss <= CONTRADICTION * predicted[n]}
        for name, loss in blamed.items():
            self._set_right(plan.chosen[name], loss if loss < np.inf else RUINED)
        self._unseen -= blamed.keys()
        return bool(blamed)

    def was_lucky(self, plan: Plan) -> bool:
        """Whether a plan that passed has a layer that jumps, at an error that should cost too much."""
        limit = self.aim.tolerance or np.inf
        for name, candidate in plan.chosen.items():
            known, least = self.sensitivities[name], min(c.error for c in self._proposal.ladders[name])
            is_most_exact = candidate.error <= least
            if known.jumps and not is_most_exact and known.at(candidate.error) * candidate.error > limit:
                return True
        return False

    def _set_right(self, candidate: Candidate, loss: float) -> None:
        """Correct the sensitivity of a layer that loses more than was predicted.

        What it loses at a smaller error tells whether it follows its error there; where it does not, or
        loses nothing at all on these runs, it jumps, and nothing measured below is of use.
        """
        name, error = candidate.layer.name, candidate.error
        known = self.sensitivities[name].with_point(error, loss / error)
        smaller = _nearest(self._proposal.ladders[name], error / _FAR_BELOW)
        if smaller is not None and smaller.error < error:
            lower = self._part_error([smaller])
            exponent = np.log(loss / lower) / np.log(error / smaller.error) if lower > 0 else np.inf
            if _SMOOTH[0] <= exponent <= _SMOOTH[1]:
                self.sensitivities[name] = known.with_point(smaller.error, lower / smaller.error)
                return
            if 0 < exponent < _SMOOTH[0]:
                known = known.with_point(smaller.error, lower / smaller.error)
                error = smaller.error
        self.sensitivities[name] = Sensitivity(never_falling(known.points, error), jumps=True)

    def moves_outputs(self, rounding: Rounding, budget: float) -> bool:
        """Whether rounding small tensors costs more than its share, on more runs than chose it."""
        error = self._effect(rounding, self.subject.wide_probes)
        return not error <= _ROUNDING_SHARE * CONTRADICTION * budget

    def choose_rounding(
        self, layers: Sequence[Layer], budget: float, *, keeps_names: bool = False
    ) -> Rounding:
        """Return the fewest bits for small tensors that hardly count beside the loss allowed.

        Args:
            layers: small tensors, among the `others` of this prober.
            budget: relative error of the output that a plan may have.
            keeps_names: see `rounding.n_saved_bytes`.
        """
        for rate in RATES:
            rounding = Rounding(tuple(layers), rate)
            if n_saved_bytes(layers, rate, keeps_names=keeps_names) <= 0:
                break
            error = self._effect(rounding, self.subject.probes)
            if error <= _ROUNDING_SHARE * budget:
                return replace(rounding, error=error)
        return Rounding()

    def plan_for(self, ladders: Ladders, budget: float) -> Plan:
        """Return the cheapest plan for a budget, with every layer measured about where it is used."""
        plan = choose(ladders, self.sensitivities, budget)
        for _ in range(_MAX_REMEASURINGS):
            found = doubtful(plan, self.sensitivities)
            found = {name: c for name, c in found.items() if name not in self._unseen}
            if not found:
                break
            for name, loss in self._measure(found):
                known, error = self.sensitivities[name], found[name].error
                self.sensitivities[name] = known.with_point(error, loss / error or known.at(error))
            plan = choose(ladders, self.sensitivities, budget)
        return plan

    def _part_error(self, candidates: Collection[Candidate]) -> float:
        """Return the relative error of the outputs with some layers as planned, all others exact."""
        return self._effect(candidates, self.subject.wide_probes)

    def _measure(self, candidates: Mapping[str, Candidate]) -> Iterator[tuple[str, float]]:
        """Yield what single layers lose with all others exact, by name, in any order."""
        for name in self._staged.order(candidates):
            run = partial(self._probe, candidates[name])
            yield name, self._results.sensitivity([candidates[name]], self.subject.probes, run)
        self._staged.close()

    def _probe(self, candidate: Candidate) -> float:
        return self._staged.probe(candidate.layer.name, self._restorer.restore(candidate))

    @cached_property
    def _staged(self) -> StagedProbes:
        made, on = self._proposal, self.subject
        return StagedProbes(made.model, made.layers, on.probes, lambda: self.trials, on.custom_ops)

    def _effect(self, changed: Collection[Candidate] | Rounding, probes: Sequence[Probe]) -> float:
        """Return the relative error of the outputs of a few runs where some weights are changed."""

        def run() -> float:
            if isinstance(changed, Rounding):
                weights = rounded(changed, {layer.name: layer.weight for layer in changed.layers})
            else:
                weights = self._restorer.restore_all(changed)
            return self.trials.probe(weights, probes)

        return self._results.sensitivity(changed, probes, run)
