"""A model whose weights run as integers, and the decoder of its biases.

Biases of all layers are stored as int16, one behind the other, in units of what their layers add; those
that need more numbers than that stay int32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxzip.graph import GraphBuilder, Model
from onnxzip.records.aliases import Array
from onnxzip.records.payload import IntegerGrid

N_BITS = 16
"""Of a stored bias."""

_MOST_UNITS = 16
"""That a stored integer may stand for: a thousandth of the largest product that a bias is added to,
255 * 63, so that the error is far below that of rounding one activation."""

_FIXED_BYTES, _BYTES_PER_BIAS = 90, -2
"""What decodes them takes in a file beside the numbers: Cast, Mul and Split; a bias more there, its name
and its length, less the head of an initializer of its own."""


@dataclass(frozen=True, eq=False)
class Landed:
    """A model whose weights run as integers, if any do.

    Attributes:
        model: the model; weights that landed are int8 initializers, biases int32.
        grids: what the weights landed on, by name.
        biases: names of the biases.
    """

    model: Model
    grids: Mapping[str, IntegerGrid] = field(default_factory=dict)
    biases: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class StoredBiases:
    """Biases as they are stored together.

    Attributes:
        unit: what each stored integer stands for.
        integers: int16 by name, as they are stored.
    """

    unit: int = 1
    integers: Mapping[str, Array] = field(default_factory=dict)

    def values(self) -> dict[str, Array]:
        """Return what they decode to, int32."""
        return {name: array.astype(np.int32) * self.unit for name, array in self.integers.items()}


def stored_biases(landed: Landed) -> StoredBiases:
    """Return the biases that are stored together: none where that saves nothing."""
    tensors = {t.name: t for t in landed.model.proto.graph.initializer}
    arrays = {name: landed.model.array(tensors[name]) for name in landed.biases}
    peaks = {name: int(np.abs(array).max()) for name, array in arrays.items()}
    fitting = [name for name, peak in peaks.items() if peak <= _MOST_UNITS * (2**15 - 1)]
    n_saved = sum(arrays[name].nbytes // 2 - _BYTES_PER_BIAS for name in fitting) - _FIXED_BYTES
    if n_saved <= 0:
        return StoredBiases()
    unit = 1
    while max(peaks[name] for name in fitting) > unit * (2**15 - 1):
        unit *= 2
    return StoredBiases(unit, {name: np.rint(arrays[name] / unit).astype(np.int16) for name in fitting})


def emit_biases(stored: StoredBiases, builder: GraphBuilder) -> None:
    """Emit the decoder of biases that are stored together."""
    if not stored.integers:
        return
    arrays = list(stored.integers.values())
    whole = np.concatenate(arrays)
    value = builder.node("Cast", [builder.constant(whole)], whole.shape, np.int32, to=_INT32)
    if stored.unit > 1:
        unit = builder.constant(np.array(stored.unit, np.int32))
        value = builder.node("Mul", [value, unit], whole.shape, np.int32)
    parts = (
        [value]
        if len(arrays) == 1
        else builder.split(value, [array.shape for array in arrays], np.int32)
    )
    for name, part in zip(stored.integers, parts, strict=True):
        builder.replace_constant(name, part)


_INT32 = 6
"""TensorProto.DataType of int32."""
