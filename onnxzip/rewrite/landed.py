"""A model whose weights run as integers, and the decoder of its biases and steps.

Biases of all layers are stored as int16, one behind the other, in units of what their layers add; those
that need more numbers than that stay int32. Steps of channels are stored as float16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxzip.codec.emit.nodes import cast
from onnxzip.graph import GraphBuilder, Model
from onnxzip.records.aliases import Array
from onnxzip.records.payload import IntegerGrid

N_BITS = 16
"""Of a stored bias."""

_MOST_UNITS = 16
"""That a stored integer may stand for: a thousandth of the largest product that a bias is added to,
255 * 63, so that the error is far below that of rounding one activation."""

_FIXED_BYTES, _BYTES_PER_TENSOR = 90, 2
"""What decodes tensors that are stored together takes beside the numbers: Cast, Mul and Split; and what
one more takes there, its name and its length, less the head of an initializer of its own."""


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

    def arrays(self, names: Sequence[str]) -> dict[str, Array]:
        """Return the values of initializers, by name."""
        tensors = {t.name: t for t in self.model.proto.graph.initializer}
        return {name: self.model.array(tensors[name]) for name in names}


@dataclass(frozen=True, eq=False)
class StoredBiases:
    """Biases as they are stored together.

    Attributes:
        unit: what each stored integer stands for.
        integers: int16 by name, as they are stored.
    """

    unit: int = 1
    integers: Mapping[str, Array] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """What the numbers take."""
        return sum(array.nbytes for array in self.integers.values())

    def values(self) -> dict[str, Array]:
        """Return what they decode to, int32."""
        return {name: array.astype(np.int32) * self.unit for name, array in self.integers.items()}


def stored_biases(landed: Landed) -> StoredBiases:
    """Return the biases that are stored together: none where that saves nothing."""
    arrays = landed.arrays(landed.biases)
    peaks = {name: int(np.abs(array).max()) for name, array in arrays.items()}
    fitting = [name for name, peak in peaks.items() if peak <= _MOST_UNITS * (2**15 - 1)]
    if not _is_smaller([arrays[name] for name in fitting]):
        return StoredBiases()
    unit = 1
    while max(peaks[name] for name in fitting) > unit * (2**15 - 1):
        unit *= 2
    return StoredBiases(unit, {name: np.rint(arrays[name] / unit).astype(np.int16) for name in fitting})


def emit_biases(stored: StoredBiases, builder: GraphBuilder) -> None:
    """Emit the decoder of biases that are stored together."""
    if not stored.integers:
        return
    unit = np.array(stored.unit, np.int32)
    _emit_together(stored.integers, unit, builder)


def stored_steps(landed: Landed) -> dict[str, Array]:
    """Return the steps of channels that are stored together, float16 by the name of the initializer."""
    names = [grid.scale for grid in landed.grids.values() if grid.steps.ndim]
    narrow = {}
    for name, array in landed.arrays(names).items():
        with np.errstate(over="ignore"):
            steps = array.astype(np.float16)
        if np.array_equal(steps.astype(np.float32), array):
            narrow[name] = steps
    return narrow if _is_smaller([array.astype(np.float32) for array in narrow.values()]) else {}


def emit_steps(stored: Mapping[str, Array], builder: GraphBuilder) -> None:
    """Emit the decoder of steps that are stored together, before any that reads them."""
    if stored:
        _emit_together(stored, np.array(1, np.float32), builder)


def _is_smaller(arrays: Sequence[Array]) -> bool:
    """Whether arrays are, stored together in half as many bytes."""
    n_saved = sum(array.nbytes // 2 for array in arrays)
    return n_saved > _FIXED_BYTES + _BYTES_PER_TENSOR * len(arrays)


def _emit_together(arrays: Mapping[str, Array], unit: Array, builder: GraphBuilder) -> None:
    """Emit what makes initializers, of the type of a unit, of numbers of it in a narrow type."""
    whole = np.concatenate(list(arrays.values()))
    dtype = unit.dtype.type
    value = cast(builder.constant(whole), whole.shape, dtype, builder)
    if unit != 1:
        value = builder.node("Mul", [value, builder.constant(unit)], whole.shape, dtype)
    shapes = [array.shape for array in arrays.values()]
    parts = builder.split(value, shapes, dtype) if len(shapes) > 1 else [value]
    for name, part in zip(arrays, parts, strict=True):
        builder.replace_constant(name, part)
