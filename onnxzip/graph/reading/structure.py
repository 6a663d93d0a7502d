"""Compares two graphs node for node, whatever their nodes and values are called."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import onnx

from onnxzip.graph.reading.opsets.defaults import Defaults, opsets_of, plain_bytes
from onnxzip.graph.reading.scope import sorted_nodes
from onnxzip.graph.reading.tensors import constant_value


def structure(data: bytes) -> Counter[str]:
    """Describe a serialized model as a multiset of nodes.

    A node's description is a hash of its operator, attributes and inputs; an input is described by
    the graph input it is, by the type and shape of the initializer it is, or by the node and output
    position it comes from. An attribute that has its default value is as good as none: runtimes add
    them. So equal multisets mean equal graphs up to names and order.
    """
    proto = onnx.ModelProto.FromString(data)
    describer = _Describer(Defaults(opsets_of(proto)))
    outputs = describer.describe_graph(proto.graph, {})
    nodes = describer.nodes
    nodes.update(f"output {i}: {value}" for i, value in enumerate(outputs))
    return nodes


def count_differences(a: Counter[str], b: Counter[str]) -> int:
    """Return how many nodes and outputs of either graph have no counterpart in the other."""
    return ((a - b) + (b - a)).total()


class _Describer:
    """Collects the descriptions of a model's nodes, nested ones included."""

    def __init__(self, defaults: Defaults) -> None:
        self.nodes: Counter[str] = Counter()
        self._defaults = defaults

    def describe_graph(self, graph: onnx.GraphProto, outer: Mapping[str, str]) -> list[str]:
        """Record a graph's nodes; return what its outputs are."""
        known = dict(outer)
        for i, value in enumerate(graph.input):
            known[value.name] = f"input {i} {value.name if not outer else ''}"
        for tensor in graph.initializer:
            known[tensor.name] = f"initializer {tensor.data_type} {tuple(tensor.dims)}"
        for node in sorted_nodes(graph, "graph"):
            tensor = constant_value(node)
            if tensor is not None:
                known[node.output[0]] = f"initializer {tensor.data_type} {tuple(tensor.dims)}"
                continue
            description = self._describe_node(node, known)
            self.nodes[description] += 1
            for i, name in enumerate(node.output):
                known[name] = f"{description}:{i}"
        return [known.get(value.name, "") for value in graph.output]

    def _describe_node(self, node: onnx.NodeProto, known: Mapping[str, str]) -> str:
        domain = "" if node.domain == "ai.onnx" else node.domain
        parts = [domain, node.op_type, *(known.get(name, "") for name in node.input)]
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for graph in graphs:
                parts.extend(self.describe_graph(graph, known))
            if not graphs and not self._defaults.has(node, attribute):
                parts.append(plain_bytes(attribute).hex())
        digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]
        return f"{node.op_type} {digest}"
