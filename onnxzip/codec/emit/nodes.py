"""Emits the small nodes that decode subgraphs are made of: all static, all safe to fold.

A runtime may refuse to fold a node whose output is larger than its inputs together and than some limit
(tract: 4 MiB). So what widens numbers is emitted in tiles: none makes more than LARGEST_EXPANDED bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import LARGEST_EXPANDED, Builder

_ONNX_TYPES: dict[type[np.generic], int] = {
    np.float32: 1,
    np.uint8: 2,
    np.int8: 3,
    np.uint16: 4,
    np.int16: 5,
    np.int32: 6,
    np.float64: 11,
}
"""What a Cast names its target by: TensorProto.DataType, onnx/onnx.proto."""

_MIN_CAST_BYTES = 60
"""What a Cast and the name of its value take in the file, measured; `passbase.NODE_OVERHEAD_BYTES`."""

_MIN_JOIN_BYTES = 100
"""What putting two bytes together takes: a Cast, a MatMul, their names and the places' values."""

Tile = tuple[str, tuple[int, ...]]
"""A value's name and shape."""


def cast(value: str, shape: Sequence[int], dtype: type[np.generic], builder: Builder) -> str:
    """Emit numbers of another type."""
    return builder.node("Cast", [value], shape, dtype, to=_ONNX_TYPES[dtype])


def scalar(value: int, builder: Builder) -> str:
    """Store an int32 scalar."""
    return builder.constant(np.array(value, np.int32))


