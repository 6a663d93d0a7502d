"""Looks up what was measured of a model with other weights, by all that it follows from.

A weight that a plan stores is told by its candidate - the layer, the pass, its settings, the codec - so
that nothing has to be encoded to find out that it was measured before; one that was fitted again, by its
payload.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from onnxzip.disk.cache.cache import Cache
from onnxzip.disk.cache.kinds import REACHED, REFITS, SENSITIVITIES, TRIALS, Fitted
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.aim import Outcome
from onnxzip.measure.metric import SumMetric
from onnxzip.measure.probe import Probe
from onnxzip.measure.subject import Subject
from onnxzip.propose.proposal import Proposal
from onnxzip.records.plan import Candidate, Plan, Rounding


class Results:
    """What is kept of the plans of one model.

    Args:
        cache: where.
        proposal: the model and its layers.
        others: initializers that plans may change besides the layers.
    """

    def __init__(self, cache: Cache, proposal: Proposal, others: Collection[str] = ()) -> None:
        """See the class."""
        self._cache, self._proposal, self._others = cache, proposal, sorted(others)

    def sensitivity(
        self,
        changed: Collection[Candidate] | Rounding,
        probes: Sequence[Probe],
        measure: Callable[[], float],
    ) -> float:
        """Return what some weights, or rounded small tensors, do to the outputs of a few runs."""

        def parts() -> Sequence[object]:
            what = _rounded(changed) if isinstance(changed, Rounding) else self._stored(changed)
            return (*self._model, what, *map(self._cache.digest, probes))

        return self._cache.recall(SENSITIVITIES, parts, measure)

    def reached_by_none(
        self, names: Collection[str], probes: Sequence[Probe], look: Callable[[], list[str]]
    ) -> list[str]:
        """Return which of some weights no input reaches."""
        if not names:
            return look()
        return self._cache.recall(
            REACHED, lambda: (*self._model, sorted(names), *map(self._cache.digest, probes)), look
        )

    def outcome(
        self, plan: Plan, subject: Subject, floor: float, measure: Callable[[], Outcome]
    ) -> Outcome:
        """Return what a plan comes to.

        What a function of the user's says is not kept: nobody knows what it follows from.

        Args:
            plan: the plan.
            subject: what it is measured on.
            floor: see `Aim.floor`.
            measure: runs the whole model.
        """
        samples = (*subject.searched, *subject.fitted)
        if not all(isinstance(sample.metric, SumMetric) for sample in samples):
            return measure()

        def parts() -> Sequence[object]:
            on = [(self._cache.digest(s.feeds), self._cache.digest(s.metric)) for s in samples]
            return (self._cache.origin, *self._model, self._plan(plan), floor, len(subject.fitted), on)

        def make() -> tuple[float, float, bool]:
            found = measure()
            return found.value, found.loss, found.passed

        return Outcome(*self._cache.recall(TRIALS, parts, make))

    def refit(self, plan: Plan, feeds: FeedSet, fit: Callable[[], Plan]) -> Plan:
        """Return a plan whose weights are fitted again to what they meet in these runs."""
        layers, keep = self._proposal.layers, self._proposal.keep

        def parts() -> Sequence[object]:
            of_layers = [self._cache.digest(layer) for layer in layers]
            return (*self._model, keep, of_layers, self._cache.digest(feeds), self._plan(plan))

        def make() -> Fitted:
            made = fit()
            candidates = {n: c for n, c in made.chosen.items() if c is not plan.chosen[n]}
            constants = {n: a for n, a in made.constants.items() if a is not plan.constants.get(n)}
            return candidates, constants

        found, constants = self._cache.recall(REFITS, parts, make)
        fitted = {name: replace(c, layer=plan.chosen[name].layer) for name, c in found.items()}
        return replace(plan, chosen={**plan.chosen, **fitted}, constants={**plan.constants, **constants})

    @property
    def _model(self) -> Sequence[object]:
        """What sessions are made of: the model, and what of it may be replaced."""
        names = [layer.name for layer in self._proposal.layers]
        return self._proposal.model_digest, names, self._others

    def _plan(self, plan: Plan) -> Sequence[object]:
        return self._stored(plan.chosen.values()), plan.constants, _rounded(plan.rounding)

    def _stored(self, candidates: Iterable[Candidate]) -> list[object]:
        return [self._candidate(candidate) for candidate in candidates]

    def _candidate(self, candidate: Candidate) -> Sequence[object]:
        proposal, encoded = self._proposal, candidate.encoded
        method, codec = proposal.passes[candidate.pass_name], proposal.codecs[candidate.layer.name]
        payload = None if encoded is None else self._cache.digest(encoded)
        return self._cache.digest(candidate.layer), method, candidate.settings, codec, payload


def _rounded(rounding: Rounding) -> Sequence[object]:
    """Return which small tensors are rounded, and how far; their values are the model's."""
    return rounding.rate, [layer.name for layer in rounding.layers]
