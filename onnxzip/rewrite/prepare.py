"""Changes of the model before anything is emitted: structural passes, other values for weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from onnxzip.disk.own_copy import settle
from onnxzip.graph import GraphEditor, Model, detach, hoist_weights, make_overridable, prune
from onnxzip.passbase import GraphPass
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Rewrite, Skip


def fold_structure(
    model: Model, passes: Sequence[GraphPass], is_kept: Callable[[str], bool] = lambda name: False
) -> tuple[Model, list[Rewrite], list[Skip]]:
    """Run the structural passes on a copy; return it with what they did and what they refused.

    Args:
        model: the model.
        passes: in this order.
        is_kept: whether a weight, by name, has to stay as it is.

    Raises:
        ModelError: the graph has a cycle, or a weight holds NaN or Inf.
    """
    folded = model.copy()
    rewrites: list[Rewrite] = []
    skips: list[Skip] = []
    for graph_pass in passes:
        editor = GraphEditor(folded, is_kept)
        for record in graph_pass.rewrite(editor):
            (rewrites if isinstance(record, Rewrite) else skips).append(record)  # type: ignore[arg-type]
        editor.commit()
        prune(folded)
    settle(folded.arrays)
    return folded, rewrites, skips


def with_weights(model: Model, layers: Sequence[Layer], weights: Mapping[str, Array]) -> Model:
    """Return the model with other values for some weights, by layer name."""
    return with_hoisted_weights(model, layers, weights)[0]


def with_hoisted_weights(
    model: Model, layers: Sequence[Layer], weights: Mapping[str, Array]
) -> tuple[Model, dict[str, str]]:
    """Return the model with other values for some weights, and their names in it by layer name."""
    changed = model.copy()
    homes = hoist_weights(changed, {layer.name for layer in layers})
    tensors = {tensor.name: tensor for tensor in changed.proto.graph.initializer}
    for name, array in weights.items():
        detach(changed, tensors[homes[name]], array)
    return changed, homes


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
    homes = hoist_weights(changed, {layer.name for layer in layers})
    homes.update({name: name for name in others})
    make_overridable(changed, homes)
    return changed, homes
