"""What chains lose: each alone, and several together, of what the whole model answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType

from onnxzip.graph import Model
from onnxzip.measure.aim import UNBOUNDED, Aim
from onnxzip.measure.metrics.nrmse import Nrmse
from onnxzip.measure.subject import Subject
from onnxzip.measure.trial_session import TrialSession
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.transforms.chains import Chain
from onnxzip.transforms.factorisation import product


class Judge:
    """Runs a model with the weights that chains amount to; a chain answers as one such weight.

    Where the user allows any loss, as with a size to be met, or counts events without a guide, it is the
    nrmse of a few runs that is held to what is allowed by default.

    Args:
        model: the model.
        layers: those that may become chains.
        subject: its inputs and metric.

    Attributes:
        tolerance: the loss that the whole compression may have; 0 where it may have none.
    """

    def __init__(self, model: Model, layers: Sequence[Layer], subject: Subject) -> None:
        """Open a session; see the class."""
        self._subject, self._aim = subject, Aim(subject)
        self._layers = {layer.name: layer for layer in layers}
        example = subject.fitted_feeds.feeds[0]
        self._trials = TrialSession(model, layers, example, subject.custom_ops)
        known, limit = self._aim.tolerance, subject.metric.limit
        self._is_aimed = known is not None and known < UNBOUNDED
        if self._is_aimed and known is not None:
            self.tolerance = known
        else:
            is_exact = math.isfinite(limit) and limit <= 0 and not subject.metric.higher_is_better
            self.tolerance = 0.0 if is_exact else Nrmse.default_limit

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trials.close()

    def alone(self, chain: Chain) -> float:
        """Return the nrmse of a few runs with one chain; infinite where the model fails with it."""
        loss = self._trials.probe(self._weights([chain]), self._subject.probes)
        return loss if math.isfinite(loss) else math.inf

    def together(self, chains: Sequence[Chain]) -> float:
        """Return the loss with several chains, to be compared with `tolerance`."""
        weights = self._weights(chains)
        if not self._is_aimed:
            return self._trials.probe(weights, self._subject.wide_probes)
        loss = self._aim.outcome(self._trials, weights).loss
        return loss if math.isfinite(loss) else math.inf

    def _weights(self, chains: Sequence[Chain]) -> Mapping[str, Array]:
        layers = self._layers
        return {c.layer.name: layers[c.layer.name].from_canonical(product(c.factors)) for c in chains}
