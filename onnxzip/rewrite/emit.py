"""Writes a plan into the graph: the chosen candidates' decoders, names, and the mark."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from onnxzip.disk.own_copy import settle
from onnxzip.graph import (
    STEPS,
    UNKNOWN_ORIGIN,
    EmitStored,
    GraphBuilder,
    Judgement,
    Model,
    Origin,
    RoundedValues,
    decoder_bytes,
    shorten_names,
    with_constants,
    write_mark,
)
from onnxzip.passbase import Pass
from onnxzip.records.aliases import Array
from onnxzip.records.payload import IntegerGrid
from onnxzip.records.plan import Plan
from onnxzip.records.shares import apportion
from onnxzip.rewrite.landed import (
    N_BITS,
    Landed,
    StoredBiases,
    emit_biases,
    emit_steps,
    stored_biases,
    stored_steps,
)
from onnxzip.rewrite.prepare import with_hoisted_weights
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import emit_rounded, settled

_log = logging.getLogger(__name__)

Land: TypeAlias = Callable[[Model, Callable[[str], Array | None]], Landed]
"""Returns a model whose nodes read weights in the form in which they run (`accelerate`), from one with
float weights and what returns a plan's values of a weight by name, None for one that it leaves alone."""


@dataclass(frozen=True, eq=False)
class Emitted:
    """A compressed model.

    Attributes:
        model: decode nodes first, then the user's graph.
        n_nodes: number of decode nodes.
        homes: name of each planned layer's weight in the main graph, by layer name.
        sizes: the bytes of the file that decode each planned layer, by layer name.
        n_rest_bytes: the bytes of the file that decode the small tensors.
        copies: bytes of the initializers that only pass through an Identity, by name in the model.
        steps: bytes of decoded steps of integers, likewise.
        grids: what weights that are decoded to integers land on, by layer name.
        biases: the biases that are decoded to integers, by name in the model.
    """

    model: Model
    n_nodes: int
    homes: Mapping[str, str]
    sizes: Mapping[str, int]
    n_rest_bytes: int
    copies: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    grids: Mapping[str, IntegerGrid] = field(default_factory=dict)
    biases: Mapping[str, Array] = field(default_factory=dict)

    def small(self, plan: Plan) -> set[str]:
        """Return the names of the decoded values that are small tensors."""
        return {self.homes[layer.name] for layer in plan.rounding.layers} | set(self.biases)

    def n_small_bytes(self, plan: Plan) -> tuple[int, int]:
        """Return what small tensors take as they were, and in the file."""
        arrays = [*(layer.weight for layer in plan.rounding.layers), *self.biases.values()]
        return sum(array.nbytes for array in arrays), self.n_rest_bytes


