"""Puts QuantizeLinear and DequantizeLinear around what computes in int8, and lands weights on integers.

While weights are still chosen, they stay float32 initializers: `with_rounded_values` rounds the values
that they meet, and that is all that a search for them needs to know. `land` then lets every weight W
that was settled on pass through QuantizeLinear and DequantizeLinear as well, an int8 step for each
output channel, and gives biases as int32 in steps of both scales' product, as QLinearConv and QGemm add
them. Whatever makes W is folded when a session is created, up to the integers; what runs is fused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.graph import GraphEditor, Model
from onnxzip.passbase import NodeView
from onnxzip.propose.quantising.grid import Grid
from onnxzip.propose.quantising.region import Multiplication, Region
from onnxzip.records.aliases import Array

INT32 = 6
"""TensorProto.DataType of int32."""


@dataclass(frozen=True)
class Landing:
    """A weight that ends as int8.

    Attributes:
        weight: its name.
        axis: of its output channels.
        uses: names of the output of each node that reads it.
        biases: for each of these the name of its bias, "" where it has none or adds it as float32.
        scales: for each of these the name of its input's scale, "" where that is not known beforehand.
    """

    weight: str
    axis: int
    outputs: tuple[str, ...]
    biases: tuple[str, ...]
    scales: tuple[str, ...]


class _Rounder:
    """Rounds values of a graph while it is edited; knows what its nodes read by now."""

    def __init__(self, editor: GraphEditor, grids: Mapping[str, Grid]) -> None:
        self.editor, self._grids = editor, grids
        self.scales: dict[str, str] = {}
        self._zeros: dict[int, str] = {}
        self._steps: dict[float, str] = {}
        self._views = editor.nodes()
        self._inputs = {node.key: list(node.inputs) for node in self._views}

    def read_instead(self, reader: NodeView, old: str, new: str) -> None:
        """Let a node read another value."""
        inputs = [new if name == old else name for name in self._inputs[reader.key]]
        self._inputs[reader.key] = inputs
        self.editor.set_inputs(reader, inputs)

    def readers_of(self, value: str) -> list[NodeView]:
        return [node for node in self._views if value in node.inputs]

    def round(self, value: str, source: str) -> str:
        """Add the two nodes; return the name of the rounded value."""
        grid = self._grids[source]
        if grid.scale not in self._steps:
            self._steps[grid.scale] = self.editor.add_constant(np.array(grid.scale, np.float32), "scale")
        if grid.zero_point not in self._zeros:
            zero = np.array(grid.zero_point, np.uint8)
            self._zeros[grid.zero_point] = self.editor.add_constant(zero, "zero_point")
        scale, zero_point = self._steps[grid.scale], self._zeros[grid.zero_point]
        self.scales[value] = scale
        integers = self.editor.add_node("QuantizeLinear", [value, scale, zero_point], value, {})
        return self.editor.add_node("DequantizeLinear", [integers, scale, zero_point], value, {})

    def round_at_runs(self, value: str) -> str:
        """Likewise by the range that the value has in each run."""
        integers, scale, zero_point = self.editor.add_wide_node(
            "DynamicQuantizeLinear", [value], value, 3
        )
        return self.editor.add_node("DequantizeLinear", [integers, scale, zero_point], value, {})


def with_rounded_values(
    model: Model, region: Region, grids: Mapping[str, Grid]
) -> tuple[Model, list[Landing]]:
    """Return a copy of the model with the values of a region rounded, and where its weights end.

    Args:
        model: the model whose editor found the region.
        region: what is to compute in int8.
        grids: the grid of each value that has one of its own.
    """
    changed = model.copy()
    rounder = _Rounder(GraphEditor(changed), grids)
    inside = {m.node.key for m in region.multiplications if not m.is_dynamic}
    inside |= {carrier.key for carrier in region.carriers}
    for value, source in region.rounded.items():
        readers = [r for r in rounder.readers_of(value) if value in region.made or r.key in inside]
        rounded = rounder.round(value, source)
        for reader in readers:
            rounder.read_instead(reader, value, rounded)
    dynamic = [m for m in region.multiplications if m.is_dynamic]
    for value in dict.fromkeys(m.data for m in dynamic):
        rounded = rounder.round_at_runs(value)
        for multiplication in dynamic:
            if multiplication.data == value:
                rounder.read_instead(multiplication.node, value, rounded)
    rounder.editor.commit()
    return changed, _landings(region.multiplications, rounder.scales)


def _landings(multiplications: Sequence[Multiplication], scales: Mapping[str, str]) -> list[Landing]:
    uses: dict[str, list[Multiplication]] = {}
    for multiplication in multiplications:
        uses.setdefault(multiplication.weight, []).append(multiplication)
    return [
        Landing(
            weight,
            found[0].axis,
            tuple(m.node.outputs[0] for m in found),
            tuple(m.bias for m in found),
            tuple("" if m.is_dynamic else scales[m.data] for m in found),
        )
        for weight, found in uses.items()
    ]


def land(model: Model, landings: Sequence[Landing], scales: Mapping[str, Array]) -> Model:
    """Return a copy of the model in which weights and biases are integers.

    Args:
        model: one that `with_rounded_values` made, with any weights.
        landings: likewise.
        scales: float32 steps of each weight's output channels, by the weight's name.
    """
    changed = model.copy()
    editor = GraphEditor(changed)
    views = {node.outputs[0]: node for node in editor.nodes()}
    zeros: dict[int, str] = {}
    for landing in landings:
        steps = scales[landing.weight]
        if len(steps) not in zeros:
            zeros[len(steps)] = editor.add_constant(np.zeros(len(steps), np.int8), "zero_points")
        scale = editor.add_constant(steps, "scales")
        axis = {"axis": landing.axis}
        operands = [scale, zeros[len(steps)]]
        integers = editor.add_node("QuantizeLinear", [landing.weight, *operands], landing.weight, axis)
        landed = editor.add_node("DequantizeLinear", [integers, *operands], landing.weight, axis)
        for output, bias, of_input in zip(landing.outputs, landing.biases, landing.scales, strict=True):
            node = views[output]
            inputs = [landed if name == landing.weight else name for name in node.inputs]
            if bias and of_input:
                inputs[2] = _landed_bias(editor, bias, scale, of_input)
            editor.set_inputs(node, inputs)
    editor.commit()
    return changed


def _landed_bias(editor: GraphEditor, bias: str, scale: str, of_input: str) -> str:
    """Return the name of a bias as int32, rounded towards 0, of which it has 24 bits and more."""
    step = editor.add_node("Mul", [scale, of_input], bias, {})
    levels = editor.add_node("Div", [bias, step], bias, {})
    integers = editor.add_node("Cast", [levels], bias, {"to": INT32})
    return editor.add_node("DequantizeLinear", [integers, step], bias, {"axis": 0})


LARGEST = 63
"""Largest integer of a weight: with 7 bits, sums of two products with uint8 fit the int16 of processors
without VNNI (2 * 255 * 63 < 2^15; onnxruntime's quantisation page calls this reduced range)."""


def steps_of(weight: Array, axis: int) -> Array:
    """Return a float32 step for each output channel, at which none of its numbers exceeds LARGEST."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peaks = np.abs(weight).max(axis=others)
    return np.asarray(np.maximum(peaks, np.finfo(np.float32).tiny * 2**20) / LARGEST, np.float32)
