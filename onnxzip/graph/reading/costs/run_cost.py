"""What a run takes, from the shapes of the values it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from onnxzip.graph.reading.costs.liveness import most_in_use
from onnxzip.graph.reading.layouts import CONV_WEIGHTS, PRODUCT_WEIGHTS
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import sorted_nodes
from onnxzip.graph.reading.shapes import infer_shapes
from onnxzip.records.costs.run_cost import RunCost

Shapes = Mapping[str, tuple[int, ...]]


def run_cost(model: Model, input_shapes: Shapes) -> RunCost:
    """Return what a run takes; what stands in bodies, and shapes that depend on values, are left out.

    Args:
        model: the model.
        input_shapes: by input name.
    """
    graph = model.proto.graph
    shapes = {**infer_shapes(model, input_shapes), **{t.name: tuple(t.dims) for t in graph.initializer}}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    nodes = sorted_nodes(graph, model.source)
    n_in_use = most_in_use(nodes, sizes, [value.name for value in graph.output])
    return RunCost(n_in_use, sum(_n_operations(node, shapes) for node in nodes))


_WEIGHTS = {**CONV_WEIGHTS, **PRODUCT_WEIGHTS, "Gemm": 1}


def _n_operations(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Return the multiplications of a node with a matrix, else how many numbers it makes."""
    n_made = sum(math.prod(shapes.get(name, ())) for name in node.output if name in shapes)
    place = _WEIGHTS.get(node.op_type, len(node.input))
    if place >= len(node.input):
        return n_made
    data, weight = (shapes.get(name, ()) for name in (node.input[0], node.input[place]))
    if not (data and weight):
        return n_made
    if node.op_type in CONV_WEIGHTS:
        n_each_side = math.prod(data) if node.op_type == "ConvTranspose" else n_made
        return n_each_side * math.prod(weight[1:])
    return n_made * max(data[-1], 1)