@dataclass(frozen=True, eq=False)
class Emitter:
    """Writes plans into a model.

    Attributes:
        model: the model after structural passes.
        passes: those that made the candidates, by name.
        restorer: encodes the candidates.
        emit_stored: emits the decoders of all coefficients and integers.
        keeps_names: whether internal names stay.
        judged: what the file is judged by; None for the defaults.
        made_from: the original, and what is not proven.
        land: returns the model that weights are emitted into, knowing what each planned one is.
    """

    model: Model
    passes: Mapping[str, Pass]
    restorer: Restorer
    emit_stored: EmitStored
    keeps_names: bool
    judged: Judgement | None = None
    made_from: Origin = UNKNOWN_ORIGIN
    land: Land = lambda model, weights: Landed(model)

    def settled(self, plan: Plan) -> Model:
        """Return the model that the plan is emitted into, its small tensors decoded."""
        landed = self._landed(with_constants(self.model, settled(plan)), plan)
        return with_constants(landed.model, stored_biases(landed).values())

    def _landed(self, model: Model, plan: Plan) -> Landed:
        return self.land(model, lambda name: self._restored(plan, name))

    def _restored(self, plan: Plan, name: str) -> Array | None:
        candidate = plan.chosen.get(name)
        return None if candidate is None else self.restorer.restore(candidate)

    def emit(self, plan: Plan) -> Emitted:
        """Return a copy of the model with every chosen candidate's graph in it, and the mark.

        A file in which nothing is decoded has no mark: it is a plain model.
        """
        landed = self._landed(with_constants(self.model, plan.constants), plan)
        changed, biases = landed.model.copy(), stored_biases(landed)
        layers = [candidate.layer for candidate in plan.chosen.values()]
        builder = GraphBuilder(changed, layers, self.emit_stored, plan.rounding.layers, landed.grids)
        steps = stored_steps(landed)
        emit_steps(steps, builder)
        for candidate in plan.chosen.values():
            self.passes[candidate.pass_name].emit(self.restorer.encode(candidate), builder)
        if plan.rounding.layers:
            emit_rounded(plan.rounding, plan.constants, builder)
        emit_biases(biases, builder)
        n_nodes = builder.finish()
        settle(changed.arrays)
        names = {} if self.keeps_names else shorten_names(changed, n_nodes)
        homes = {layer: names.get(home, home) for layer, home in builder.homes.items()}
        copies = {names.get(home, home): n_bytes for home, n_bytes in builder.copies.items()}
        n_step_bytes = {names.get(name, name): array.nbytes for name, array in steps.items()}
        n_decoder_bytes = decoder_bytes(changed, n_nodes) - sum(copies.values())
        n_decoder_bytes -= sum(n_step_bytes.values())
        sizes, n_rest_bytes = self._sizes(plan, biases, n_decoder_bytes)
        decoded = {names.get(name, name): array for name, array in biases.values().items()}
        parts = (homes, sizes, n_rest_bytes, copies, n_step_bytes, landed.grids, decoded)
        emitted = Emitted(changed, n_nodes, *parts)
        _log.info("emitted: %d nodes decode %d weights", n_nodes, len(plan.chosen))
        n_bits = max(plan.rounding.n_bits if plan.rounding.layers else 0, N_BITS if decoded else 0)
        small = RoundedValues(len(emitted.small(plan)), n_bits)
        if n_nodes:
            write_mark(changed, n_nodes, _origin(emitted, plan), small, self.judged, self.made_from)
        return emitted

    def _sizes(self, plan: Plan, biases: StoredBiases, n_bytes: int) -> tuple[dict[str, int], int]:
        """Share the decoder's bytes out by what the payloads are estimated to take.

        Args:
            plan: what was emitted.
            biases: likewise.
            n_bytes: what its decoder takes.

        Returns:
            The share of each layer by name, and that of the small tensors; they sum up to `n_bytes`.
        """
        n_small_bytes = sum(la.weight.size for la in plan.rounding.layers) * plan.rounding.n_bits // 8
        n_small_bytes += biases.n_bytes
        prices = [self.restorer.n_payload_bytes(c) for c in plan.chosen.values()]
        *shares, small_share = apportion(n_bytes, [*prices, n_small_bytes])
        return dict(zip(plan.chosen, shares, strict=True)), small_share


def _origin(emitted: Emitted, plan: Plan) -> dict[str, tuple[str, int, float]]:
    """Return (pass name, bytes, error) of the decoded values that are not small tensors."""
    homes, sizes = emitted.homes, emitted.sizes
    origin = {homes[name]: (c.pass_name, sizes[name], c.error) for name, c in plan.chosen.items()}
    origin |= {name: ("lossless", n_bytes, 0.0) for name, n_bytes in emitted.copies.items()}
    return origin | {name: (STEPS, n_bytes, 0.0) for name, n_bytes in emitted.steps.items()}


def plain_reference(
    model: Model, emitted: Emitted, plan: Plan, decoded: Mapping[str, Array]
) -> tuple[Model, dict[str, str]]:
    """Return the model that `emitted` has to equal: the original graph with the decoded weights.

    Returns:
        The model, and what those of its initializers are called that `emitted` decodes, by the names
        that they have there.
    """
    weights = {name: decoded[emitted.homes[name]] for name in plan.chosen}
    landed = {name: weights.pop(name) for name in emitted.grids if name in weights}
    layers = [c.layer for name, c in plan.chosen.items() if name in weights]
    reference, homes = with_hoisted_weights(with_constants(model, landed), layers, weights)
    stored = {emitted.homes[name]: homes[name] for name in weights}
    names = (*landed, *(layer.name for layer in plan.rounding.layers))
    stored |= {emitted.homes.get(name, name): name for name in names}
    return reference, stored
