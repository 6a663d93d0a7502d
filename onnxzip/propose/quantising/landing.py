"""Lets weights and biases that were settled on be integers, as QLinearConv and QGemm take them.

A weight is int8 behind DequantizeLinear; whatever decodes it ends with a QuantizeLinear, so that all of
it is folded when a session is created, up to the integers. A bias is int32 in steps of the product of
both scales; what runs is fused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.graph import GraphEditor, Model
from onnxzip.propose.quantising.steps import grid_for
from onnxzip.records.aliases import Array
from onnxzip.records.payload import IntegerGrid
from onnxzip.rewrite.landed import Landed

_LARGEST_BIAS = 1 << 30
"""Half of what int32 holds: sums of products have the other half."""

_AXIS_OPSET = 13
"""From here on QuantizeLinear may have a scale for each channel (ONNX's Changelog.md)."""


@dataclass(frozen=True)
class Landing:
    """A weight that ends as int8.

    Attributes:
        weight: its name.
        axis: of its output channels.
        outputs: names of the output of each node that reads it.
        biases: for each of these the name of its bias, "" where it has none or adds it as float32.
        scales: for each of these the name of its input's scale, "" where that is not known beforehand.
    """

    weight: str
    axis: int
    outputs: tuple[str, ...]
    biases: tuple[str, ...]
    scales: tuple[str, ...]

    @property
    def integer_biases(self) -> tuple[str, ...]:
        """Names of the biases that end as int32, "" for each node that has none such."""
        return tuple(bias if scale else "" for bias, scale in zip(self.biases, self.scales, strict=True))


class _Lander:
    """Lands weights of a model one after the other."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._editor = GraphEditor(model)
        self._views = {node.outputs[0]: node for node in self._editor.nodes()}
        self._zeros: dict[tuple[int, ...], str] = {}
        self.grids: dict[str, IntegerGrid] = {}
        self.biases: list[str] = []

    def land(self, landing: Landing, weight: Array, original: Array) -> None:
        """Land a weight, float32, that was `original` before it was coded."""
        views = [self._views[output] for output in landing.outputs]
        uses = list(zip(views, landing.integer_biases, landing.scales, strict=True))
        least = np.zeros(weight.shape[landing.axis], np.float32)
        for _, bias, scale in uses:
            if bias:
                least = np.maximum(least, self._least_steps(bias, scale))
        has_axis = self.model.opset >= _AXIS_OPSET
        grid = grid_for(weight, original, landing.axis, least, has_axis=has_axis)
        self.grids[landing.weight] = grid
        steps = self._editor.add_constant(grid.steps, "scale")
        operands = [steps, self._zero_point(grid.steps.shape)]
        axis = {"axis": landing.axis} if grid.steps.ndim else {}
        stored = self._editor.add_constant(grid.integers(weight), landing.weight)
        landed = self._editor.add_node("DequantizeLinear", [stored, *operands], landing.weight, axis)
        for node, bias, scale in uses:
            inputs = [landed if name == landing.weight else name for name in node.inputs]
            if bias:
                inputs[2] = self._landed_bias(bias, grid.steps, steps, scale)
            self._editor.set_inputs(node, inputs)
            self._editor.drop_attribute(node, "kernel_shape")  # which the weight's shape says: 22 bytes

    def result(self) -> Landed:
        """Return the model, when all has landed."""
        self._editor.commit()
        names = {
            node.input[0]: list(node.input[1:])
            for node in self.model.proto.graph.node
            if node.op_type == "DequantizeLinear"
        }
        grids = {
            weight: replace(grid, scale=names[weight][0], zero_point=names[weight][1])
            for weight, grid in self.grids.items()
        }
        return Landed(self.model, grids, tuple(self.biases))

    def _least_steps(self, bias: str, of_input: str) -> NDArray[np.float32]:
        """Return the steps of a weight below which a bias would not fit."""
        unit = _LARGEST_BIAS * self._constant(of_input).astype(np.float64)
        return np.asarray(np.abs(self._constant(bias)) / unit, np.float32)

    def _landed_bias(self, bias: str, steps: NDArray[np.float32], name: str, of_input: str) -> str:
        """Return the name of a bias as int32 behind DequantizeLinear.

        Args:
            bias: its name.
            steps: of the weight.
            name: what they are called.
            of_input: the name of the input's scale.
        """
        products = np.asarray(steps * self._constant(of_input), np.float32)
        values = self._constant(bias)
        levels = np.divide(values, products, out=np.zeros_like(values), where=products > 0)
        integers = np.rint(levels).astype(np.int32)
        self.biases.append(bias)
        stored = self._editor.add_constant(integers, bias)
        if not products.ndim:
            scale = self._editor.add_constant(products, "bias_scale")
            return self._editor.add_node("DequantizeLinear", [stored, scale], bias, {})
        scale = self._editor.add_node("Mul", [name, of_input], bias, {})
        return self._editor.add_node("DequantizeLinear", [stored, scale], bias, {"axis": 0})

    def _zero_point(self, shape: tuple[int, ...]) -> str:
        if shape not in self._zeros:
            self._zeros[shape] = self._editor.add_constant(np.zeros(shape, np.int8), "zero_point")
        return self._zeros[shape]

    def _constant(self, name: str) -> Array:
        array = self._editor.constant(name)
        assert array is not None
        return array


def land(
    model: Model,
    landings: Sequence[Landing],
    originals: Mapping[str, Array],
    restored: Callable[[str], Array | None],
) -> Landed:
    """Return a copy of the model in which weights and biases are integers.

    Args:
        model: one that `with_rounded_values` made, with any biases.
        landings: likewise.
        originals: float32 weights as they were, by name.
        restored: returns what they are decoded to, None where they are left alone.
    """
    lander = _Lander(model.copy())
    for landing in landings:
        original = originals[landing.weight]
        weight = restored(landing.weight)
        lander.land(landing, original if weight is None else np.asarray(weight), original)
    return lander.result()
