"""What `lowrank` proposes: methods, ranks and rates, with the bytes and errors expected of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import NODE_OVERHEAD_BYTES, Codec
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.transforms import lowrank

from . import _lowrank_factors as _factors

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


@dataclass(frozen=True)
class Proposal:
    """Settings, and the bytes and the error expected of them."""

    settings: Mapping[str, Scalar]
    n_bytes: float
    error: float


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
class Factory:
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

    def propose(self, methods: Sequence[lowrank.Method], codec: Codec) -> list[Proposal]:
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

    def _propose_tucker(self, rate: float, cost: _Cost) -> Iterator[Proposal]:
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
    ) -> Proposal:
        n_bytes += NODE_OVERHEAD_BYTES * _factors.count_nodes(self.layer, settings)
        return Proposal(settings, n_bytes, float(np.sqrt(squared_error)))


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


def pick(proposals: Sequence[Proposal], n_rungs: int) -> list[Proposal]:
    """Return at most `n_rungs` proposals along the curve of error over bytes."""
    frontier: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda proposal: proposal.n_bytes):
        is_useful = proposal.error <= MAX_ERROR
        if is_useful and (not frontier or proposal.error < MIN_STEP * frontier[-1].error):
            frontier.append(proposal)
    if not frontier:
        return []
    # the cheapest within each of several errors in equal ratios, and the most exact of all
    first, last = (max(frontier[i].error, FINEST_RUNG) for i in (0, -1))
    limits = np.geomspace(first, last, max(n_rungs - 1, 1)) * (1 + 1e-9)
    met = [next((p for p in frontier if p.error <= limit), frontier[-1]) for limit in limits]
    unique = {id(proposal): proposal for proposal in (*met, frontier[-1])}
    return sorted(unique.values(), key=lambda proposal: proposal.n_bytes)
