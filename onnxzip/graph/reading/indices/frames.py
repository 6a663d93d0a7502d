"""A graph, nested or not, with all that is known of the names it sees: producers, constants, shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import onnx
from onnx import inliner

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import subgraphs
from onnxzip.graph.reading.shapes import inferred_model
from onnxzip.graph.reading.tensors import constant_value, tensor_array
from onnxzip.records.aliases import Array

Extent: TypeAlias = tuple[float, float]
"""The least and the largest number of a constant; integers stay Python's, however large."""

_SAME_NUMBERS = ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Flatten", "Expand")
"""Operators whose outputs hold the numbers of their first input and no others."""

_SAME_SHAPE = ("Cast", "Identity", "DequantizeLinear")
"""What may stand between a table and its reader where shape inference fails or knows no such domain."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One graph and what its names mean.

    Attributes:
        graph: the graph itself; function calls are inlined.
        parent: the frame around it, None for the main graph.
        owner: the node of `parent` whose body it is.
        inputs: the number of each of the graph's inputs.
        producers: the node that makes a value, by its number, and which of its outputs it is.
        constants: initializers, and outputs of Constant nodes.
        shapes: dimensions of values, None where one is not fixed.
        bodies: the frames of a node's graphs, by the node's number.
    """

    graph: onnx.GraphProto
    parent: Frame | None
    owner: onnx.NodeProto | None
    inputs: dict[str, int] = field(default_factory=dict)
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    bodies: dict[int, list[Frame]] = field(default_factory=dict)

    def home(self, name: str) -> Frame | None:
        """Return the frame that defines a name: this one, or one around it."""
        frame: Frame | None = self
        while frame is not None and not frame._defines(name):
            frame = frame.parent
        return frame

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value, wherever it stands; None for inputs and initializers."""
        home = self.home(name)
        found = None if home is None else home.producers.get(name)
        return None if home is None or found is None else home.graph.node[found[0]]

    def constant(self, name: str) -> Array | None:
        """Return a constant's numbers, in no particular shape; None for what a run computes."""
        home = self.home(name)
        if home is None or name in home.constants:
            return None if home is None else home.constants[name]
        node = home.producer(name)
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type in _SAME_NUMBERS:
            return home.constant(node.input[0])
        if node.op_type == "ConstantOfShape":
            values = [
                tensor_array(a.t)
                for a in node.attribute
                if a.name == "value" and a.type == onnx.AttributeProto.TENSOR
            ]
            return values[0] if values else None
        return None

    def extent(self, name: str) -> Extent | None:
        """Return the least and the largest number of a constant; None for anything else."""
        array = self.constant(name)
        if array is None or not array.size or array.dtype.kind not in "iuf":
            return None
        return array.min().item(), array.max().item()

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Return a value's dimensions, None where one is not fixed; None if nothing is known."""
        home = self.home(name)
        if home is None:
            return None
        if name in home.constants:
            return home.constants[name].shape
        if name in home.shapes:
            return home.shapes[name]
        node = home.producer(name)
        return home.shape(node.input[0]) if node is not None and node.op_type in _SAME_SHAPE else None

    def everything(self) -> list[Frame]:
        """Return this frame and all inside it."""
        inner = [
            frame for bodies in self.bodies.values() for body in bodies for frame in body.everything()
        ]
        return [self, *inner]

    def _defines(self, name: str) -> bool:
        return name in self.inputs or name in self.producers or name in self.constants


def main_frame(model: Model) -> Frame:
    """Return the frame of the main graph, with the calls of the model's own functions inlined."""
    proto = model.proto
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    proto = inferred_model(proto, data_prop=False) or proto
    return _frame(proto.graph, None, None, model)


def _frame(
    graph: onnx.GraphProto, parent: Frame | None, owner: onnx.NodeProto | None, model: Model
) -> Frame:
    frame = Frame(graph, parent, owner, {v.name: number for number, v in enumerate(graph.input)})
    for tensor in graph.initializer:
        frame.constants[tensor.name] = tensor_array(tensor) if parent else model.array(tensor)
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            frame.shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None for d in dims
            )
    for number, node in enumerate(graph.node):
        tensor = constant_value(node)
        if tensor is not None:
            frame.constants[node.output[0]] = tensor_array(tensor)
        frame.producers.update({o: (number, k) for k, o in enumerate(node.output) if o})
    for number, node in enumerate(graph.node):
        frame.bodies[number] = [_frame(body, frame, node, model) for body in subgraphs(node)]
    return frame
