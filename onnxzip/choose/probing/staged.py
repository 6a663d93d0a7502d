"""Probes single weights, running of the model only what lies behind them.

Values before a stage are the same whatever its weights become: they are computed once, handed on from
stage to stage for the few runs of the probes, and lie on disk where they are much. The weights of a
stage are optional inputs of its session; all others are constants, which kernels may pack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from onnxzip.choose.refitting.frontier import Frontier
from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import Model, Stage, StagedModel, loadable, release_pages
from onnxzip.measure.probe import Probe
from onnxzip.measure.trial_session import NUMPY_FLOATS, TrialSession
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session, open_session

_MOST_STAGES, _LEAST_WEIGHTS = 16, 3
"""Stages, and weights in each of them: a weight runs half a stage more than it needs, and each stage
opens two sessions, which takes a run or two of a small model. A guess that costs time."""

_LEAST_LOSS = 1e-4
"""Of outputs, what stages are trusted with: their kernels round other than those of the whole model,
which is 1e-7 to 1e-6 as a rule. What loses less is measured on the whole."""

_MOST_NOISE = 1e-5
"""Loss of the first stage with no weight changed: where kernels differ by more, it is no help."""


class StagedProbes:
    """Measures weights on the stages of a model.

    Args:
        model: the (folded) model.
        layers: all whose weights may be asked for.
        probes: what is run.
        trials: on the whole model.
        custom_ops: shared library of custom operators.
    """

    def __init__(
        self,
        model: Model,
        layers: Sequence[Layer],
        probes: Sequence[Probe],
        trials: Callable[[], TrialSession],
        custom_ops: Path | None,
    ) -> None:
        """Cut the model; nothing is run yet."""
        self._probes, self._trials, self._custom_ops = probes, trials, custom_ops
        self._staged: StagedModel | None = None
        self._run: _StageRun | None = None
        self._entered, self._frontiers = -1, list[Frontier]()
        self._is_checked, self._is_worth_it = False, True
        names = {la.name for la in layers if la.weight.dtype.name in NUMPY_FLOATS}
        n_stages = min(_MOST_STAGES, len(names) // _LEAST_WEIGHTS)
        if n_stages > 1 and not any(probe.feeds.carried for probe in probes):
            self._staged = StagedModel(model, names, n_stages)

    def order(self, names: Collection[str]) -> list[str]:
        """Return names of layers in the order in which to probe them, those of a stage together."""
        self._is_worth_it = len(names) >= _LEAST_WEIGHTS
        stages = {} if self._staged is None else self._staged.order
        return sorted(names, key=lambda name: stages.get(name, math.inf))

    def probe(self, name: str, weight: Array) -> float:
        """Return what a layer's weight loses by itself, as `TrialSession.probe` measures it."""
        if self._staged is not None and self._is_worth_it and name in self._staged.order:
            try:
                stage = self._enter(self._staged, self._staged.order[name])
                loss = stage.loss({stage.weights[name]: weight})
            except (ModelError, ProviderError, CalibrationError):
                self.close()
                self._staged = None  # what lies between its stages is no tensors, or opens no session
            else:
                if loss >= _LEAST_LOSS:
                    return loss
        return self._trials().probe({name: weight}, self._probes)

    def close(self) -> None:
        """Free the memory of the stage that was entered last."""
        if self._run is not None:
            self._run.close()
        self._run, self._entered, self._frontiers = None, -1, []

    def _enter(self, staged: StagedModel, i: int) -> _StageRun:
        """Return what runs a stage; the values before it follow from the last one that was entered.

        Raises:
            ModelError: a stage reads something that is no tensor, or does not load.
        """
        if self._run is not None and self._entered == i:
            return self._run
        own = [self._trials().own(probe) for probe in self._probes]
        if self._run is None or self._entered > i:
            start, self._frontiers = 0, [Frontier(probe.feeds) for probe in own]
        else:
            start = staged.stages[self._entered].start
        if self._run is not None:
            self._run.close()
        stage = staged.stages[i]
        self._advance(staged, start, stage, self._frontiers)
        session = self._open(staged, stage, self._frontiers)
        self._run, self._entered = _StageRun(session, stage, own, self._frontiers), i
        if not self._is_checked and self._run.loss({}) > _MOST_NOISE:
            raise ModelError("stages round other than the whole model")
        self._is_checked = True
        return self._run

    def _advance(
        self, staged: StagedModel, start: int, stage: Stage, frontiers: Sequence[Frontier]
    ) -> None:
        """Run the model with its own weights from a node to where a stage begins."""
        part, makes = staged.build_between(start, stage, _types(frontiers[0]))
        live = frozenset(stage.reads)
        fed = {v.name for v in part.proto.graph.input}
        with ExitStack() as opened:
            session = opened.enter_context(self._session(part)) if makes else None
            for frontier in frontiers:
                for i, values in enumerate(frontier):
                    feeds = {name: array for name, array in values.items() if name in fed}
                    made = {} if session is None else session.run(feeds, makes)
                    frontier.replace(i, made, live)

    def _open(self, staged: StagedModel, stage: Stage, frontiers: Sequence[Frontier]) -> Session:
        session = self._session(staged.build(stage, _types(frontiers[0])))
        release_pages(staged.model.arrays.values())
        return session

    def _session(self, part: Model) -> Session:
        return open_session(loadable(part), custom_ops=self._custom_ops)


class _StageRun:
    """Runs a stage on what comes before it."""

    def __init__(
        self, session: Session, stage: Stage, probes: Sequence[Probe], frontiers: Sequence[Frontier]
    ) -> None:
        self._session, self._stage = session, stage
        self._probes, self._frontiers = probes, frontiers
        self._inputs = {v.name for v in (*session.inputs, *session.optional_inputs)}
        self.close, self.weights = session.close, stage.weights

    def loss(self, weights: Mapping[str, Array]) -> float:
        """Return the worst output's nrmse with other weights, Inf where the model fails with them."""
        pairs = zip(self._probes, self._frontiers, strict=True)
        try:
            return max(probe.loss(self._runs(weights, probe, made)) for probe, made in pairs)
        except (ModelError, CalibrationError):
            if not weights:
                raise
            return math.inf

    def _runs(self, weights: Mapping[str, Array], probe: Probe, frontier: Frontier) -> Iterator[Outputs]:
        for before, values in zip(probe.reference, frontier, strict=True):
            feeds = {name: array for name, array in values.items() if name in self._inputs}
            made = self._session.run({**feeds, **weights}, self._stage.makes)
            yield {**before, **probe.feeds.asked(made)}


def _types(frontier: Frontier) -> dict[str, np.dtype[np.generic]]:
    """Return the element type of each value of a frontier."""
    return {name: array.dtype for name, array in frontier[0].items()}
