"""Emits the small nodes that decode subgraphs are made of: all static, all safe to fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder

_ONNX_TYPES = {np.float32: 1, np.int32: 6, np.float64: 11}
"""What a Cast names its target by: TensorProto.DataType, onnx/onnx.proto."""

_MIN_CAST_BYTES = 60
"""What a Cast and the name of its value take in the file, measured; `passbase.NODE_OVERHEAD_BYTES`."""


def cast(value: str, shape: Sequence[int], dtype: type[np.generic], builder: Builder) -> str:
    """Emit numbers of another type, float32, float64 or int32."""
    return builder.node("Cast", [value], shape, dtype, to=_ONNX_TYPES[dtype])


def scalar(value: int, builder: Builder) -> str:
    """Store an int32 scalar."""
    return builder.constant(np.array(value, np.int32))


def fill(value: int, size: int, builder: Builder) -> str:
    """Emit (size,) int32 of one value."""
    shape = builder.constant(np.array([size], np.int64))
    return builder.node("Expand", [scalar(value, builder), shape], (size,), np.int32)


def sum_before(value: str, size: int, builder: Builder) -> str:
    """Emit the sums of all numbers before each, (size,) int32."""
    return builder.node("CumSum", [value, scalar(0, builder)], (size,), np.int32, exclusive=1)


def sum_up_to(value: str, size: int, builder: Builder) -> str:
    """Emit the sums of all numbers up to each, (size,) int32."""
    return builder.node("CumSum", [value, scalar(0, builder)], (size,), np.int32)


def look_up(table: str, index: str, shape: Sequence[int], builder: Builder, axis: int = 0) -> str:
    """Emit the entries of an int32 table, of the given shape."""
    attributes = {"axis": axis} if axis else {}
    return builder.node("Gather", [table, index], shape, np.int32, **attributes)


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


def small_ints(array: NDArray[np.integer], builder: Builder, dtype: type[np.generic] = np.int32) -> str:
    """Store integers in the smallest type and cast them, where that saves more than the Cast costs."""
    low, high = int(array.min()), int(array.max())
    for small in (np.uint8, np.int8, np.uint16, np.int16):
        saved = array.size * (4 - np.dtype(small).itemsize)
        if np.iinfo(small).min <= low and high <= np.iinfo(small).max and saved > _MIN_CAST_BYTES:
            return cast(builder.constant(array.astype(small)), array.shape, dtype, builder)
    return builder.constant(array.astype(dtype))
