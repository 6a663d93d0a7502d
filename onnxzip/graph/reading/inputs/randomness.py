"""Which of a graph's outputs depend on numbers that it draws itself, and by which node."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxzip.graph.reading.inputs.dependence import SIZES_ONLY
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import Body, reads_of, subgraphs
from onnxzip.graph.reading.tensors import constant_value, tensor_array
from onnxzip.records.aliases import Array

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"Multinomial", "Bernoulli"}
)
"""Operators that draw numbers whenever they run; Dropout does in training mode."""

Functions = Mapping[tuple[str, str], onnx.FunctionProto]
Constants = Mapping[str, Array]


def random_outputs(model: Model) -> dict[str, str]:
    """Return which node draws the numbers that an output depends on, by the output's name.

    A node counts if it may draw: whether it does may depend on inputs (the training mode of a Dropout).

    Returns:
        The first such node in words, "node 'drop1' (Dropout in training mode)".
    """
    functions = {(f.domain, f.name): f for f in model.proto.functions}
    constants = _constants_of(model.proto.graph, {})
    drawn: dict[str, str] = {}
    for node in model.proto.graph.node:
        known = () if node.op_type in SIZES_ONLY else reads_of(node)
        found = next((drawn[name] for name in known if name in drawn), "")
        if found := found or _drawing_node(node, constants, functions):
            drawn.update(dict.fromkeys(filter(None, node.output), found))
    return {v.name: drawn[v.name] for v in model.proto.graph.output if v.name in drawn}


def _drawing_node(node: onnx.NodeProto, constants: Constants, functions: Functions) -> str:
    """Return in words which node draws numbers when this one runs: itself, or one in its bodies."""
    if node.domain in ("", "ai.onnx") and node.op_type in RANDOM:
        return _named(node, node.op_type)
    if node.domain in ("", "ai.onnx") and node.op_type == "Dropout" and _may_drop(node, constants):
        return _named(node, "Dropout in training mode")
    called = functions.get((node.domain, node.op_type))
    bodies: list[tuple[Body, Constants]] = [(graph, constants) for graph in subgraphs(node)]
    if called is not None:
        bodies.append((called, {}))  # a function sees no names but its own
    for body, known in bodies:
        inner = _constants_of(body, known)
        found = (_drawing_node(child, inner, functions) for child in body.node)
        if name := next(filter(None, found), ""):
            return name
    return ""


def _may_drop(node: onnx.NodeProto, constants: Constants) -> bool:
    """Whether a Dropout is, or may be, in training mode, with a share to drop that is not 0."""
    ratio, mode = ([*node.input, "", "", ""][place] for place in (1, 2))
    if not mode or (mode in constants and not constants[mode].any()):
        return False
    return not (ratio in constants and not constants[ratio].any())


def _constants_of(body: Body, outer: Constants) -> Constants:
    """Return the small constants that nodes of a body see, by name."""
    found = dict(outer)
    if isinstance(body, onnx.GraphProto):
        singles = (t for t in body.initializer if not t.dims or list(t.dims) == [1])
        found |= {t.name: tensor_array(t) for t in singles}
        for value in body.input:  # what may be fed is no constant
            found.pop(value.name, None)
    for node in body.node:
        tensor = constant_value(node)
        if tensor is not None and len(tensor.dims) < 2:
            found[node.output[0]] = tensor_array(tensor)
    return found


def _named(node: onnx.NodeProto, what: str) -> str:
    """Return a node's name and operator; what it makes where it has no name."""
    name = f"node {node.name!r}" if node.name else f"the node that makes {node.output[0]!r}"
    return f"{name} ({what})"
