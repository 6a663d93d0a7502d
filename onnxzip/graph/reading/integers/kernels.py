"""Finds nodes that QuantizeLinear and DequantizeLinear stand around, and those that are floats still.

A runtime that fuses such a node puts one in its place that makes the integers behind the rounding; the
float answer, by whatever name, is no longer there. Where it is not fused, its float operator still
makes that answer, or what the nodes behind it, which it absorbed (Relu, the Add of a bias), made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import reads_of

_MULTIPLICATIONS: Mapping[str, tuple[str, ...]] = {
    "Conv": ("Conv", "FusedConv"),
    "Gemm": ("Gemm", "FusedGemm"),
    "MatMul": ("MatMul", "FusedMatMul", "Gemm", "FusedGemm"),
}
"""By operator those that onnxruntime computes it by in float32 (up to ORT_ENABLE_EXTENDED)."""

JOINS = ("Add", "Mul", "Concat")
"""Carriers, which see CARRIERS, that take numbers from all of their inputs."""

MOVERS = ("MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace")
"""Carriers whose output has the numbers of their input, and so its grid."""

CARRIERS = ("AveragePool", "GlobalAveragePool", *JOINS, *MOVERS)
"""Operators without weights that have int8 kernels, or only move numbers."""

_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class IntegerNode:
    """A node that is to compute in int8.

    Attributes:
        output: name of its output.
        values: that, and those behind it that a float operator in its place may make instead.
        operators: what such an operator is called.
    """

    output: str
    values: tuple[str, ...]
    operators: tuple[str, ...]


def integer_nodes(model: Model) -> list[IntegerNode]:
    """Return the nodes of the main graph that are to compute in int8.

    They are what multiplies two dequantised values, and what only takes such values and is rounded
    again: itself, or by way of a Relu or Clip.
    """
    return list(_Graph(model.proto.graph).integer_nodes())


def float_nodes(data: bytes, wanted: list[IntegerNode]) -> tuple[str, ...]:
    """Return the outputs of those of the nodes that are floats in an optimised graph.

    Args:
        data: the graph as a serialised ModelProto.
        wanted: the nodes, of the graph that was optimised.
    """
    graph = onnx.ModelProto.FromString(data).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    return tuple(
        node.output for node in wanted if any(makers.get(v) in node.operators for v in node.values)
    )


class _Graph:
    """Knows who makes and who reads each value of the main graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = graph.node
        self._makers = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in reads_of(node):
                self._readers.setdefault(name, []).append(node)
        self._outputs = {value.name for value in graph.output}

    def integer_nodes(self) -> Iterator[IntegerNode]:
        for node in self._nodes:
            if node.domain not in _STANDARD:
                continue
            operators = _MULTIPLICATIONS.get(node.op_type, (node.op_type,))
            if node.op_type in _MULTIPLICATIONS:
                if all(self._is_dequantised(name) for name in node.input[:2]):
                    yield IntegerNode(node.output[0], tuple(self._behind(node)), operators)
            elif node.op_type in CARRIERS:
                sources = node.input if node.op_type in JOINS else node.input[:1]
                if all(map(self._is_dequantised, sources)) and self._is_rounded(node.output[0]):
                    yield IntegerNode(node.output[0], (node.output[0],), operators)

    def _is_dequantised(self, value: str) -> bool:
        maker = self._makers.get(value)
        return maker is not None and maker.op_type == "DequantizeLinear"

    def _is_rounded(self, value: str) -> bool:
        tail = self._only_reader(value)
        if tail is not None and tail.op_type in ("Relu", "Clip"):
            value = tail.output[0]
        return any(reader.op_type == "QuantizeLinear" for reader in self._readers.get(value, ()))

    def _only_reader(self, value: str) -> onnx.NodeProto | None:
        readers = self._readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    def _behind(self, node: onnx.NodeProto) -> Iterator[str]:
        """Yield a node's output, and what is made of it alone until it is rounded or multiplied."""
        stops = ("QuantizeLinear", "DynamicQuantizeLinear", *_MULTIPLICATIONS)
        following: onnx.NodeProto | None = node
        while following is not None and len(following.output) == 1:
            yield following.output[0]
            following = self._only_reader(following.output[0])
            if following is not None and following.op_type in stops:
                return
