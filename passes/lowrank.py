"""Low-rank factorisation: two or three thin factors whose product is the weight.

Stored form: the factors are multiplied by MatMul when the session is created. With input statistics they
are those of the layer's outputs, and rounded with error feedback (_projected.py). Computed form: the
node becomes a chain of thinner nodes. Formulas and sources: onnxzip/transforms/lowrank.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec, Pass, relative_error
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms import lowrank

from . import _factors, _projected
from .keep import example_layers
from .scalar import payload, refusal_of_transforms

ENERGY_FRACTIONS = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.9995, 1.0)
"""Kept parts of the energy that ranks are tried at."""

MAX_ERROR = 0.6
"""Largest error expected of a proposal that is worth encoding."""

MIN_STEP = 0.97
"""Part of the error that a dearer proposal may leave, at most."""

FINEST_RUNG = 0.01
"""Error down to which the rungs of a ladder are spread evenly."""

N_SAMPLED_COMPONENTS = 16
"""Components quantised to predict a rate's error and bytes at every rank."""


LOWER_RATES = (0.125, 0.177, 0.25, 0.354, 0.5, 0.707)
"""Rates below the codec's lowest, in multiples of that, for few directions of a layer's outputs."""


@dataclass(frozen=True)
class LowRankPass(Pass):
    """Factorise matrices by SVD, kernels by channel SVD, Tucker-2 or spatial separation.

    Attributes:
        rungs: candidates offered per form, at most.
        max_side: largest shorter side of a matrix; its eigenvectors cost the cube of it.
    """

    name: ClassVar[str] = "lowrank"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    rungs: int = 8
    max_side: int = 4096

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer (method, rank, rate) along the curve of error over bytes (and operations), per form."""
        if (skip := refusal_of_transforms(layer, self.name)) is not None:
            yield skip
            return
        if not layer.weight.any():
            yield Skip(layer.name, self.name, f"all {layer.weight.size} elements are zero")
            return
        if "stored" in forms and _projected.can_project(layer):
            yield from self._project(layer, codec)
            forms = [form for form in forms if form != "stored"]
        if forms:
            yield from self._factorise(layer, codec, forms)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Factorise by the settings' method and rank and quantise the factors at their rate."""
        if settings.get("feedback", False):
            return _projected.Projection(layer).encode(float(settings["rate"]), codec)
        return _Factory(layer).encode(settings, codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the product of the factors."""
        if candidate.settings.get("feedback", False):
            return _projected.restore(candidate.layer, payload(candidate))
        return _factors.product(candidate.layer, candidate.settings, payload(candidate))

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the factors and their product, or a chain of nodes with one factor each."""
        if candidate.settings.get("feedback", False):
            _projected.emit(candidate.layer, payload(candidate), builder)
            return
        emit = _factors.emit_chain if candidate.form == "computed" else _factors.emit_product
        emit(candidate.layer, candidate.settings, payload(candidate).coefficients, builder)

    def _project(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate at which the factors hold fewer numbers than the weight."""
        projection, n_bytes = _projected.Projection(layer), 0
        lower = [f * codec.rates[0] for f in LOWER_RATES] if codec.is_continuous else []
        for rate in filter(projection.pays_at, [*lower, *codec.rates]):
            encoded = projection.encode(rate, codec)
            size = codec.n_bytes(encoded) + NODE_OVERHEAD_BYTES * _projected.N_NODES
            if n_bytes <= size < layer.weight.nbytes:
                n_bytes = size
                error = relative_error(layer.canonical(), _projected.restore(layer, encoded))
                settings = {"rate": float(rate), "feedback": True}
                yield Candidate(layer, self.name, settings, "stored", size, error, layer.macs, encoded)
        if not n_bytes:
            yield Skip(
                layer.name, self.name, "at no rate its factors hold fewer numbers than the weight"
            )

    def _factorise(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer what is best for the weight itself, whatever its inputs."""
        factory = _Factory(layer)
        able = [m for m in _factors.methods_for(layer) if _factors.shorter_side(layer, m) >= 2]
        methods = [m for m in able if _factors.shorter_side(layer, m) <= self.max_side]
        if not methods:
            yield Skip(layer.name, self.name, _refusal_of_matrices(layer, self.max_side))
            return
        proposals = factory.propose(methods, codec)
        for form in forms:
            if form == "computed" and (reason := _factors.reason_against(layer)):
                yield Skip(layer.name, self.name, reason)
                continue
            n_bytes = 0
            for proposal in _pick(layer, proposals, form, self.rungs):
                candidate = _candidate(factory, self.name, proposal.settings, form, codec)
                if n_bytes <= candidate.n_bytes < layer.weight.nbytes:
                    yield candidate
                    n_bytes = candidate.n_bytes
            if not n_bytes:
                yield Skip(layer.name, self.name, _refusal_of_prices(layer, proposals, form))


@dataclass(frozen=True)
class _Proposal:
    """Settings, and the bytes, error and multiply-accumulates expected of them."""

    settings: Mapping[str, Scalar]
    n_bytes: float
    error: float
    macs: int


@dataclass(frozen=True, eq=False)
class _Cost:
    """What a rate does to pairs of factors.

    Attributes:
        errors: squared relative error of the pair of vectors of every component, summed.
        n_fixed: bytes whatever the rank.
        n_bytes: bytes per component.
    """

    errors: NDArray[np.float64]
    n_fixed: float
    n_bytes: float


@dataclass(frozen=True, eq=False)
class _Factory:
    """Factorises one layer; keeps its decompositions, which every rank and rate shares."""

    layer: Layer
    _decompositions: dict[lowrank.Method, lowrank.Decomposition] = field(default_factory=dict)

    @cached_property
    def weight(self) -> NDArray[np.float32]:
        """The canonical weight."""
        return self.layer.canonical()

    def decompose(self, method: lowrank.Method) -> lowrank.Decomposition:
        """Return the decomposition of the weight as the method's matrices."""
        if method not in self._decompositions:
            self._decompositions[method] = lowrank.svd(lowrank.unfold(self.weight, method))
        return self._decompositions[method]

    def encode(self, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the factors, a segment per component."""
        factors = self._make_factors(settings)
        rate = float(settings["rate"])
        return Encoded({key: codec.quantize(factor, rate) for key, factor in factors.items()})

    def _make_factors(self, settings: Mapping[str, Scalar]) -> dict[str, NDArray[np.float32]]:
        rank = int(settings["rank"])
        if settings["method"] == "tucker":
            _, n_out, n_inner, _ = self.layer.sizes
            kernel = self.weight.reshape(n_out, n_inner, -1)
            tucker = lowrank.tucker2(kernel, rank, int(settings["rank_in"]))
            return {
                "core": tucker.core.reshape(rank, -1),
                "out_basis": np.ascontiguousarray(tucker.out_basis.T),
                "in_basis": np.ascontiguousarray(tucker.in_basis.T),
            }
        found = self.decompose(_factors.method_of(settings))
        left = np.ascontiguousarray(np.swapaxes(found.left[:, :, :rank], 1, 2))
        right = np.ascontiguousarray(found.right[:, :rank])
        return {
            "left": left.reshape(-1, left.shape[2]),
            "right": right.reshape(-1, right.shape[2]),
        }

    def propose(self, methods: Sequence[lowrank.Method], codec: Codec) -> list[_Proposal]:
        """Predict bytes and error of every method, rank and rate from a sample of components.

        Components are orthogonal, so their errors add: |W - W'|² ≈ Σ_(i>r) σ_i² + Σ_(i<=r) σ_i² e_i with
        e_i the squared relative error that a rate makes in the pair of vectors i.
        """
        proposals = []
        for method in methods:
            found = self.decompose(method)
            energy = np.square(found.singular).sum(0)
            ranks = {lowrank.rank_for_energy(found.singular, f) for f in ENERGY_FRACTIONS}
            for rate in codec.rates:
                cost = _sample_rate(found, float(rate), codec)
                for rank in sorted(ranks):
                    lost = energy[rank:].sum() + (energy * cost.errors)[:rank].sum()
                    settings = self._settings(method, rank, rate)
                    size = cost.n_fixed + cost.n_bytes * rank * len(found.left)
                    proposals.append(self._proposal(settings, size, lost / energy.sum()))
                if method == "out" and "in" in methods and self.layer.sizes[0] == 1:
                    proposals += self._propose_tucker(float(rate), cost)
        return proposals

    def _propose_tucker(self, rate: float, cost: _Cost) -> Iterator[_Proposal]:
        """Predict Tucker-2 from the spectra of both unfoldings, whose lost energies bound its own.

        `cost` is that of the pairs of factors of the out unfolding; Tucker-2 has three factors.
        """
        _, n_out, n_inner, spatial = self.layer.sizes
        n_taps = int(np.prod(spatial))
        n_coefficient_bytes = cost.n_bytes / (n_out + n_inner * n_taps)
        error = 1.5 * float(cost.errors.mean())
        seen = {(n_out, n_inner)}
        for fraction in ENERGY_FRACTIONS:
            ranks = []
            lost = 0.0
            for method in ("out", "in"):
                singular = self.decompose(method).singular
                ranks.append(lowrank.rank_for_energy(singular, (1 + fraction) / 2))
                energy = np.square(singular[0])
                lost += float(energy[ranks[-1] :].sum() / energy.sum())
            rank_out, rank_in = ranks
            rank_out = min(rank_out, rank_in * n_taps)
            rank_in = min(rank_in, rank_out * n_taps)
            if (rank_out, rank_in) in seen:
                continue
            seen.add((rank_out, rank_in))
            settings = {**self._settings("tucker", rank_out, rate), "rank_in": rank_in}
            size = rank_out * n_out + rank_in * n_inner + rank_out * rank_in * n_taps
            n_bytes = 1.5 * cost.n_fixed + n_coefficient_bytes * size
            yield self._proposal(settings, n_bytes, lost + error)

    def _settings(self, method: str, rank: int, rate: float) -> dict[str, Scalar]:
        return {"method": method, "rank": rank, "rate": float(rate)}

    def _proposal(
        self, settings: Mapping[str, Scalar], n_bytes: float, squared_error: float
    ) -> _Proposal:
        macs = _factors.count_macs(self.layer, settings)
        n_bytes += NODE_OVERHEAD_BYTES * _factors.count_nodes(self.layer, settings, "stored")
        return _Proposal(settings, n_bytes, float(np.sqrt(squared_error)), macs)


def _sample_rate(found: lowrank.Decomposition, rate: float, codec: Codec) -> _Cost:
    """Quantise some components at a rate and return what that costs."""
    n_components = found.singular.shape[1]
    sample = np.unique(np.linspace(0, n_components - 1, N_SAMPLED_COMPONENTS).astype(np.int64))
    pairs = (np.ascontiguousarray(found.left[0][:, sample].T), found.right[0][sample])
    coded = [codec.quantize(vectors, rate) for vectors in pairs]
    errors = np.zeros(len(sample))
    for vectors, coefficients in zip(pairs, coded, strict=True):
        noise = np.square(vectors - coefficients.values()).sum(1, dtype=np.float64)
        norm = np.square(vectors).sum(1, dtype=np.float64)
        errors += np.divide(noise, norm, out=np.zeros_like(norm), where=norm > 0)
    # two sizes tell a component's bytes from the fixed ones
    n_half = len(sample) // 2
    half = [codec.quantize(vectors[:n_half], rate) for vectors in pairs]
    sizes = [codec.n_bytes(Encoded(dict(zip("lr", x, strict=True)))) for x in (half, coded)]
    n_bytes = max((sizes[1] - sizes[0]) / (len(sample) - n_half), 1.0)
    n_fixed = max(sizes[1] - n_bytes * len(sample), 0.0)
    return _Cost(np.interp(np.arange(n_components), sample, errors), n_fixed, n_bytes)


def _pick(layer: Layer, proposals: Sequence[_Proposal], form: Form, n_rungs: int) -> list[_Proposal]:
    """Return at most `n_rungs` proposals along the curve of error over cost.

    The cost is the bytes, or in computed form, which is chosen for its speed but must be stored all the
    same, their product with the operations.
    """

    def cost(proposal: _Proposal) -> float:
        return proposal.n_bytes * (proposal.macs if form == "computed" else 1)

    frontier: list[_Proposal] = []
    for proposal in sorted(proposals, key=cost):
        useful = proposal.error <= MAX_ERROR and (form == "stored" or proposal.macs < (layer.macs or 0))
        if useful and (not frontier or proposal.error < MIN_STEP * frontier[-1].error):
            frontier.append(proposal)
    if not frontier:
        return []
    # the cheapest within each of several errors in equal ratios, and the most exact of all
    first, last = (max(frontier[i].error, FINEST_RUNG) for i in (0, -1))
    limits = np.geomspace(first, last, max(n_rungs - 1, 1)) * (1 + 1e-9)
    met = [next((p for p in frontier if p.error <= limit), frontier[-1]) for limit in limits]
    unique = {id(proposal): proposal for proposal in (*met, frontier[-1])}
    return sorted(unique.values(), key=lambda proposal: proposal.n_bytes)


def _candidate(
    factory: _Factory, name: str, settings: Mapping[str, Scalar], form: Form, codec: Codec
) -> Candidate:
    """Encode, price and measure one proposal."""
    layer = factory.layer
    encoded = factory.encode(settings, codec)
    error = relative_error(factory.weight, _factors.product(layer, settings, encoded))
    n_bytes = codec.n_bytes(encoded) + NODE_OVERHEAD_BYTES * _factors.count_nodes(layer, settings, form)
    macs = _factors.count_macs(layer, settings) if form == "computed" else layer.macs
    return Candidate(layer, name, dict(settings), form, n_bytes, error, macs, encoded)


def _refusal_of_matrices(layer: Layer, max_side: int) -> str:
    sides = [_factors.shorter_side(layer, m) for m in _factors.methods_for(layer)]
    return f"the shorter side of its matrices is {sides}; factorised are those from 2 to {max_side}"


def _refusal_of_prices(layer: Layer, proposals: Sequence[_Proposal], form: Form) -> str:
    if form == "computed" and all(p.macs >= (layer.macs or 0) for p in proposals):
        least = min(p.macs for p in proposals)
        return f"needs {least} multiply-accumulates at least, the node itself {layer.macs}"
    least_bytes = min(p.n_bytes for p in proposals)
    return f"about {least_bytes:.0f} bytes of factors and their nodes, the weight {layer.weight.nbytes}"
