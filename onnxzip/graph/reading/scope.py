"""What a graph defines and reads: names across nested bodies, order of nodes, and faults in both."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import onnx

from onnxzip.errors import ModelError

Body: TypeAlias = onnx.GraphProto | onnx.FunctionProto


def iter_bodies(proto: onnx.ModelProto) -> Iterator[Body]:
    """Yield the main graph, every function and every nested graph, parents first."""
    stack: deque[Body] = deque([proto.graph, *proto.functions])
    while stack:
        body = stack.popleft()
        yield body
        stack.extend(graph for node in body.node for graph in subgraphs(node))


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs in a node's attributes (If, Loop, Scan bodies)."""
    found = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    for attribute in node.attribute:
        found.extend(attribute.graphs)
    return found


def local_names(body: Body) -> set[str]:
    """Return the names a graph or function defines itself, nested bodies excluded."""
    names = {output for node in body.node for output in node.output}
    if isinstance(body, onnx.FunctionProto):
        names.update(body.input)
    else:
        names.update(v.name for v in body.input)
        names.update(t.name for t in body.initializer)
        names.update(t.values.name for t in body.sparse_initializer)
    names.discard("")
    return names


def reads_of(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, once for each time: its inputs, and what its bodies capture."""
    reads = [name for name in node.input if name]
    for graph in subgraphs(node):
        inner = [name for child in graph.node for name in reads_of(child)]
        inner += [v.name for v in graph.output]
        own = local_names(graph)
        reads += [name for name in inner if name not in own]
    return reads


def read_by(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Return all that nodes read, their bodies included."""
    return {name for node in nodes for name in reads_of(node)}


def sorted_nodes(graph: onnx.GraphProto, source: str) -> list[onnx.NodeProto]:
    """Return the nodes of a graph in topological order, in their own order where that is one.

    Raises:
        ModelError: the nodes depend on each other in a circle.
    """
    producers = {o: i for i, node in enumerate(graph.node) for o in node.output if o}
    needs = [{producers[n] for n in reads_of(node) if n in producers} for node in graph.node]
    if all(max(need, default=-1) < i for i, need in enumerate(needs)):
        return list(graph.node)
    readers: dict[int, list[int]] = {}
    for i, need in enumerate(needs):
        for j in need:
            readers.setdefault(j, []).append(i)
    ready = deque(i for i, need in enumerate(needs) if not need)
    order: list[int] = []
    while ready:
        i = ready.popleft()
        order.append(i)
        for j in readers.get(i, ()):
            needs[j].discard(i)
            if not needs[j]:
                ready.append(j)
    if len(order) < len(needs):
        stuck = next(node for node, need in zip(graph.node, needs, strict=True) if need)
        raise ModelError(f"{source}: {_label(stuck)} depends on its own output; export the model again")
    return [graph.node[i] for i in order]


def check_names(proto: onnx.ModelProto, source: str) -> None:
    """Check that every value is defined once and that everything read is defined.

    Raises:
        ModelError: two definitions of one name in one graph, a read of nothing, or a circle.
    """
    _check_body(proto.graph, set(), source)
    sorted_nodes(proto.graph, source)
    for function in proto.functions:
        _check_body(function, set(), f"{source}: function '{function.name}'")


def _check_body(body: Body, outer: set[str], source: str) -> None:
    _check_unique((t.name for t in getattr(body, "initializer", ())), "initializers", source)
    _check_unique((o for node in body.node for o in node.output if o), "outputs of nodes", source)
    known = outer | local_names(body)
    for name in known:
        if not isinstance(name, str):  # what protobuf gives where a text is no UTF-8
            raise ModelError(f"{source}: the name {name!r} is no UTF-8; export the model again")
    for node in body.node:
        for name in node.input:
            if name and name not in known:
                raise ModelError(
                    f"{source}: {_label(node)} reads '{name}', which nothing produces; "
                    "export the model again"
                )
        for graph in subgraphs(node):
            _check_body(graph, known, source)
    outputs = body.output if isinstance(body, onnx.FunctionProto) else [v.name for v in body.output]
    for name in outputs:
        if name not in known:
            raise ModelError(f"{source}: nothing produces the output '{name}'; export the model again")


def _check_unique(names: Iterable[str], what: str, source: str) -> None:
    name, n_times = max(Counter(names).items(), key=lambda item: item[1], default=("", 1))
    if n_times > 1:
        raise ModelError(f"{source}: {n_times} {what} are called '{name}'; export the model again")


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} node '{node.name or next(iter(node.output), '')}'"
