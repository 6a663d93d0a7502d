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
from onnxzip.coding.packed import Alphabet, Integers, choose_alphabet, n_packed_bytes, n_padded, pack
from onnxzip.coding.split import choose_shift, split
from onnxzip.entropy_decode import emit_streams
from onnxzip.feedback import STEPS_PER_OCTAVE
from onnxzip.passbase import Builder
from onnxzip.quantize import n_ideal_bits, step_dtype
from onnxzip.types import Coefficients

_ONNX_FLOAT, _ONNX_INT32 = 1, 6
_LEAST_GAIN, _LEAST_GAIN_LARGE, _MANY_INTEGERS = 1 / 32, 1 / 8, 1 << 20
"""What entropy coding has to save: it takes several times the memory of packing, which adds up."""

_LARGE_ARRAY = 1 << 16
"""From this size on an array has a payload of its own: a few nodes more, a copy less at load."""


def emit_packed(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    """Emit all decoders; return one value name per item, (n_segments, length) float32 or int32."""
    names: dict[int, str] = {}
    for is_float in (True, False):
        members = [i for i, item in enumerate(items) if isinstance(item, Coefficients) == is_float]
        parts = _emit_groups([_integers(items[i]) for i in members], is_float, builder)
        names.update(zip(members, parts, strict=True))
    coefficients = {i: item for i, item in enumerate(items) if isinstance(item, Coefficients)}
    steps = _emit_steps(list(coefficients.values()), builder)
    for i, item in coefficients.items():
        names[i] = _scale(item, names[i], steps[id(item)], builder)
    return [names[i] for i in range(len(items))]


def emit_coded(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    """Emit all decoders, entropy coded together; return the same as `emit_packed`.

    What is of fixed rate is packed, and so are integer arrays that are no coefficients and would hardly
    be smaller coded. Long arrays of wide integers are split (`coding.split`): the high parts are coded,
    the low bits packed.
    """
    n_integers = sum(item.size for item in items if not isinstance(item, Coefficients))
    least_gain = _LEAST_GAIN_LARGE if n_integers >= _MANY_INTEGERS else _LEAST_GAIN
    packed = [i for i, item in enumerate(items) if _suits_packing(item, least_gain)]
    names = dict(zip(packed, emit_packed([items[i] for i in packed], builder), strict=True))
    coded = [i for i in range(len(items)) if i not in names]
    names.update(zip(coded, _emit_streams([items[i] for i in coded], builder), strict=True))
    return [names[i] for i in range(len(items))]


def _suits_packing(item: Coefficients | NDArray[np.int32], least_gain: float) -> bool:
    if isinstance(item, Coefficients):
        return item.is_fixed_rate
    return n_ideal_bits(item) > (1 - least_gain) * 8 * n_packed_bytes(item)


def _emit_streams(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    whole = [_integers(item).astype(np.int32) for item in items]
    is_float = [isinstance(item, Coefficients) for item in items]
    shifts = [choose_shift(a) if f else 0 for a, f in zip(whole, is_float, strict=True)]
    lows: dict[int, Integers] = {}
    for i, shift in enumerate(shifts):
        if shift:
            whole[i], lows[i] = split(whole[i], shift)
    streams = encode(whole)
    steps = _emit_steps([item for item in items if isinstance(item, Coefficients)], builder)
    parts = emit_streams(streams, builder, {i for i, f in enumerate(is_float) if not f})
    low_parts = dict(zip(lows, _emit_groups(list(lows.values()), True, builder), strict=True))
    names: list[str] = []
    for i, (item, part) in enumerate(zip(items, parts, strict=True)):
        if i in low_parts:
            part = _join(part, low_parts[i], shifts[i], whole[i].shape, builder)
        if isinstance(item, Coefficients):
            part = _scale(item, part, steps[id(item)], builder)
        names.append(part)
    return names


def _join(high: str, low: str, shift: int, shape: tuple[int, ...], builder: Builder) -> str:
    factor = builder.constant(np.array([1 << shift], np.float32), "factor")
    high = builder.node("Mul", [high, factor], shape, np.float32)
    return builder.node("Add", [high, low], shape, np.float32)


def _emit_groups(arrays: Sequence[Integers], is_float: bool, builder: Builder) -> list[str]:
    """Emit packed arrays, those with the same alphabet together; return their values' names."""
    groups: dict[Alphabet, list[int]] = {}
    for i, array in enumerate(arrays):
        groups.setdefault(choose_alphabet(array), []).append(i)
    names: dict[int, str] = {}
    for alphabet, members in groups.items():
        parts = _emit_payload([arrays[i] for i in members], alphabet, is_float, builder)
        names.update(zip(members, parts, strict=True))
    return [names[i] for i in range(len(arrays))]


def _integers(item: Coefficients | NDArray[np.int32]) -> Integers:
    return item.integers if isinstance(item, Coefficients) else item


def _emit_payload(
    arrays: Sequence[Integers], alphabet: Alphabet, is_float: bool, builder: Builder
) -> list[str]:
    """Decode one payload and split it; each output has its array's shape."""
    dtype, code = (np.float32, _ONNX_FLOAT) if is_float else (np.int32, _ONNX_INT32)
    if alphabet.digits == 1:  # nothing to unpack: without a Split, 4 bytes a weight less at load
        stored = [builder.constant(a.astype(alphabet.dtype), "payload") for a in arrays]
        return [
            builder.node("Cast", [name], array.shape, dtype, to=code)
            for name, array in zip(stored, arrays, strict=True)
        ]
    table = alphabet.table()
    name = builder.constant(table, "table")
    wide = builder.node("Cast", [name], table.shape, dtype, to=code)
    names: dict[int, str] = {}
    small = [i for i, array in enumerate(arrays) if array.size < _LARGE_ARRAY]
    for members in (small, *([i] for i in range(len(arrays)) if i not in small)):
        parts = _look_up([arrays[i] for i in members], alphabet, wide, dtype, builder)
        names.update(zip(members, parts, strict=True))
    return [names[i] for i in range(len(arrays))]


def _look_up(
    arrays: Sequence[Integers], alphabet: Alphabet, table: str, dtype: type[np.generic], builder: Builder
) -> list[str]:
    """Decode arrays from one payload, a Gather from the table for all."""
    if not arrays:
        return []
    payload = pack(arrays, alphabet)
    name = builder.constant(payload, "payload")
    index = builder.node("Cast", [name], payload.shape, np.int32, to=_ONNX_INT32)
    value = builder.node("Gather", [table, index], (payload.size, alphabet.digits), dtype, axis=0)
    rows = [n_padded(a.size, alphabet) // alphabet.digits for a in arrays]
    parts = _split(value, [(n, alphabet.digits) for n in rows], dtype, builder)
    return [_cut(part, array, dtype, builder) for part, array in zip(parts, arrays, strict=True)]


def _cut(part: str, array: Integers, dtype: type[np.generic], builder: Builder) -> str:
    """Drop the padding behind an array and give it its shape."""
    alphabet = choose_alphabet(array)
    n_all = n_padded(array.size, alphabet)
    if n_all != array.size:
        part = builder.reshape(part, (n_all,), dtype)
        starts = builder.constant(np.zeros(1, np.int64), "starts")
        ends = builder.constant(np.array([array.size], np.int64), "ends")
        part = builder.node("Slice", [part, starts, ends], (array.size,), dtype)
    return builder.reshape(part, array.shape, dtype)


def _scale(item: Coefficients, part: str, steps: str, builder: Builder) -> str:
    """Multiply integers by their steps; end with a Reshape (CODEC.md, rule 6)."""
    shape, view = item.integers.shape, item.view
    if view != shape:
        part = builder.reshape(part, view)
    part = builder.node("Mul", [part, steps], view, np.float32)
    return builder.reshape(part, shape)


def _emit_steps(items: Sequence[Coefficients], builder: Builder) -> dict[int, str]:
    """Store the steps of all coefficients, float16 ones apart, in one initializer a type."""
    names = _emit_grids([item for item in items if item.outer is not None], builder)
    items = [item for item in items if item.outer is None]
    for dtype in (np.dtype(np.float16), np.dtype(np.float32)):
        members = [item for item in items if step_dtype(item.steps) == dtype]
        if not members:
            continue
        joined = np.concatenate([item.steps.ravel() for item in members]).astype(dtype)
        value = builder.constant(joined, "steps")
        if dtype == np.float16:
            value = builder.node("Cast", [value], joined.shape, np.float32, to=_ONNX_FLOAT)
        parts = _split(value, [(m.steps.size,) for m in members], np.float32, builder)
        for item, part in zip(members, parts, strict=True):
            is_single = item.steps.size == 1
            names[id(item)] = part if is_single else builder.reshape(part, item.steps.shape)
    return names


def _emit_grids(items: Sequence[Coefficients], builder: Builder) -> dict[int, str]:
    """Store the steps of columns as exponents, a byte each; return each item's (n_outer, n_inner, 1)."""
    names = _emit_powers([item.steps for item in items], builder)
    outer = {
        i: item.outer for i, item in enumerate(items) if item.outer is not None and item.outer.size > 1
    }
    for (i, array), name in zip(outer.items(), _emit_powers([*outer.values()], builder), strict=True):
        shape = (len(array), len(items[i].steps), 1)
        names[i] = builder.node("Mul", [name, names[i]], shape, np.float32)
    return {id(item): name for item, name in zip(items, names, strict=True)}


def _emit_powers(arrays: Sequence[NDArray[np.float32]], builder: Builder) -> list[str]:
    """Look up powers of 2 ** (1 / STEPS_PER_OCTAVE) by their exponents; arrays differ in length only."""
    if not arrays:
        return []
    joined = np.concatenate(arrays)
    exponents = np.rint(np.log2(joined.astype(np.float64)) * STEPS_PER_OCTAVE).astype(np.int64)
    lowest, highest = int(exponents.min()), int(exponents.max())
    powers = np.exp2(np.arange(lowest, highest + 1) / STEPS_PER_OCTAVE).astype(np.float32)
    stored = (exponents - lowest).astype(np.min_scalar_type(highest - lowest))
    index = builder.constant(stored, "exponents")
    index = builder.node("Cast", [index], joined.shape, np.int32, to=_ONNX_INT32)
    table = builder.constant(powers, "powers")
    value = builder.node("Gather", [table, index], joined.shape, np.float32, axis=0)
    return _split(value, [array.shape for array in arrays], np.float32, builder)


def _split(
    value: str, shapes: Sequence[tuple[int, ...]], dtype: type[np.generic], builder: Builder
) -> list[str]:
    """Split along axis 0 where there is anything to split."""
    return [value] if len(shapes) == 1 else builder.split(value, shapes, dtype)
