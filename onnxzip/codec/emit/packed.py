"""Emits the decode subgraphs of coefficients, packed or entropy coded, and scales them by their steps.

Packed arrays with the same alphabet share one payload and one table (Cast, Gather, Split). Every node
has a static shape and depends on initializers only, so a runtime folds it when the session is created
(CODEC.md, section 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.packed import (
    TWO_BYTES,
    Alphabet,
    Integers,
    choose_alphabet,
    n_padded,
    pack,
)
from onnxzip.codec.coding.split import packed_factor, split
from onnxzip.codec.emit.nodes import cast, cut, split_if_many
from onnxzip.codec.emit.steps import emit_scaled, emit_steps
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients

_LARGE_ARRAY = 1 << 16
"""From this size on an array has a payload of its own: a few nodes more, a copy less at load."""


def emit_packed(items: Sequence[Coefficients | NDArray[np.int32]], builder: Builder) -> list[str]:
    """Emit all decoders; return one value name per item, (n_segments, length) float32 or int32."""
    names: dict[int, str] = {}
    for is_float in (True, False):
        members = [i for i, item in enumerate(items) if isinstance(item, Coefficients) == is_float]
        arrays = [_as_multiplied(items[i]) for i in members]
        parts = _emit_wide(arrays, builder) if is_float else emit_groups(arrays, False, builder)
        names.update(zip(members, parts, strict=True))
    coefficients = {i: item for i, item in enumerate(items) if isinstance(item, Coefficients)}
    steps = emit_steps(list(coefficients.values()), builder)
    for i, item in coefficients.items():
        names[i] = emit_scaled(item, names[i], steps[id(item)], builder)
    return [names[i] for i in range(len(items))]


def _emit_wide(arrays: Sequence[Integers], builder: Builder) -> list[str]:
    """Emit packed arrays as floats; those of 6, 6.67 and 12 bits in two parts."""
    factors = {i: f for i, array in enumerate(arrays) if (f := packed_factor(array)) > 1}
    halves = {i: split(arrays[i], factor) for i, factor in factors.items()}
    whole = [halves[i][0] if i in halves else array for i, array in enumerate(arrays)]
    names = emit_groups(whole, True, builder)
    lows = emit_groups([low for _, low in halves.values()], True, builder)
    for (i, factor), low in zip(factors.items(), lows, strict=True):
        names[i] = join(names[i], low, factor, arrays[i].shape, builder)
    return names


def join(high: str, low: str, factor: int, shape: tuple[int, ...], builder: Builder) -> str:
    """Emit the integers that were split (`coding.split`), as floats."""
    step = builder.constant(np.array([factor], np.float32))
    high = builder.node("Mul", [high, step], shape, np.float32)
    return builder.node("Add", [high, low], shape, np.float32)


def emit_groups(arrays: Sequence[Integers], is_float: bool, builder: Builder) -> list[str]:
    """Emit packed arrays, those with the same alphabet together; return their values' names."""
    groups: dict[Alphabet, list[int]] = {}
    for i, array in enumerate(arrays):
        groups.setdefault(choose_alphabet(array), []).append(i)
    names: dict[int, str] = {}
    for alphabet, members in groups.items():
        parts = _emit_payload([arrays[i] for i in members], alphabet, is_float, builder)
        names.update(zip(members, parts, strict=True))
    return [names[i] for i in range(len(arrays))]


def integers_of(item: Coefficients | NDArray[np.int32]) -> Integers:
    """Return the integers of coefficients, or the integers themselves."""
    return item.integers if isinstance(item, Coefficients) else item


def _as_multiplied(item: Coefficients | NDArray[np.int32]) -> Integers:
    """Return the integers of coefficients in the shape that steps broadcast to: a Reshape less."""
    return item.integers.reshape(item.view) if isinstance(item, Coefficients) else item


def _emit_payload(
    arrays: Sequence[Integers], alphabet: Alphabet, is_float: bool, builder: Builder
) -> list[str]:
    """Decode one payload and split it; each output has its array's shape."""
    dtype: type[np.generic] = np.float32 if is_float else np.int32
    if alphabet.digits == 1:  # nothing to unpack: without a Split, 4 bytes a weight less at load
        stored = [builder.constant(a.astype(alphabet.dtype)) for a in arrays]
        pairs = zip(stored, arrays, strict=True)
        return [cast(name, array.shape, dtype, builder) for name, array in pairs]
    wide = _emit_table(alphabet, dtype, builder)
    names: dict[int, str] = {}
    small = [i for i, array in enumerate(arrays) if array.size < _LARGE_ARRAY]
    for members in (small, *([i] for i in range(len(arrays)) if i not in small)):
        parts = _look_up([arrays[i] for i in members], alphabet, wide, dtype, builder)
        names.update(zip(members, parts, strict=True))
    return [names[i] for i in range(len(arrays))]


def _emit_table(alphabet: Alphabet, dtype: type[np.generic], builder: Builder) -> str:
    """Emit what each stored number decodes to, (base ** digits, digits).

    That of two bytes is made of its columns: stored it would take more than what it packs.
    """
    if alphabet.base not in TWO_BYTES:
        table = alphabet.table()
        return cast(builder.constant(table), table.shape, dtype, builder)
    n = alphabet.digits
    symbols = np.arange(alphabet.base).astype(dtype) + dtype(alphabet.offset)

    def along(axis: int, numbers: NDArray[np.generic]) -> str:
        shape = [1] * (n + 1)
        shape[axis] = alphabet.base
        return builder.constant(numbers.reshape(shape))

    # Zeros of all sizes are added up instead of expanded: opset 7 has no Expand.
    whole, shape = along(0, np.zeros_like(symbols)), [alphabet.base] + [1] * n
    for axis in range(1, n):
        shape[axis] = alphabet.base
        whole = builder.node("Add", [whole, along(axis, np.zeros_like(symbols))], shape, dtype)
    columns = [builder.node("Add", [whole, along(i, symbols)], shape, dtype) for i in range(n)]
    rows = builder.node("Concat", columns, (*shape[:n], n), dtype, axis=n)
    return builder.reshape(rows, (alphabet.base**n, n), dtype)


def _look_up(
    arrays: Sequence[Integers], alphabet: Alphabet, table: str, dtype: type[np.generic], builder: Builder
) -> list[str]:
    """Decode arrays from one payload, a Gather from the table for all."""
    if not arrays:
        return []
    payload = pack(arrays, alphabet)
    index = cast(builder.constant(payload), payload.shape, np.int32, builder)
    value = builder.node("Gather", [table, index], (payload.size, alphabet.digits), dtype, axis=0)
    rows = [n_padded(a.size, alphabet) // alphabet.digits for a in arrays]
    parts = split_if_many(value, [(n, alphabet.digits) for n in rows], dtype, builder)
    return [_cut(part, array, dtype, builder) for part, array in zip(parts, arrays, strict=True)]


def _cut(part: str, array: Integers, dtype: type[np.generic], builder: Builder) -> str:
    """Drop the padding behind an array and give it its shape."""
    alphabet = choose_alphabet(array)
    n_all = n_padded(array.size, alphabet)
    if n_all != array.size:
        part = builder.reshape(part, (n_all,), dtype)
        part = cut(part, (array.size,), builder, dtype=dtype)
    return builder.reshape(part, array.shape, dtype)
