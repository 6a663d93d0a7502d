"""Whether a model's nodes go together at some sizes of its inputs, told by shape inference alone.

A network that ends in Flatten and Gemm, or in a Reshape to a fixed size, runs at one size of picture,
which it need not declare.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import onnx

from onnxzip.graph.reading.layouts import node_attributes
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.shapes import shapes_behind, without_data


class FittingSizes:
    """Tells how far shapes go together.

    Args:
        model: the model; what stands in bodies is left out.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @cached_property
    def _light(self) -> onnx.ModelProto:
        return without_data(self._model)

    @property
    def n_nodes(self) -> int:
        """Nodes of the graph: what telling takes grows with them."""
        return len(self._model.proto.graph.node)

    def fit(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return how well shapes go together: how many values have one, less for each contradiction.

        Args:
            shapes: of the inputs, by name.
        """
        graph = self._model.proto.graph
        found = shapes_behind(self._light, shapes)
        n_known = sum(all(size > 0 for size in shape) for shape in found.values())
        found |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        return n_known - len(graph.node) * sum(_contradicts(node, found) for node in graph.node)


def _contradicts(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a node multiplies matrices of sizes that differ: inference does not look at them."""
    if node.op_type not in ("MatMul", "Gemm") or not shapes.keys() >= {*node.input[:2]}:
        return False
    left, right = (shapes[name] for name in node.input[:2])
    if min(len(left), len(right)) < 2:
        return False
    attributes = node_attributes(node)
    return left[-2 if attributes.get("transA") else -1] != right[-1 if attributes.get("transB") else -2]
