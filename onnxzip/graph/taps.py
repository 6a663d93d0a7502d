"""Finds the values that weights are multiplied with or indexed by; makes them outputs of a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnxzip.graph.layouts import RECURRENT, is_known_domain, node_attributes
from onnxzip.graph.model import Model
from onnxzip.graph.names import NameSource
from onnxzip.graph.weights import Use, Weight, find_weights
from onnxzip.types import AttributeValue, Layer

_READERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", *RECURRENT)
_SAME_VALUES = ("Identity", "Cast", "Transpose")


@dataclass(frozen=True)
class Tap:
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


def find_taps(model: Model, layers: Sequence[Layer]) -> dict[str, list[Tap]]:
    """Return the taps of each layer, one for each node that reads it.

    A layer that some node reads elsewhere than in the main graph, or in a way that is neither a
    multiplication by its columns nor a Gather of its rows, has no taps: what it meets is not known then.
    """
    wanted = {layer.name: layer for layer in layers}
    taps: dict[str, list[Tap]] = {}
    for weight in find_weights(model):
        layer = wanted.get(weight.name)
        if layer is not None and layer.op_type in _READERS:
            found = _taps_of(weight)
            if found:
                taps[weight.name] = found
    return taps


def with_taps(model: Model, taps: Sequence[Tap]) -> tuple[Model, dict[str, str]]:
    """Return a copy of the model whose only outputs are the tapped values.

    Returns:
        The model, and each value's name in it; graph inputs and constants are left out.
    """
    tapped = model.copy()
    graph = tapped.proto.graph
    fresh = NameSource(tapped.names())
    made = {output for node in graph.node for output in node.output}
    names: dict[str, str] = {}
    for value in dict.fromkeys(tap.value for tap in taps):
        if value.startswith(_STATES):
            names[value] = _name_states(graph, value.removeprefix(_STATES), fresh)
        elif value in made:
            names[value] = value
    del graph.output[:]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names.values())
    return tapped, names


_STATES = "states of "
"""Marks the tap of a recurrent node's hidden states, which the graph may have no name for."""


def _taps_of(weight: Weight) -> list[Tap]:
    found: list[Tap] = []
    for use in weight.uses:
        tap = _tap(use)
        if tap is None:
            return []
        found.append(tap)
    return found


def _tap(use: Use) -> Tap | None:
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
        return _tap(readers[0]) if len(readers) == 1 else None
    attributes = tuple(sorted(node_attributes(node).items()))
    if node.op_type in RECURRENT and use.index in (1, 2):
        value = node.input[0] if use.index == 1 else _STATES + _first_output(node)
        return Tap(value, node.op_type, use.index, attributes)
    if node.op_type in ("Conv", "ConvTranspose") and use.index == 1:
        return Tap(node.input[0], node.op_type, 1, attributes)
    if node.op_type in ("Gemm", "MatMul") and use.index < 2:
        return Tap(node.input[1 - use.index], node.op_type, use.index, attributes)
    if node.op_type == "Gather" and use.index == 0 and not dict(attributes).get("axis", 0):
        return Tap(node.input[1], node.op_type, 0, attributes)
    return None


def _first_output(node: onnx.NodeProto) -> str:
    return next((output for output in node.output if output), "")


def _name_states(graph: onnx.GraphProto, output: str, fresh: NameSource) -> str:
    """Return the name of all hidden states of the recurrent node that makes `output`."""
    node = next(node for node in graph.node if output in node.output)
    if not node.output[0]:
        node.output[0] = fresh.new("states")
    return str(node.output[0])
