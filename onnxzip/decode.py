"""Emits the decode subgraphs of coefficients, packed or entropy coded, and scales them by their steps.

Packed arrays with the same alphabet share one payload and one table (Cast, Gather, Split). Every node
has a static shape and depends on initializers only, so a runtime folds it when the session is created
(CODEC.md, section 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.encoder import encode
from onnxzip.coding.packed import Alphabet, Integers, choose_alphabet, n_padded, pack
from onnxzip.entropy_decode import emit_streams
from onnxzip.passbase import Builder
from onnxzip.quantize import step_dtype
from onnxzip.types import Coefficients

_ONNX_FLOAT, _ONNX_INT32 = 1, 6


def emit_packed(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    """Emit all decoders; return one value name per item, (n_segments, length) float32 or int32."""
    groups: dict[tuple[Alphabet, bool], list[int]] = {}
    for i, item in enumerate(items):
        is_float = isinstance(item, Coefficients)
        groups.setdefault((choose_alphabet(_integers(item)), is_float), []).append(i)
    steps = _emit_steps([i for i in items if isinstance(i, Coefficients)], builder)
    names: dict[int, str] = {}
    for (alphabet, is_float), members in groups.items():
        parts = _emit_payload([_integers(items[i]) for i in members], alphabet, is_float, builder)
        for i, part in zip(members, parts, strict=True):
            item = items[i]
            names[i] = part
            if isinstance(item, Coefficients):
                names[i] = _scale(item, part, steps[id(item)], builder)
    return [names[i] for i in range(len(items))]


def emit_coded(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    """Emit all decoders, entropy coded together; return the same as `emit_packed`."""
    streams = encode([_integers(item).astype(np.int32) for item in items])
    wanted_integers = {i for i, item in enumerate(items) if not isinstance(item, Coefficients)}
    steps = _emit_steps([i for i in items if isinstance(i, Coefficients)], builder)
    parts = emit_streams(streams, builder, wanted_integers)
    return [
        _scale(item, part, steps[id(item)], builder) if isinstance(item, Coefficients) else part
        for item, part in zip(items, parts, strict=True)
    ]


def _integers(item: Coefficients | NDArray[np.int32]) -> Integers:
    return item.integers if isinstance(item, Coefficients) else item


def _emit_payload(
    arrays: Sequence[Integers], alphabet: Alphabet, is_float: bool, builder: Builder
) -> list[str]:
    """Decode one payload and split it; each output has its array's shape."""
    dtype, code = (np.float32, _ONNX_FLOAT) if is_float else (np.int32, _ONNX_INT32)
    sizes = [n_padded(a.size, alphabet) for a in arrays]
    payload = pack(arrays, alphabet)
    name = builder.constant(payload, "payload")
    if alphabet.digits == 1:
        value = builder.node("Cast", [name], payload.shape, dtype, to=code)
    else:
        index = builder.node("Cast", [name], payload.shape, np.int32, to=_ONNX_INT32)
        table = alphabet.table()
        table_name = builder.constant(table, "table")
        wide = builder.node("Cast", [table_name], table.shape, dtype, to=code)
        value = builder.node("Gather", [wide, index], (payload.size, alphabet.digits), dtype, axis=0)
        value = builder.reshape(value, (sum(sizes),), dtype)
    parts = [value] if len(sizes) == 1 else builder.split(value, [(s,) for s in sizes], dtype)
    return [_cut(part, array, dtype, builder) for part, array in zip(parts, arrays, strict=True)]


def _cut(part: str, array: Integers, dtype: type[np.generic], builder: Builder) -> str:
    """Drop the padding behind an array and give it its shape."""
    alphabet = choose_alphabet(array)
    if n_padded(array.size, alphabet) != array.size:
        starts = builder.constant(np.zeros(1, np.int64), "starts")
        ends = builder.constant(np.array([array.size], np.int64), "ends")
        part = builder.node("Slice", [part, starts, ends], (array.size,), dtype)
    return builder.reshape(part, array.shape, dtype)


def _scale(item: Coefficients, part: str, steps: str, builder: Builder) -> str:
    """Multiply integers by their steps; end with a Reshape (CODEC.md, rule 6)."""
    shape = item.integers.shape
    if item.steps.ndim == 3:
        grouped = (shape[0], item.steps.shape[1], shape[1] // item.steps.shape[1])
        part = builder.reshape(part, grouped)
        part = builder.node("Mul", [part, steps], grouped, np.float32)
    else:
        part = builder.node("Mul", [part, steps], shape, np.float32)
    return builder.reshape(part, shape)


def _emit_steps(items: Sequence[Coefficients], builder: Builder) -> dict[int, str]:
    """Store the steps of all coefficients, float16 ones apart, in one initializer a type."""
    names: dict[int, str] = {}
    for dtype in (np.dtype(np.float16), np.dtype(np.float32)):
        members = [item for item in items if step_dtype(item.steps) == dtype]
        if not members:
            continue
        joined = np.concatenate([item.steps.ravel() for item in members]).astype(dtype)
        value = builder.constant(joined, "steps")
        if dtype == np.float16:
            value = builder.node("Cast", [value], joined.shape, np.float32, to=_ONNX_FLOAT)
        parts = [value]
        if len(members) > 1:
            parts = builder.split(value, [(m.steps.size,) for m in members], np.float32)
        for item, part in zip(members, parts, strict=True):
            is_single = item.steps.size == 1
            names[id(item)] = part if is_single else builder.reshape(part, item.steps.shape)
    return names
