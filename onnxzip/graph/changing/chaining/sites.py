"""Where a weight is read: the nodes that a chain may stand for, and what is around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxzip.graph.changing.editor import GraphEditor
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.operands import Operand
from onnxzip.passbase import NodeView
from onnxzip.records.layer import Layer
from onnxzip.transforms.chains import is_left


@dataclass(frozen=True)
class Site:
    """A node that multiplies by a weight.

    Attributes:
        operand: what it multiplies.
        output: what it makes.
        has_bias: whether it adds one.
        is_rectified: whether a Relu alone reads what it makes, which runtimes compute with it.
    """

    operand: Operand
    output: str
    has_bias: bool
    is_rectified: bool


def weight_index(layer: Layer) -> int:
    """Return which input of its nodes a layer's weight is."""
    return 0 if layer.op_type == "MatMul" and is_left(layer) else 1


def reads_weight(node: NodeView, layer: Layer) -> bool:
    """Whether a node multiplies by a layer's weight as `weight_index` says, and reads it only there."""
    index = weight_index(layer)
    places = [i for i, name in enumerate(node.inputs) if name == layer.name]
    return node.op_type == layer.op_type and places == [index]


def find_sites(model: Model, layers: Sequence[Layer]) -> dict[str, list[Site]]:
    """Return the sites of each layer; none where some node reads its weight in another way.

    What a node multiplies must be made in the main graph, or fed.
    """
    editor = GraphEditor(model.copy())
    nodes = editor.nodes()
    known = {output for node in nodes for output in node.outputs} | {
        value.name for value in model.proto.graph.input
    }
    known -= {tensor.name for tensor in model.proto.graph.initializer}
    readers: dict[str, list[NodeView]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    found: dict[str, list[Site]] = {}
    for layer in layers:
        own = readers.get(layer.name, [])
        index = weight_index(layer)
        is_known = all(
            reads_weight(node, layer)
            and node.inputs[1 - index] in known
            and editor.constant(node.inputs[1 - index]) is None
            for node in own
        )
        if is_known and len(own) == editor.n_uses(layer.name):  # bodies and outputs read it, too
            found[layer.name] = [_site(node, layer, editor, readers) for node in own]
        else:
            found[layer.name] = []
    return found


def _site(node: NodeView, layer: Layer, editor: GraphEditor, readers: dict[str, list[NodeView]]) -> Site:
    output, index = node.outputs[0], weight_index(layer)
    behind = readers.get(output, [])
    is_rectified = editor.n_uses(output) == 1 and [n.op_type for n in behind] == ["Relu"]
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    operand = Operand(node.inputs[1 - index], node.op_type, index, ())
    return Site(operand, output, has_bias, is_rectified)
