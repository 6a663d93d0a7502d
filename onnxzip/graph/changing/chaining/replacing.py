"""Puts chains of thinner nodes in the place of the nodes that read some weights."""

from __future__ import annotations

from collections.abc import Sequence

from onnxzip.graph.changing.chaining.sites import reads_weight, weight_index
from onnxzip.graph.changing.editor import GraphEditor
from onnxzip.graph.changing.prune import prune
from onnxzip.graph.reading.model import Model
from onnxzip.passbase import NodeView
from onnxzip.transforms.chains import Chain


def with_chains(model: Model, chains: Sequence[Chain]) -> Model:
    """Return a copy of the model in which chains stand for all nodes that read their layers' weights.

    The last node of a chain makes the value that the node made, and adds the bias that it added.
    """
    changed = model.copy()
    editor = GraphEditor(changed)
    weights = {
        chain.layer.name: [
            editor.add_constant(weight, f"{chain.layer.name}_{key}") for key, weight, _ in chain.links()
        ]
        for chain in chains
    }
    for node in editor.nodes():
        for chain in chains:
            if reads_weight(node, chain.layer):
                _replace(editor, node, chain, weights[chain.layer.name])
    editor.commit()
    prune(changed)
    return changed


def _replace(editor: GraphEditor, node: NodeView, chain: Chain, weights: Sequence[str]) -> None:
    index = weight_index(chain.layer)
    value, output = node.inputs[1 - index], node.outputs[0]
    editor.remove(node)
    for weight, (_, _, attributes) in zip(weights, chain.links(), strict=True):
        is_last = weight is weights[-1]
        operands = [value, weight] if index == 1 else [weight, value]
        operands += node.inputs[2:] if is_last else ()
        value = editor.add_node(node.op_type, operands, output, attributes)
    (last,) = (view for view in editor.nodes() if view.outputs == (value,))
    editor.set_outputs(last, [output])
