"""Low-rank factorisation: two or three thin factors whose product is the weight.

The factors are multiplied by MatMul when the session is created. With input statistics they are those of
the layer's outputs, and rounded with error feedback (_lowrank_projected.py). Formulas and sources:
transforms/lowrank.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass, relative_error
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip

from . import _lowrank_projected as _projected
from ._examples import example_layers
from ._lowrank_factors import count_nodes, emit_product, methods_for, product, shorter_side
from ._lowrank_proposals import Factory, Proposal, pick
from ._shared import check_ranges, payload, price, rate_ladder, refusal_of_transforms, rising

LOWER_RATES = (0.125, 0.177, 0.25, 0.354, 0.5, 0.707)
"""Rates below the codec's lowest, in multiples of that, for few directions of a layer's outputs."""


@dataclass(frozen=True)
class LowRankPass(Pass):
    """Factorise matrices by SVD, kernels by channel SVD, Tucker-2 or spatial separation.

    Attributes:
        rungs: candidates offered for a weight whose inputs are not known, at most.
        max_side: largest shorter side of a matrix; its eigenvectors cost the cube of it.
    """

    name: ClassVar[str] = "lowrank"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    rungs: int = 8
    max_side: int = 4096

    def __post_init__(self) -> None:
        """Refuse a ladder without rungs, and sides that no matrix has."""
        check_ranges(rungs=(self.rungs, 1, 64), max_side=(self.max_side, 1, 65536))

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer (method, rank, rate) along the curve of error over bytes."""
        if (skip := refusal_of_transforms(layer, self.name)) is not None:
            yield skip
            return
        if not layer.weight.any():
            yield Skip(layer.name, self.name, f"all {layer.weight.size} elements are zero")
            return
        if _projected.can_project(layer):
            yield from self._project(layer, codec)
        else:
            yield from self._factorise(layer, codec)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Factorise by the settings' method and rank and quantise the factors at their rate."""
        if settings.get("feedback", False):
            return _projected.Projection(layer).encode(float(settings["rate"]), codec)
        return Factory(layer).encode(settings, codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the product of the factors."""
        if candidate.settings.get("feedback", False):
            return _projected.restore(candidate.layer, payload(candidate))
        return product(candidate.layer, candidate.settings, payload(candidate))

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the factors and their product."""
        if candidate.settings.get("feedback", False):
            _projected.emit(candidate.layer, payload(candidate), builder)
        else:
            coefficients = payload(candidate).coefficients
            emit_product(candidate.layer, candidate.settings, coefficients, builder)

    def _project(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate at which the factors hold fewer numbers than the weight."""
        projection, is_empty = _projected.Projection(layer), True
        lower = [f * codec.rates[0] for f in LOWER_RATES] if codec.is_continuous else []
        ladder = rate_ladder(
            layer,
            self.name,
            {"feedback": True},
            lambda rate: projection.encode(rate, codec),
            lambda encoded: _projected.restore(layer, encoded),
            codec=codec,
            n_nodes=_projected.N_NODES,
            rates=[rate for rate in (*lower, *codec.rates) if projection.pays_at(rate)],
        )
        for candidate in rising(ladder, layer.weight.nbytes):
            is_empty = False
            yield candidate
        if is_empty:
            yield Skip(
                layer.name, self.name, "at no rate its factors hold fewer numbers than the weight"
            )

    def _factorise(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer what is best for the weight itself, whatever its inputs."""
        factory = Factory(layer)
        able = [m for m in methods_for(layer) if shorter_side(layer, m) >= 2]
        methods = [m for m in able if shorter_side(layer, m) <= self.max_side]
        if not methods:
            yield Skip(layer.name, self.name, _refusal_of_matrices(layer, self.max_side))
            return
        proposals = factory.propose(methods, codec)
        picked = pick(proposals, self.rungs)
        ladder = (_candidate(factory, self.name, p.settings, codec) for p in picked)
        is_empty = True
        for candidate in rising(ladder, layer.weight.nbytes):
            is_empty = False
            yield candidate
        if is_empty:
            yield Skip(layer.name, self.name, _refusal_of_prices(layer, proposals))


def _candidate(factory: Factory, name: str, settings: Mapping[str, Scalar], codec: Codec) -> Candidate:
    """Encode, price and measure one proposal."""
    layer, encoded = factory.layer, factory.encode(settings, codec)
    return price(
        layer,
        name,
        settings,
        encoded,
        codec=codec,
        n_nodes=count_nodes(layer, settings),
        error=relative_error(factory.weight, product(layer, settings, encoded)),
    )


def _refusal_of_matrices(layer: Layer, max_side: int) -> str:
    sides = [shorter_side(layer, m) for m in methods_for(layer)]
    return f"the shorter side of its matrices is {sides}; factorised are those from 2 to {max_side}"


def _refusal_of_prices(layer: Layer, proposals: Sequence[Proposal]) -> str:
    least_bytes = min(p.n_bytes for p in proposals)
    return f"about {least_bytes:.0f} bytes of factors and their nodes, the weight {layer.weight.nbytes}"
