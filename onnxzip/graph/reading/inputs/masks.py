"""Inputs that are masks by what the graph does with them, whatever they are called.

A mask of an attention ends as large negative numbers that are added to scores: (1 - mask) * -10000, or
Where(mask == 0, -inf, scores). Which of its values they stand for tells what its ones mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import sorted_nodes
from onnxzip.graph.reading.tensors import constant_value, float_dtype, integer_dtype, n_elements

Meaning: TypeAlias = Literal["keep", "hide"]
"""What a one in a mask does with its token."""

_MOVES = frozenset(
    (
        *("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Expand", "Transpose", "Slice", "Tile"),
        *("Flatten", "Gather", "Concat"),
    )
)
"""Operators that leave a mask's values as they are."""

_LEAST_HIDDEN = 1e3
"""What is added to scores to hide a token is below minus this: -10000 in BERT, -inf or the least float16
or float32 elsewhere."""

_FLOATS = (
    *(onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16),
    *(onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16),
)
"""Types of what is compared with, and multiplied by, all sorts of numbers without being a mask."""

_MASK_INPUTS = {"Attention": 3, "MultiHeadAttention": 4, "EmbedLayerNormalization": 7}
"""Inputs of onnxruntime's contributed operators whose ones are kept (ContribOperators.md)."""


@dataclass(frozen=True)
class _Value:
    """A value that is made of a mask alone.

    Attributes:
        name: of the graph's input.
        is_inverted: whether it is 1 where that is 0.
        is_lowered: whether it is 1 less: 0 and -1.
    """

    name: str
    is_inverted: bool = False
    is_lowered: bool = False


def masks(model: Model) -> dict[str, Meaning]:
    """Return which inputs of the main graph are masks, and what their ones mean.

    Args:
        model: any model; bodies and functions are not looked at.
    """
    return _Walk(model).found


class _Walk:
    """Follows inputs through what moves, inverts and lowers them."""

    def __init__(self, model: Model) -> None:
        """Look at all nodes."""
        graph = model.proto.graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._numbers: dict[str, float] = {}
        inputs = [value for value in graph.input if value.name not in tensors]
        self._values = {value.name: _Value(value.name) for value in inputs}
        self._floats = {v.name for v in inputs if v.type.tensor_type.elem_type in _FLOATS}
        self.found: dict[str, Meaning] = {}
        for name, tensor in tensors.items():
            self._note(name, tensor, model)
        for node in sorted_nodes(graph, model.source):
            if (constant := constant_value(node)) is not None:
                self._note(node.output[0], constant, model)
            elif node.op_type in _MOVES and node.input[0] in self._numbers:
                self._numbers[node.output[0]] = self._numbers[node.input[0]]
            else:
                self._pass_by(node)

    def _note(self, name: str, tensor: onnx.TensorProto, model: Model) -> None:
        """Note a constant of one number."""
        is_number = float_dtype(tensor) is not None or integer_dtype(tensor) is not None
        if is_number and n_elements(tensor) == 1:
            self._numbers[name] = float(np.ravel(model.array(tensor))[0])

    def _pass_by(self, node: onnx.NodeProto) -> None:
        place = _MASK_INPUTS.get(node.op_type)
        if node.domain == "com.microsoft" and place is not None and len(node.input) > place:
            self._conclude(self._values.get(node.input[place]), keeps=True)
            return
        values = [self._values.get(name) for name in node.input]
        if node.op_type == "Where" and len(values) == 3:
            hides = [self._numbers.get(name, 0.0) <= -_LEAST_HIDDEN for name in node.input[1:]]
            if hides[0] != hides[1]:
                self._conclude(values[0], keeps=hides[1])
            return
        made = self._made(node, values)
        if made is not None:
            self._values[node.output[0]] = made

    def _made(self, node: onnx.NodeProto, values: list[_Value | None]) -> _Value | None:
        """Return what a node makes of a mask, None for what is none any more."""
        first = values[0] if values else None
        if node.op_type in _MOVES:
            return first
        if node.op_type == "Not":
            return _inverted(first)
        known = [value for value in values if value is not None]
        if len(values) == 2 and len(known) == 2:
            return known[0] if node.op_type in ("Mul", "And") and known[0] == known[1] else None
        if len(values) != 2 or not known:
            return None
        number = next((self._numbers[name] for name in node.input if name in self._numbers), math.nan)
        return self._made_beside(node.op_type, known[0], number, is_first=first is not None)

    def _made_beside(
        self, op_type: str, value: _Value, number: float, *, is_first: bool
    ) -> _Value | None:
        """Return what an operator makes of a mask and something else, a number if it is not NaN."""
        if op_type in ("And", "Or"):
            return value
        if op_type == "Equal" and number in (0.0, 1.0):
            return _inverted(value) if number == 0 else value
        if op_type == "Greater" and is_first and 0 <= number < 1:
            return None if value.name in self._floats else value
        if op_type == "Sub" and number == 1:
            return _lowered(value) if is_first else _inverted(value)
        if op_type == "Mul" and abs(number) >= _LEAST_HIDDEN:
            is_plain = not (value.is_inverted or value.is_lowered)
            if (number < 0) != value.is_lowered and not (is_plain and value.name in self._floats):
                self._conclude(value, keeps=value.is_lowered)
        return None

    def _conclude(self, value: _Value | None, *, keeps: bool) -> None:
        """Note what a mask's ones mean, given what those of a value that is made of it do."""
        if value is not None:
            self.found.setdefault(value.name, "keep" if keeps != value.is_inverted else "hide")


def _inverted(value: _Value | None) -> _Value | None:
    return value and _Value(value.name, not value.is_inverted, value.is_lowered)


def _lowered(value: _Value) -> _Value | None:
    return None if value.is_lowered else _Value(value.name, value.is_inverted, is_lowered=True)
