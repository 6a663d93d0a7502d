"""Compares two graphs node for node, whatever their nodes and values are called."""

from __future__ import annotations

import hashlib
from collections import Counter

import onnx

from onnxzip.graph.scope import subgraphs


def structure(data: bytes) -> Counter[str]:
    """Describe a serialized model as a multiset of nodes.

    A node's description is a hash of its operator, attributes and inputs; an input is described by
    the graph input it is, by the type and shape of the initializer it is, or by the node and output
    position it comes from. So equal multisets mean equal graphs up to names and order.
    """
    proto = onnx.ModelProto.FromString(data)
    nodes: Counter[str] = Counter()
    known: dict[str, str] = {}
    outputs = _describe_graph(proto.graph, known, nodes)
    nodes.update(f"output {i}: {value}" for i, value in enumerate(outputs))
    return nodes


def count_differences(a: Counter[str], b: Counter[str]) -> int:
    """Return how many nodes and outputs of either graph have no counterpart in the other."""
    return ((a - b) + (b - a)).total()


def _describe_graph(graph: onnx.GraphProto, outer: dict[str, str], nodes: Counter[str]) -> list[str]:
    known = dict(outer)
    for i, value in enumerate(graph.input):
        known[value.name] = f"input {i} {value.name if not outer else ''}"
    for tensor in graph.initializer:
        known[tensor.name] = f"initializer {tensor.data_type} {tuple(tensor.dims)}"
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            tensor = node.attribute[0].t
            known[node.output[0]] = f"initializer {tensor.data_type} {tuple(tensor.dims)}"
            continue
        description = _describe_node(node, known, nodes)
        nodes[description] += 1
        for i, name in enumerate(node.output):
            known[name] = f"{description}:{i}"
    return [known.get(value.name, "") for value in graph.output]


def _describe_node(node: onnx.NodeProto, known: dict[str, str], nodes: Counter[str]) -> str:
    parts = [node.domain, node.op_type, *(known.get(name, "") for name in node.input)]
    for attribute in sorted(node.attribute, key=lambda a: a.name):
        if attribute.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            parts.append(attribute.SerializeToString(deterministic=True).hex())
    for graph in subgraphs(node):
        parts.extend(_describe_graph(graph, known, nodes))
    digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]
    return f"{node.op_type} {digest}"
