"""Divides a value channel by channel in what makes it, so that nothing is computed for it.

That is in gain and offset of a normalisation, in the factors of a Mul, in the columns and the bias of a
weight; and in the shifts of an Add and through a Relu on the way there, as long as nobody else reads
what is between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onnxzip.graph import GraphEditor
from onnxzip.passbase import NodeView
from onnxzip.propose.quantising.region import Multiplication
from onnxzip.records.aliases import Array

_NORMS = ("LayerNormalization", "RMSNormalization")
_HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu", "Identity")
"""f(x / s) = f(x) / s for all s above 0."""

_MAX_STEPS = 8
"""Nodes that a division goes up through; chains of them are shorter."""


@dataclass(frozen=True)
class Change:
    """A constant input of a node that is divided or multiplied.

    Attributes:
        node: the node.
        place: which of its inputs.
        axis: that of the channels.
    """

    node: NodeView
    place: int
    axis: int


@dataclass
class Divider:
    """Divides values of a graph that is edited.

    Attributes:
        editor: edits it.
        may_change: whether a constant may, by its name.
        inputs: what nodes read by now, by their keys.
        producers: the node that makes a value.
    """

    editor: GraphEditor
    may_change: Callable[[str], bool]
    inputs: dict[int, list[str]] = field(default_factory=dict)
    producers: dict[str, NodeView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.editor.nodes():
            self.inputs[node.key] = list(node.inputs)
            self.producers.update(dict.fromkeys(node.outputs, node))

    def weight(self, multiplication: Multiplication) -> NDArray[np.float32]:
        """Return a weight as it is by now, (n_in, n_out)."""
        array = self.editor.constant(self.inputs[multiplication.node.key][1])
        assert array is not None  # it was when the node was found
        return np.asarray(array if multiplication.axis == 1 else array.T, np.float32)

    def multiply(self, change: Change, factors: NDArray[np.float32]) -> None:
        """Multiply a constant along its axis by factors."""
        name = self.inputs[change.node.key][change.place]
        array = self.editor.constant(name)
        assert array is not None  # `changes` saw it
        shape = [1] * array.ndim
        shape[change.axis] = -1
        product = np.asarray(array * factors.reshape(shape), np.float32)
        self.read(change.node, change.place, self.editor.add_constant(product, name))

    def read(self, node: NodeView, place: int, value: str) -> None:
        """Let a node read another value."""
        self.inputs[node.key][place] = value
        self.editor.set_inputs(node, self.inputs[node.key])

    def changes(self, value: str, readers: Collection[int], width: int) -> list[Change] | None:
        """Return what has to be divided for a value to be; None where that does not work.

        Args:
            value: its name.
            readers: keys of the nodes that are to read the divided one, in each of their inputs.
            width: the number of its channels.
        """
        changes: list[Change] = []
        for _ in range(_MAX_STEPS):
            node = self.producers.get(value)
            n_reads = sum(self.inputs[key].count(value) for key in readers)
            is_inner = self.editor.n_uses(value) == n_reads and not self.editor.is_output(value)
            if node is None or not is_inner or node.domain or node.outputs[0] != value:
                return None
            if node.op_type in ("MatMul", "Gemm", *_NORMS, "Mul"):
                last = self._last_changes(node, width)
                return None if last is None else [*changes, *last]
            if node.op_type == "Add":
                place = self._place(node, width)
                if place is None:
                    return None
                changes.append(Change(node, place, -1))
                value = self.inputs[node.key][1 - place]
            elif node.op_type in _HOMOGENEOUS:
                value = self.inputs[node.key][0]
            else:
                return None
            readers = [node.key]
        return None

    def _last_changes(self, node: NodeView, width: int) -> list[Change] | None:
        """Return what of the first node to divide has to change; None where that does not work."""
        if node.op_type == "Mul":
            place = self._place(node, width)
            return None if place is None else [Change(node, place, -1)]
        if node.op_type in _NORMS:
            places = [place for place in (1, 2) if place < len(node.inputs) and node.inputs[place]]
            is_fit = all(self._is_fit(node, place, width) for place in places)
            return [Change(node, place, 0) for place in places] if is_fit else None
        axis = 0 if node.attributes.get("transB", 0) else 1
        weight = self._constant(node, 1)
        if weight is None or weight.ndim != 2 or weight.shape[axis] != width:
            return None
        if self.editor.n_uses(self.inputs[node.key][1]) > 1:
            return None
        if len(node.inputs) < 3 or not node.inputs[2]:
            return [Change(node, 1, axis)]
        return [Change(node, 1, axis), Change(node, 2, -1)] if self._is_fit(node, 2, width) else None

    def _place(self, node: NodeView, width: int) -> int | None:
        """Return which input of a Mul or Add is a constant with a number for each channel."""
        return next((place for place in (0, 1) if self._is_fit(node, place, width)), None)

    def _is_fit(self, node: NodeView, place: int, width: int) -> bool:
        """Whether an input is a constant with a number for each channel of the last axis."""
        array = self._constant(node, place)
        return array is not None and array.ndim > 0 and array.shape[-1] == array.size == width

    def _constant(self, node: NodeView, place: int) -> Array | None:
        """Return a float32 constant that may change, None where an input is none."""
        array = self.editor.constant(self.inputs[node.key][place])
        is_fit = array is not None and array.dtype == np.float32 and self.may_change(node.inputs[place])
        return array if is_fit else None
