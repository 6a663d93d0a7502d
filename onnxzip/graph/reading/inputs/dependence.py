"""What a graph's outputs depend on: values of inputs, weights; and which of them answer with 0 ... 1."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import local_names, reads_of, subgraphs

_SIZES_ONLY = frozenset({"Shape", "Size"})
"""Operators that read how large a tensor is, and none of its values."""

_SQUASHING = frozenset({"Sigmoid", "Softmax", "HardSigmoid", "Erf", "Tanh"})
"""Operators whose answers have ends that they reach on large inputs."""

_MOVING = frozenset(
    {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Split"}
    | {"Gather", "Concat", "Dropout"}
)
"""Operators whose outputs hold values of their inputs and no others."""


def varying_outputs(model: Model) -> frozenset[str]:
    """Return the graph's outputs that depend on the values of its inputs, not on their sizes alone."""
    graph = model.proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    varying = {v.name for v in graph.input if v.name not in constants}
    for node in graph.node:
        if (node.op_type not in _SIZES_ONLY and varying.intersection(reads_of(node))) or _is_random(
            node
        ):
            varying.update(node.output)
    return frozenset(v.name for v in graph.output if v.name in varying)


def squashed_outputs(model: Model) -> frozenset[str]:
    """Return the graph's outputs that come from a Sigmoid or the like, moved about at most."""
    squashed: set[str] = set()
    for node in model.proto.graph.node:
        is_moved = node.op_type in _MOVING and bool(squashed.intersection(node.input))
        if node.op_type in _SQUASHING or is_moved:
            squashed.update(node.output)
    return frozenset(v.name for v in model.proto.graph.output if v.name in squashed)


def names_behind(model: Model, outputs: Collection[str]) -> frozenset[str]:
    """Return all names that some outputs of the graph are computed from, those in bodies included.

    Args:
        model: any model, its nodes in topological order.
        outputs: names of graph outputs.
    """
    wanted = set(outputs)
    functions = {(f.domain, f.name): f for f in model.proto.functions}
    for node in reversed(model.proto.graph.node):
        if wanted.intersection(node.output):
            wanted.update(reads_of(node))
            for body in _bodies_of(node, functions):
                wanted |= local_names(body)
    return frozenset(wanted)


def _bodies_of(
    node: onnx.NodeProto, functions: dict[tuple[str, str], onnx.FunctionProto]
) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """Yield the graphs that run when a node runs, functions that it calls included."""
    called = functions.get((node.domain, node.op_type))
    if called is not None:
        yield called
    inner = [child for graph in subgraphs(node) for child in graph.node]
    yield from subgraphs(node)
    for child in [*inner, *(called.node if called is not None else ())]:
        yield from _bodies_of(child, functions)


def _is_random(node: onnx.NodeProto) -> bool:
    return node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")