def fill(value: int, shape: tuple[int, ...], builder: Builder) -> str:
    """Emit float32 numbers that are all the same; a large array as copies of a part, laid end to end."""
    n_rows, most = shape[0], max(LARGEST_EXPANDED // 4 // int(np.prod(shape[1:])), 1)
    size = builder.constant(np.array([min(n_rows, most), *shape[1:]], np.int64))
    part_shape = (min(n_rows, most), *shape[1:])
    number = builder.constant(np.array(value, np.float32))
    part = builder.node("Expand", [number, size], part_shape, np.float32)
    if n_rows <= most:
        return part
    parts = [part] * (n_rows // most)
    if n_rows % most:
        parts.append(cut(part, (n_rows % most, *shape[1:]), builder))
    return builder.node("Concat", parts, shape, np.float32, axis=0)


def count_up(shape: tuple[int, ...], builder: Builder) -> str:
    """Emit 0, 1, 2 ... along the first axis, int32."""
    return sum_before(fill(1, shape, builder), shape, builder)


def sum_before(value: str, shape: tuple[int, ...], builder: Builder) -> str:
    """Emit the sums of all numbers before each along the first axis, int32.

    The numbers are whole ones as float32, their sums below 2^24: OpenVINO folds no CumSum of integers.
    """
    total = builder.node("CumSum", [value, scalar(0, builder)], shape, np.float32, exclusive=1)
    return cast(total, shape, np.int32, builder)


def sum_up_to(value: str, shape: tuple[int, ...], builder: Builder) -> str:
    """Emit the sums of all numbers up to each along the first axis; as `sum_before`."""
    total = builder.node("CumSum", [value, scalar(0, builder)], shape, np.float32)
    return cast(total, shape, np.int32, builder)


def look_up(
    table: str,
    index: str,
    shape: Sequence[int],
    builder: Builder,
    dtype: type[np.generic] = np.int32,
) -> str:
    """Emit the rows of a table that indices tell, of the given shape."""
    return builder.node("Gather", [table, index], shape, dtype)


def cut(
    value: str,
    shape: tuple[int, ...],
    builder: Builder,
    axis: int = 0,
    *,
    start: int = 0,
    dtype: type[np.generic] = np.float32,
) -> str:
    """Emit the `shape[axis]` entries along an axis from `start` on."""
    bounds = [start, start + shape[axis], *([axis] if axis else [])]
    names = [builder.constant(np.array([n], np.int64)) for n in bounds]
    return builder.node("Slice", [value, *names], shape, dtype)


def split_if_many(
    value: str, shapes: Sequence[tuple[int, ...]], dtype: type[np.generic], builder: Builder
) -> list[str]:
    """Split along axis 0 where there is anything to split."""
    return [value] if len(shapes) == 1 else builder.split(value, shapes, dtype)


@dataclass(frozen=True)
class Values:
    """An array in the graph."""

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]

    def widened(self, dtype: type[np.generic], builder: Builder) -> str:
        """Emit it in another type."""
        return self.name if self.dtype is dtype else cast(self.name, self.shape, dtype, builder)


def in_tiles_of(
    arrays: Sequence[Values],
    most: int,
    emit: Callable[[Sequence[Values]], Tile],
    builder: Builder,
    made: type[np.generic],
) -> str:
    """Emit a function of arrays of one shape by parts of an axis, laid end to end.

    Args:
        arrays: the arrays.
        most: numbers that a part may have.
        emit: takes a part of each, returns name and shape of what it makes of them.
        builder: emits the nodes that part the arrays and join what is made.
        made: the type of what is made.
    """
    shape = arrays[0].shape
    size = int(np.prod(shape))
    if size <= most:
        return emit(arrays)[0]
    # the first axis that can be cut finely enough, or the longest
    axis = next((a for a, n in enumerate(shape) if size // n <= most), int(np.argmax(shape)))
    n_parts = min(-(-shape[axis] // max(most * shape[axis] // size, 1)), shape[axis])
    ends = np.linspace(0, shape[axis], n_parts + 1).astype(int)
    shapes = [(*shape[:axis], int(n), *shape[axis + 1 :]) for n in np.diff(ends)]
    parts = [
        [Values(name, s, a.dtype) for name, s in zip(names, shapes, strict=True)]
        for a in arrays
        for names in [builder.split(a.name, shapes, a.dtype, axis)]
    ]
    tiles = [emit(part) for part in zip(*parts, strict=True)]
    whole = (*shape, *tiles[0][1][len(shape) :])
    return builder.node("Concat", [name for name, _ in tiles], whole, made, axis=axis)


def in_tiles(
    value: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    most: int,
    emit: Callable[[str, tuple[int, ...]], Tile],
    builder: Builder,
    made: type[np.generic] = np.uint8,
) -> str:
    """Emit a function of one array by parts; see `in_tiles_of`."""
    return in_tiles_of(
        [Values(value, shape, dtype)],
        most,
        lambda parts: emit(parts[0].name, parts[0].shape),
        builder,
        made,
    )


def widened(
    value: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    builder: Builder,
    stored: type[np.generic] = np.uint8,
) -> str:
    """Emit small integers, of type `stored`, in a wider type; a large array in tiles."""
    if stored is dtype:
        return value

    def emit(parts: Sequence[Values]) -> Tile:
        return parts[0].widened(dtype, builder), parts[0].shape

    most = LARGEST_EXPANDED // np.dtype(dtype).itemsize
    return in_tiles_of([Values(value, shape, stored)], most, emit, builder, dtype)


def small_ints(array: NDArray[np.integer], builder: Builder, dtype: type[np.generic] = np.int32) -> str:
    """Store integers in as few bytes as hold them, where that saves more than the nodes cost.

    Two bytes are stored as such and put together: onnxruntime-web's WebGPU build has no 16-bit integers.
    """
    low, high = int(array.min()), int(array.max())
    for small in (np.uint8, np.int8):
        saved = array.size * (np.dtype(dtype).itemsize - 1)
        if np.iinfo(small).min <= low and high <= np.iinfo(small).max and saved > _MIN_CAST_BYTES:
            return widened(builder.constant(array.astype(small)), array.shape, dtype, builder, small)
    if low < 0 or high >= 1 << 16 or 2 * array.size <= _MIN_JOIN_BYTES:
        return builder.constant(array.astype(dtype))
    halves = np.stack([array >> 8, array & 255], axis=-1).astype(np.uint8)
    numbers = widened(builder.constant(halves), halves.shape, np.float32, builder)
    places = builder.constant(np.array([256, 1], np.float32))
    whole = builder.node("MatMul", [numbers, places], array.shape, np.float32)
    return whole if dtype is np.float32 else cast(whole, array.shape, dtype, builder)
