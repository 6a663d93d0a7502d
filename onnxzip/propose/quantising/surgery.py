"""Puts QuantizeLinear and DequantizeLinear around what computes in int8.

While weights are still chosen, they stay float32 initializers: `with_rounded_values` rounds the values
that they meet, and that is all that a search for them needs to know. Weights that were settled on then
become integers (`landing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxzip.graph import GraphEditor, Model
from onnxzip.passbase import NodeView
from onnxzip.propose.quantising.grid import Grid
from onnxzip.propose.quantising.landing import Landing
from onnxzip.propose.quantising.region import Multiplication, Region, by_weight


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
    return [
        Landing(
            weight,
            found[0].axis,
            tuple(m.node.outputs[0] for m in found),
            tuple(m.bias for m in found),
            tuple("" if m.is_dynamic else scales[m.data] for m in found),
        )
        for weight, found in by_weight(multiplications).items()
    ]
