"""How a model scales its inputs before anything else happens to them: a division by 255, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import read_by
from onnxzip.graph.reading.tensors import (
    constant_value,
    float_dtype,
    integer_dtype,
    n_elements,
    tensor_array,
)
from onnxzip.records.input_scaling import InputScaling

Numbers = NDArray[np.float64]

_SAME_VALUES = frozenset(
    (
        *("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Flatten", "Dropout"),
        *("Resize", "QuantizeLinear", "DequantizeLinear"),
    )
)
"""Operators whose outputs hold values of their first input; the last two, as a pair, nearly."""

_NORMALISATIONS = frozenset(
    (
        *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "LpNormalization"),
        *("MeanVarianceNormalization", "SimplifiedLayerNormalization"),
    )
)
_NO_VALUES = frozenset(("Shape", "Size"))
"""Operators that read sizes only."""

_MOST_CHANNELS = 4
"""Red, green, blue, alpha: longer constants are the means of features, not of pixels."""


def first_scalings(model: Model) -> dict[str, InputScaling]:
    """Return how each graph input is scaled first; an input that is not is left out.

    The values are followed through what moves or converts them, as long as one node alone reads them,
    and through sums and products with constants of one value, or of one for each of up to 4 channels.
    """
    graph = _Graph(model)
    found: dict[str, InputScaling] = {}
    for value in model.proto.graph.input:
        scaling = graph.follow(value.name) if value.name not in graph.constants else None
        if scaling is not None:
            found[value.name] = scaling
    return found


@dataclass
class _Affine:
    """x * factors + offsets so far."""

    factors: Numbers = field(default_factory=lambda: np.ones(1))
    offsets: Numbers = field(default_factory=lambda: np.zeros(1))

    def then(self, factors: Numbers, offsets: Numbers) -> _Affine | None:
        """Return what it is with another one behind it; None if that is none for pixels."""
        sizes = {len(part) for part in (self.factors, factors, offsets)} - {1}
        if len(sizes) > 1 or not (np.isfinite(factors).all() and factors.all()):
            return None
        return _Affine(self.factors * factors, self.offsets * factors + offsets)


class _Graph:
    """Who reads a value of the main graph, and which values are constants."""

    def __init__(self, model: Model) -> None:
        graph = model.proto.graph
        self.constants: dict[str, Numbers] = {}
        for tensor in graph.initializer:
            if _is_scaling(tensor):
                self.constants[tensor.name] = np.ravel(model.array(tensor)).astype(np.float64)
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            tensor = constant_value(node)
            if tensor is not None and _is_scaling(tensor):
                self.constants[node.output[0]] = np.ravel(tensor_array(tensor)).astype(np.float64)
            for name in read_by([node]):
                self._readers.setdefault(name, []).append(node)

    def follow(self, name: str) -> InputScaling | None:
        """Return what happens to the values of an input, None where nothing does."""
        affine, is_changed, is_normalised = _Affine(), False, False
        while node := self._reader(name):
            if node.op_type in _NORMALISATIONS and node.input[0] == name:
                is_normalised = True
                break
            if node.op_type not in _SAME_VALUES or node.input[0] != name:
                step = self._step(node, name)
                following = affine.then(*step) if step else None
                if following is None:
                    break
                affine, is_changed = following, True
            name = node.output[0]
        if not (is_changed or is_normalised):
            return None
        factors, offsets = np.broadcast_arrays(affine.factors, affine.offsets)
        return InputScaling(tuple(factors.tolist()), tuple(offsets.tolist()), is_normalised)

    def _reader(self, name: str) -> onnx.NodeProto | None:
        readers = [node for node in self._readers.get(name, ()) if node.op_type not in _NO_VALUES]
        is_plain = (
            len(readers) == 1 and name in readers[0].input and readers[0].domain in ("", "ai.onnx")
        )
        return readers[0] if is_plain else None

    def _step(self, node: onnx.NodeProto, name: str) -> tuple[Numbers, Numbers] | None:
        """Return the factors and offsets of a node, None if it is no scaling by constants."""
        if node.op_type == "BatchNormalization":
            return self._batch_normalization(node)
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(set(node.input)) != 2:
            return None
        other = self.constants.get(next(given for given in node.input if given != name))
        if other is None:
            return None
        one, zero = np.ones(1), np.zeros(1)
        is_first = node.input[0] == name
        with np.errstate(divide="ignore"):
            if node.op_type == "Add":
                return one, other
            if node.op_type == "Sub":
                return (one, -other) if is_first else (-one, other)
            if node.op_type == "Mul":
                return other, zero
            return (1 / other, zero) if is_first else None

    def _batch_normalization(self, node: onnx.NodeProto) -> tuple[Numbers, Numbers] | None:
        parts: Sequence[Numbers] = [self.constants[n] for n in node.input[1:] if n in self.constants]
        if len(parts) != 4:
            return None
        gain, shift, mean, variance = parts
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factors = gain / np.sqrt(variance + epsilon)
        return factors, shift - mean * factors


def _is_scaling(tensor: onnx.TensorProto) -> bool:
    """Whether a constant has one value, or one for each channel of a picture."""
    is_number = float_dtype(tensor) is not None or integer_dtype(tensor) is not None
    return is_number and 0 < n_elements(tensor) <= _MOST_CHANNELS
