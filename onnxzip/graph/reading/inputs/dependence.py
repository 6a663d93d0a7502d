"""What a graph's outputs depend on: values of inputs, weights; and which of them answer with 0 ... 1."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import reads_of, subgraphs
from onnxzip.graph.reading.weights import find_weights, named_subgraphs

SIZES_ONLY = frozenset({"Shape", "Size"})
"""Operators that read how large a tensor is, and none of its values."""

_SIZED_BY_VALUES = frozenset({"NonMaxSuppression", "NonZero", "Unique", "Compress", "StringSplit"})
"""Operators that give as many rows as their inputs' values say."""

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
        if (node.op_type not in SIZES_ONLY and varying.intersection(reads_of(node))) or _is_random(node):
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


def unsized_outputs(model: Model) -> dict[str, int]:
    """Return the graph's outputs that may have more rows or fewer, as values have it (boxes, say).

    Returns:
        The axis of the rows, by name: the first one whose size is not stated.
    """
    graph = model.proto.graph
    unsized: set[str] = set()
    for node in graph.node:
        if _sizes_by_values(node) or unsized.intersection(reads_of(node)):
            unsized.update(node.output)
    axes = {v.name: _first_free_axis(v) for v in graph.output if v.name in unsized}
    return {name: axis for name, axis in axes.items() if axis is not None}


def _sizes_by_values(node: onnx.NodeProto) -> bool:
    inner = (child for graph in subgraphs(node) for child in graph.node)
    return node.op_type in _SIZED_BY_VALUES or any(map(_sizes_by_values, inner))


def _first_free_axis(value: onnx.ValueInfoProto) -> int | None:
    """Return the first axis whose size is not stated, 0 where none is, None where all are."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return 0
    free = (axis for axis, dim in enumerate(tensor.shape.dim) if not dim.HasField("dim_value"))
    return next(free, None)


def weights_behind(model: Model, outputs: Collection[str]) -> frozenset[str]:
    """Return the names of the weights that some outputs of the graph are computed from.

    Args:
        model: any model, its nodes in topological order.
        outputs: names of graph outputs.

    Returns:
        Names as `Layer.name` has them. All weights of a nested graph or a function count, where the node
        does that runs it.
    """
    wanted = set(outputs)
    functions = {(f.domain, f.name): f for f in model.proto.functions}
    paths: set[str] = set()
    nodes = list(enumerate(model.proto.graph.node))
    for i_node, node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(reads_of(node))
            paths.update(_paths_of(node, i_node, functions))
    every = (weight.name for weight in find_weights(model))
    return frozenset(name for name in every if name in wanted or name.startswith(tuple(paths)))


def _paths_of(
    node: onnx.NodeProto, i_node: int, functions: dict[tuple[str, str], onnx.FunctionProto]
) -> Iterator[str]:
    """Yield what the names of weights begin with that stand in the graphs which a node runs."""
    called = functions.get((node.domain, node.op_type))
    if called is not None:
        yield f"{called.name}/"
    for path, _ in named_subgraphs(node, i_node):
        yield path
    inner = [child for graph in subgraphs(node) for child in graph.node]
    for i_child, child in enumerate([*inner, *(called.node if called is not None else ())]):
        yield from (path for path in _paths_of(child, i_child, functions) if path.count("/") == 1)


def _is_random(node: onnx.NodeProto) -> bool:
    return node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")
