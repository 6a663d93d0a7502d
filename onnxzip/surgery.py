"""Changes a model as planned: structural passes first, then the chosen candidates' graphs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxzip.errors import VerificationError
from onnxzip.graph import (
    EmitStored,
    GraphBuilder,
    GraphEditor,
    Judgement,
    Model,
    decoded_names,
    detach,
    lift_weights,
    make_overridable,
    prune,
    shorten_names,
    stamp,
    with_plain_weights,
)
from onnxzip.passbase import Codec, GraphPass, Pass
from onnxzip.rounding import emit_rounded, settled
from onnxzip.types import Array, Candidate, Layer, Plan, Rewrite, Skip

_BLOCK = 1 << 20


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


class Restorer:
    """Encodes chosen candidates again and keeps the payloads of the latest plan.

    A plan differs from the next one that is tried in some layers only, so most payloads are reused.
    """

    def __init__(self, passes: Mapping[str, Pass], codecs: Mapping[str, Codec]) -> None:
        self._passes = passes
        self._codecs = codecs
        self._latest: dict[str, Candidate] = {}

    def encode(self, candidate: Candidate) -> Candidate:
        """Return the candidate with its payload."""
        known = self._latest.get(candidate.layer.name)
        if (
            candidate.encoded is None
            and known is not None
            and known.pass_name == candidate.pass_name
            and known.form == candidate.form
            and known.settings == candidate.settings
        ):
            return known
        encoded = candidate.encoded
        if encoded is None:
            method = self._passes[candidate.pass_name]
            encoded = method.encode(
                candidate.layer, candidate.settings, self._codecs[candidate.layer.name]
            )
        self._latest[candidate.layer.name] = replace(candidate, encoded=encoded)
        return self._latest[candidate.layer.name]

    def forget(self) -> None:
        """Drop all payloads."""
        self._latest.clear()

    def restore(self, candidate: Candidate) -> Array:
        """Return the weight the candidate stands for, in the weight's own shape, order and dtype."""
        values = self._passes[candidate.pass_name].restore(self.encode(candidate))
        return candidate.layer.from_canonical(values)


def fold_structure(model: Model, passes: Sequence[GraphPass]) -> tuple[Model, list[Rewrite], list[Skip]]:
    """Run the structural passes on a copy; return it with what they did and what they refused."""
    folded = model.copy()
    rewrites: list[Rewrite] = []
    skips: list[Skip] = []
    for graph_pass in passes:
        editor = GraphEditor(folded)
        for record in graph_pass.rewrite(editor):
            (rewrites if isinstance(record, Rewrite) else skips).append(record)  # type: ignore[arg-type]
        editor.commit()
        prune(folded)
    return folded, rewrites, skips


def with_weights(model: Model, layers: Sequence[Layer], weights: Mapping[str, Array]) -> Model:
    """Return the model with other values for some weights, by layer name."""
    changed = model.copy()
    homes = lift_weights(changed, {layer.name for layer in layers})
    tensors = {tensor.name: tensor for tensor in changed.proto.graph.initializer}
    for name, array in weights.items():
        detach(changed, tensors[homes[name]], array)
    return changed


def with_overridable_weights(
    model: Model, layers: Sequence[Layer], others: Collection[str] = ()
) -> tuple[Model, dict[str, str]]:
    """Return the model with the layers' weights as optional inputs, and what each is called.

    Args:
        model: the model.
        layers: what may change.
        others: initializers of the main graph that may change too.
    """
    changed = model.copy()
    homes = lift_weights(changed, {layer.name for layer in layers})
    homes.update({name: name for name in others})
    make_overridable(changed, homes)
    return changed, homes


def emit_plan(
    model: Model,
    plan: Plan,
    passes: Mapping[str, Pass],
    restorer: Restorer,
    emit_stored: EmitStored,
    *,
    keeps_names: bool,
    judged: Judgement | None = None,
) -> Emitted:
    """Return a copy of the model with every chosen candidate's graph in it, and the mark."""
    changed = model.copy()
    layers = [candidate.layer for candidate in plan.chosen.values()]
    builder = GraphBuilder(changed, layers, emit_stored, plan.rounding.layers)
    for candidate in plan.chosen.values():
        passes[candidate.pass_name].emit(restorer.encode(candidate), builder)
    if plan.rounding.layers:
        emit_rounded(plan.rounding, plan.constants, builder)
    n_nodes = builder.finish()
    homes = dict(builder.homes)
    if not keeps_names:
        names = shorten_names(changed, n_nodes)
        homes = {layer: names.get(home, home) for layer, home in homes.items()}
    origin = {
        homes[name]: (c.pass_name, c.form, c.n_bytes, c.error)
        for name, c in plan.chosen.items()
        if c.form == "stored"
    }
    rounded_names = {homes[layer.name]: plan.rounding.n_bits for layer in plan.rounding.layers}
    stamp(changed, n_nodes, origin, rounded_names, judged)
    return Emitted(changed, n_nodes, homes)


def check_decoded(
    emitted: Emitted, plan: Plan, decoded: Mapping[str, Array], restorer: Restorer
) -> float:
    """Compare what the runtime decodes with what numpy restores; return the worst deviation.

    Args:
        emitted: the compressed model.
        plan: what it was made from.
        decoded: the decoded values by name, from a session of `graph.decoder`.
        restorer: restores the candidates with numpy.

    Returns:
        max |decoded - restored| / max |restored| over the stored weights.

    Raises:
        VerificationError: a planned weight is not decoded at all, or has the wrong shape or type.
    """
    names = set(decoded_names(emitted.model, emitted.n_nodes))
    worst = 0.0
    for name, candidate in plan.chosen.items():
        if candidate.form != "stored":
            continue
        home = emitted.homes[name]
        restored = restorer.restore(candidate)
        if home not in names or decoded[home].shape != restored.shape:
            raise VerificationError(f"weight '{name}': the emitted graph does not decode it")
        worst = max(worst, _max_deviation(restored, decoded[home]))
    constants = settled(plan)
    for layer in plan.rounding.layers:
        worst = max(worst, _max_deviation(constants[layer.name], decoded[emitted.homes[layer.name]]))
    return worst


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


def _max_deviation(expected: Array, actual: Array) -> float:
    """Return max |expected - actual| / max |expected|, in blocks: a layer may be half of the model."""
    if expected.dtype.kind in "iub":
        return 0.0 if np.array_equal(expected, actual) else np.inf
    largest = difference = 0.0
    wanted, found = expected.reshape(-1), actual.reshape(-1)
    for i in range(0, wanted.size, _BLOCK):
        a = wanted[i : i + _BLOCK].astype(np.float32)
        b = found[i : i + _BLOCK].astype(np.float32)
        largest = max(largest, float(np.abs(a).max()))
        difference = max(difference, float(np.abs(a - b).max()))
    return difference / largest if largest > 0 else difference
