"""Finds the values that weights are multiplied with or indexed by; makes them outputs of a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnxzip.graph.reading.layouts import RECURRENT, is_known_domain, node_attributes
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.weights import Use, Weight, find_weights
from onnxzip.records.aliases import AttributeValue
from onnxzip.records.layer import Layer

_READERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", *RECURRENT)
"""Operators for which `measure` can tell which values a weight meets."""

_SAME_VALUES = ("Identity", "Cast", "Transpose")
"""What only moves or converts a weight on its way to them; a DequantizeLinear would also scale it."""


@dataclass(frozen=True)
class Operand:
    """A value of the main graph that a weight is multiplied with, or that says which rows are read.

    Attributes:
        value: its name.
        op_type: the operator that multiplies, or Gather.
        index: which input of that operator the weight is.
        attributes: of that operator; defaults are not filled in.
    """

    value: str
    op_type: str
    index: int
    attributes: tuple[tuple[str, AttributeValue], ...]


def find_operands(model: Model, layers: Sequence[Layer]) -> dict[str, list[Operand]]:
    """Return the operands of each layer, one for each node that reads it.

    A layer that some node reads elsewhere than in the main graph, or in a way that is neither a
    multiplication by its columns nor a Gather of its rows, has no
    operands: what it meets is not known then.
    """
    wanted = {layer.name: layer for layer in layers}
    operands: dict[str, list[Operand]] = {}
    for weight in find_weights(model):
        layer = wanted.get(weight.name)
        if layer is not None and layer.op_type in _READERS:
            found = _operands_of(weight)
            if found:
                operands[weight.name] = found
    return operands


RECURRENT_STATES = "states of "
"""Marks the operand of a recurrent node's hidden states, which the graph may have no name for."""


def _operands_of(weight: Weight) -> list[Operand]:
    found: list[Operand] = []
    for use in weight.uses:
        operand = _operand(use)
        if operand is None:
            return []
        found.append(operand)
    return found


def _operand(use: Use) -> Operand | None:
    """Return what the node behind a use multiplies with, looking through nodes that only move values."""
    node = use.node
    if node is None or use.scope.path or not is_known_domain(node):
        return None
    if node.op_type in _SAME_VALUES and use.index == 0:
        readers = [
            Use(reader, index, use.scope)
            for reader in use.scope.body.node
            for index, name in enumerate(reader.input)
            if name == node.output[0]
        ]
        return _operand(readers[0]) if len(readers) == 1 else None
    attributes = tuple(sorted(node_attributes(node).items()))
    if node.op_type in RECURRENT and use.index in (1, 2):
        value = node.input[0] if use.index == 1 else RECURRENT_STATES + _first_output(node)
        return Operand(value, node.op_type, use.index, attributes)
    if node.op_type in ("Conv", "ConvTranspose") and use.index == 1:
        return Operand(node.input[0], node.op_type, 1, attributes)
    if node.op_type in ("Gemm", "MatMul") and use.index < 2:
        return Operand(node.input[1 - use.index], node.op_type, use.index, attributes)
    if node.op_type == "Gather" and use.index == 0 and not dict(attributes).get("axis", 0):
        return Operand(node.input[1], node.op_type, 0, attributes)
    return None


def _first_output(node: onnx.NodeProto) -> str:
    return next((output for output in node.output if output), "")
