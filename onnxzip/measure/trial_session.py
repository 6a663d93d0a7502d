"""Measures what other weights do to a model's outputs, without making a session for each trial.

The weights of one session become optional inputs (overridable initializers), so that a trial is a
run with other arrays. Where a model cannot be loaded that way, each trial gets a session of its own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import Model, loadable, release_pages, with_constants
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metric import SumMetric, measure_each
from onnxzip.measure.probe import Probe
from onnxzip.measure.subject import Sample
from onnxzip.records.aliases import Array, Feeds
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.layer import Layer
from onnxzip.rewrite.prepare import with_overridable_weights, with_weights
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.own_fault import own_fault
from onnxzip.runtime.session import Session, open_session

NUMPY_FLOATS = ("float16", "float32", "float64")
"""Types of weights that can be fed: onnxruntime's Python takes no array of bfloat16 or a float8."""


class TrialSession:
    """Runs a model with some of its weights replaced.

    Args:
        model: the (folded) model.
        layers: the layers whose weights may be replaced; integer ones are coded without loss, and
            therefore left as they are.
        example: inputs of one run, to see whether the model runs that way.
        custom_ops: shared library of custom operators to register.
        others: initializers of the main graph that may be replaced too.
    """

    def __init__(
        self,
        model: Model,
        layers: Sequence[Layer],
        example: Feeds,
        custom_ops: Path | None = None,
        others: Collection[str] = (),
    ) -> None:
        """Open the session; see the class."""
        self._model = model
        self._layers = [layer for layer in layers if not is_exact(layer.weight.dtype)]
        self._others = frozenset(others) - {layer.name for layer in layers}
        self._names = {layer.name for layer in self._layers} | self._others
        self._custom_ops = custom_ops
        self._homes: dict[str, str] = {}
        self._own_probes: dict[Probe, Probe] = {}
        self._session = self._open_overridable(example)

    def losses(
        self, weights: Mapping[str, Array], sample: Sample, guide: SumMetric | None = None
    ) -> tuple[float, float]:
        """Return the losses in the user's metric and in its guide with other weights.

        Args:
            weights: by layer or initializer name.
            sample: what to run on.
            guide: None where the metric guides itself, and both losses are the same.

        Returns:
            The worst there are where the model fails with these weights.
        """
        runs, sizes = self._runs(weights, sample.feeds), sample.feeds.sizes
        metric = sample.metric
        try:
            if guide is None or not isinstance(metric, SumMetric):
                loss = metric.measure(sample.reference, runs, sizes).value
                return loss, loss
            own, guiding = measure_each([metric, guide], sample.reference, runs, sizes)
        except _TrialError:
            return -math.inf if metric.higher_is_better else math.inf, math.inf
        return own.value, guiding.value

    def probe(self, weights: Mapping[str, Array], probes: Sequence[Probe]) -> float:
        """Return the worst output's nrmse with other weights, on a few runs of each family.

        What counts is the difference from this session's own answers without other weights: those of
        the original differ by float32's noise, which would be taken for the effect of a weight that no
        input reaches. It is infinite where the model fails with the weights.
        """
        try:
            return max(self.own(probe).loss(self._runs(weights, probe.feeds)) for probe in probes)
        except _TrialError:
            return math.inf

    def own(self, probe: Probe) -> Probe:
        """Return a probe that compares with what this session answers without other weights."""
        if probe not in self._own_probes:
            reference = tuple(self._runs({}, probe.feeds))
            self._own_probes[probe] = replace(probe, reference=reference)
        return self._own_probes[probe]

    def close(self) -> None:
        """Free the session's memory."""
        if self._session is not None:
            self._session.close()

    def _open_overridable(self, example: Feeds) -> Session | None:
        if any(layer.weight.dtype.name not in NUMPY_FLOATS for layer in self._layers):
            return None
        changed, self._homes = with_overridable_weights(self._model, self._layers, self._others)
        try:
            session = open_session(loadable(changed), custom_ops=self._custom_ops)
            release_pages(self._model.arrays.values())
            session.run(example)
        except (ModelError, ProviderError):
            return None
        return session

    def _runs(self, weights: Mapping[str, Array], feeds: FeedSet) -> Iterator[Outputs]:
        weights = {name: array for name, array in weights.items() if name in self._names}
        session = self._session
        if session is not None:
            fed = {self._homes[name]: array for name, array in weights.items()}
            yield from feeds.answers(lambda run: _tried(session, {**run, **fed}))
            return
        others = {name: array for name, array in weights.items() if name in self._others}
        planned = {name: array for name, array in weights.items() if name not in others}
        changed = with_weights(with_constants(self._model, others), self._layers, planned)
        with own_fault(self._model.source):
            own = open_session(loadable(changed), custom_ops=self._custom_ops)
        with own:
            yield from feeds.answers(lambda run: _tried(own, run))


class _TrialError(Exception):
    """The model runs as it is, and fails with other weights: a few of them decide indices or sizes."""


def _tried(session: Session, feeds: Feeds) -> Outputs:
    try:
        return session.run(feeds)
    except (ModelError, CalibrationError) as error:
        raise _TrialError from error
