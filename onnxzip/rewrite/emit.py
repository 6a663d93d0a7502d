"""Writes a plan into the graph: the chosen candidates' decoders, names, and the mark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxzip.graph import (
    EmitStored,
    GraphBuilder,
    Judgement,
    Model,
    shorten_names,
    with_constants,
    with_plain_weights,
    write_mark,
)
from onnxzip.passbase import Pass
from onnxzip.records.aliases import Array
from onnxzip.records.plan import Plan
from onnxzip.rewrite.prepare import with_weights
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import emit_rounded, settled


@dataclass(frozen=True, eq=False)
class Emitted:
    """A compressed model.

    Attributes:
        model: decode nodes first, then the user's graph.
        n_nodes: number of decode nodes.
        homes: name of each planned layer's weight in the main graph, by layer name.
    """

    model: Model
    n_nodes: int
    homes: Mapping[str, str]


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
    """

    model: Model
    passes: Mapping[str, Pass]
    restorer: Restorer
    emit_stored: EmitStored
    keeps_names: bool
    judged: Judgement | None = None

    def settled(self, plan: Plan) -> Model:
        """Return the model with the values that the plan's small tensors decode to."""
        return with_constants(self.model, settled(plan))

    def emit(self, plan: Plan) -> Emitted:
        """Return a copy of the model with every chosen candidate's graph in it, and the mark."""
        changed = with_constants(self.model, plan.constants).copy()
        layers = [candidate.layer for candidate in plan.chosen.values()]
        builder = GraphBuilder(changed, layers, self.emit_stored, plan.rounding.layers)
        for candidate in plan.chosen.values():
            self.passes[candidate.pass_name].emit(self.restorer.encode(candidate), builder)
        if plan.rounding.layers:
            emit_rounded(plan.rounding, plan.constants, builder)
        n_nodes = builder.finish()
        homes = dict(builder.homes)
        if not self.keeps_names:
            names = shorten_names(changed, n_nodes)
            homes = {layer: names.get(home, home) for layer, home in homes.items()}
        origin = {
            homes[name]: (c.pass_name, c.form, c.n_bytes, c.error)
            for name, c in plan.chosen.items()
            if c.form == "stored"
        }
        rounded_names = {homes[layer.name]: plan.rounding.n_bits for layer in plan.rounding.layers}
        write_mark(changed, n_nodes, origin, rounded_names, self.judged)
        return Emitted(changed, n_nodes, homes)


def plain_reference(
    model: Model, emitted: Emitted, plan: Plan, decoded: Mapping[str, Array], restorer: Restorer
) -> Model:
    """Return the model that `emitted` has to equal: the original graph with the decoded weights.

    A computed form has no decoded weight; there numpy's `restore` gives the values.
    """
    weights = {
        name: decoded[emitted.homes[name]] if c.form == "stored" else restorer.restore(c)
        for name, c in plan.chosen.items()
    }
    return with_weights(model, [c.layer for c in plan.chosen.values()], weights)


def plain_emitted(emitted: Emitted, decoded: Mapping[str, Array]) -> Model:
    """Return the emitted model with its decode nodes replaced by their results."""
    return with_plain_weights(emitted.model, emitted.n_nodes, decoded)
