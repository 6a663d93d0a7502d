"""Inputs without a shape, not even a rank: what those nodes take that read them first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import onnx

from onnxzip.graph.reading.layouts import node_attributes
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.tensors import constant_value

Shape: TypeAlias = tuple[int | None, ...]
"""None is a free size."""

_USUAL_RANKS = (2, 4, 3, 1, 0, 5)
"""Features, pictures, sequences, sounds, one number, volumes: what is tried where no weight tells."""

_MOST_STEPS = 8
"""Nodes that are followed: a normalisation in front of the first layer."""

_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max")
_UNARY = ("Cast", "Identity", "Relu", "Neg", "Abs", "Sqrt", "Exp", "Log", "Clip", "Tanh", "Sigmoid")
"""Operators that leave the shape of their first input as it is."""


def guess_shapes(model: Model, decoded: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[Shape, ...]]:
    """Return shapes that each graph input without one may have, the likeliest first.

    Args:
        model: the model.
        decoded: shapes of weights that it makes itself, by name.
    """
    graph, known = model.proto.graph, known_shapes(model, decoded)
    usual = [(None,) * rank for rank in _USUAL_RANKS]
    return {
        value.name: tuple(dict.fromkeys((*_shapes_met(graph, value.name, known), *usual)))
        for value in graph.input
        if value.name not in known and value.type.HasField("tensor_type")
        if not value.type.tensor_type.HasField("shape")
    }


def known_shapes(model: Model, decoded: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the main graph's constants by name, with those of the weights it decodes."""
    graph = model.proto.graph
    known = {**decoded} | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if (tensor := constant_value(node)) is not None:
            known[node.output[0]] = tuple(tensor.dims)
    return known


def _shapes_met(
    graph: onnx.GraphProto, name: str, known: dict[str, tuple[int, ...]], n_steps: int = 0
) -> Iterator[Shape]:
    """Yield what the nodes that read a value take for it."""
    for node in graph.node:
        if name not in node.input or n_steps == _MOST_STEPS:
            continue
        others = [known[other] for other in node.input if other in known]
        if node.op_type in _UNARY or (node.op_type in _BINARY and others and not any(others)):
            yield from _shapes_met(graph, node.output[0], known, n_steps + 1)
        elif others:
            yield from _shapes_beside(node, name, others[0])


def _shapes_beside(node: onnx.NodeProto, name: str, weight: tuple[int, ...]) -> Iterator[Shape]:
    """Yield what a node takes beside a constant of this shape."""
    attributes, rank, is_first = node_attributes(node), len(weight), node.input[0] == name
    match node.op_type:
        case "Conv" | "ConvTranspose" if is_first and rank > 2:
            group = attributes.get("group", 1)
            n_channels = weight[0] if node.op_type == "ConvTranspose" else weight[1] * int(str(group))
            yield (None, n_channels, *(None,) * (rank - 2))
        case "MatMul" | "Gemm" if is_first and rank > 1:
            n_columns = weight[-1] if attributes.get("transB") else weight[-2]
            yield from ((None, n_columns), (None, None, n_columns))
        case "LSTM" | "GRU" | "RNN" if is_first and rank == 3:
            yield (None, None, weight[2])
        case "BatchNormalization" if is_first:
            yield from ((None, weight[0], None, None), (None, weight[0]))
        case "Gather" if not is_first:
            yield from ((None, None), (None,))
        case op_type if op_type in _BINARY:
            yield from (weight, (None, *weight[-1:]))
