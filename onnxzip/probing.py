"""Measures how much each layer's error alone moves the output, at the errors that plans really use.

A layer is measured first with a small error. Large errors are not to small ones as they are in size: on
resnet44 a layer that is harmless at 0.05 costs more than all others together at 0.7. So each layer to
which a plan gives far more error than it was measured at is measured again, there, and the plan is made
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeAlias

from onnxzip import planner
from onnxzip.evaluation import Evaluator
from onnxzip.planner import Sensitivity
from onnxzip.proof import Subject
from onnxzip.proposal import Proposal
from onnxzip.rounding import RATES, n_saved_bytes, rounded
from onnxzip.surgery import Restorer
from onnxzip.types import Candidate, Layer, Plan, Rounding

ShowProgress: TypeAlias = Callable[[str, float], None]

_N_RUNS = 4
_ROUNDING_SHARE = 0.1
"""Errors add up in squares: what has a tenth of the loss allowed adds half a percent to it."""

_MAX_ROUNDS = 4


class Prober:
    """Holds the layers' sensitivities and adds to them as plans need it.

    Attributes:
        sensitivities: by layer name.
    """

    def __init__(
        self,
        proposal: Proposal,
        subject: Subject,
        restorer: Restorer,
        others: Collection[str] = (),
    ) -> None:
        """Open nothing yet; `others` are initializers that plans may change besides the layers."""
        self._others = others
        self.sensitivities: dict[str, Sensitivity] = {}
        self._unseen: set[str] = set()
        self._proposal = proposal
        self._subject = subject
        self._restorer = restorer
        self._evaluator: Evaluator | None = None

    @property
    def evaluator(self) -> Evaluator:
        """What plans are tried with; opened when it is needed, until `close`."""
        if self._evaluator is None:
            example = self._subject.sample.feeds.feeds[0]
            proposal = self._proposal
            self._evaluator = Evaluator(
                proposal.model, proposal.layers, example, self._subject.custom_ops, self._others
            )
        return self._evaluator

    def close(self) -> None:
        """Free the evaluator's memory."""
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None

    def probe_all(self, show: ShowProgress) -> list[str]:
        """Measure every layer with a small error; return the names of those that no feed reached."""
        probes = planner.probes(self._proposal.ladders)
        measured: dict[str, float] = {}
        for i, (name, candidate) in enumerate(probes.items()):
            show(f"sensitivity {i + 1} of {len(probes)}", 0.5 + 0.15 * i / len(probes))
            measured[name] = self._measure(candidate)
        filled, unseen = planner.fill_unseen(measured)
        self.sensitivities = {
            name: Sensitivity(((probes[name].error, filled[name]),))
            if name in probes
            else Sensitivity(((1.0, 1.0),))
            for name in self._proposal.ladders
        }
        self._unseen = set(unseen)
        return unseen

    def choose_rounding(
        self, layers: Sequence[Layer], budget: float, *, keeps_names: bool = False
    ) -> Rounding:
        """Return the fewest bits for small tensors that hardly count beside the loss allowed.

        Args:
            layers: small tensors, among the `others` of this prober.
            budget: relative error of the output that a plan may have.
            keeps_names: see `rounding.n_saved_bytes`.
        """
        originals = {layer.name: layer.weight for layer in layers}
        for rate in RATES:
            rounding = Rounding(tuple(layers), rate)
            if n_saved_bytes(layers, rate, keeps_names=keeps_names) <= 0:
                break
            error = self.evaluator.relative_error(
                rounded(rounding, originals), self._subject.fitted, _N_RUNS
            )
            if error <= _ROUNDING_SHARE * budget:
                return replace(rounding, error=error)
        return Rounding()

    def plan_for(self, ladders: planner.Ladders, budget: float, *, by_macs: bool) -> Plan:
        """Return the cheapest plan for a budget, with every layer measured about where it is used."""
        plan = planner.choose(ladders, self.sensitivities, budget, by_macs=by_macs)
        for _ in range(_MAX_ROUNDS):
            found = planner.doubtful(plan, self.sensitivities)
            found = {name: c for name, c in found.items() if name not in self._unseen}
            if not found:
                break
            for name, candidate in found.items():
                known = self.sensitivities[name]
                value = self._measure(candidate) or known.at(candidate.error)
                self.sensitivities[name] = known.with_point(candidate.error, value)
            plan = planner.choose(ladders, self.sensitivities, budget, by_macs=by_macs)
        return plan

    def _measure(self, candidate: Candidate) -> float:
        weights = {candidate.layer.name: self._restorer.restore(candidate)}
        error = self.evaluator.relative_error(weights, self._subject.fitted, _N_RUNS)
        return error / candidate.error
