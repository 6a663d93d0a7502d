"""Finds the layers that an input meets first, and makes what they answer outputs of a copy.

What a picture is divided by before it is fed stands nowhere in a model. But a layer was trained on what
it met: its answers say whether they were meant to be like this (inputs/generated/scalings.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxzip.graph.changing.operand_outputs import with_operand_outputs
from onnxzip.graph.reading.layouts import node_attributes
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.operands import Operand
from onnxzip.graph.reading.tensors import constant_value

_LAYERS = ("Conv", "ConvInteger", "Gemm", "MatMul", "MatMulInteger")
_CHANNELS_LAST = ("Gemm", "MatMul", "MatMulInteger")
_ON_THE_WAY = (
    *("Add", "Sub", "Mul", "Div", "BatchNormalization", "Cast", "Identity", "Pad", "Resize", "Upsample"),
    *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Split", "Concat"),
    *("SpaceToDepth", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
)
"""Operators that scale, shift or move an input: what is behind them is still a picture."""

_SEVERAL = ("Split",)
"""Operators whose outputs are all parts of the input."""

_BEHIND = ("Add", "Sub", "Mul", "Div", "BatchNormalization", "Cast", "Identity", "Transpose")
"""Operators that scale and shift by constants what a layer answers: its bias and its normalisation, and
the transposition that exporters of TensorFlow put between."""


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """Where a layer answers to an input.

    Attributes:
        answer: name of the value before the first operator that is no scaling or shift.
        axis: of its channels.
        normalised: name of the value that a BatchNormalization on the way takes, channels on axis 1;
            "" without one.
        mean: of that value in training, (channels,).
        variance: likewise.
    """

    answer: str
    axis: int
    normalised: str = ""
    mean: NDArray[np.float64] | None = None
    variance: NDArray[np.float64] | None = None


def with_first_layers(model: Model, name: str) -> tuple[Model, list[FirstLayer]]:
    """Return a copy of the model whose only outputs are what the first layers answer, and these.

    Args:
        model: the original; layers in subgraphs and functions are not found.
        name: of the input; what other inputs add to it is not followed.
    """
    layers = list(_first_layers(model, name))
    values = [value for layer in layers for value in (layer.answer, layer.normalised) if value]
    exposed, _ = with_operand_outputs(model, [Operand(value, "", 0, ()) for value in values])
    return exposed, layers


def _first_layers(model: Model, name: str) -> Iterator[FirstLayer]:
    nodes = model.proto.graph.node
    constants = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    for node in nodes:
        value = constant_value(node)
        if value is not None:
            constants[node.output[0]] = value
    fixed, moved = {*constants, ""}, {name}
    for node in nodes:
        if fixed.issuperset(node.input):
            fixed.update(node.output)
    for node in nodes:
        if node.op_type in _LAYERS and node.input[0] in moved:
            yield _follow(model, node, constants, fixed)
        elif node.op_type in _ON_THE_WAY and moved.intersection(node.input):
            # A picture's scale and zero point (DynamicQuantizeLinear) are no pictures.
            moved.update(node.output if node.op_type in _SEVERAL else node.output[:1])


def _follow(
    model: Model, layer: onnx.NodeProto, constants: dict[str, onnx.TensorProto], fixed: set[str]
) -> FirstLayer:
    """Go from a layer to the last value that is its sums, scaled and shifted by constants."""
    found = FirstLayer(layer.output[0], -1 if layer.op_type in _CHANNELS_LAST else 1)
    while True:
        readers = [node for node in model.proto.graph.node if found.answer in node.input]
        if len(readers) != 1 or readers[0].op_type not in _BEHIND:
            return found
        (node,) = readers
        if not fixed.issuperset({*node.input} - {found.answer}):
            return found
        if node.op_type == "Transpose":
            order = node_attributes(node).get("perm", ())
            if not isinstance(order, tuple) or found.axis not in order or order[0] != 0:
                return found  # samples stay on axis 0
            found = replace(found, axis=order.index(found.axis))
        elif node.op_type == "BatchNormalization" and constants.keys() >= {*node.input[3:5]}:
            mean, variance = (model.array(constants[name]) for name in node.input[3:5])
            found = replace(
                found,
                normalised=found.answer,
                mean=mean.astype(np.float64),
                variance=variance.astype(np.float64),
            )
        found = replace(found, answer=node.output[0])
