"""Emits the decode subgraphs of coefficients, packed or entropy coded, and scales them by their steps.

Packed arrays with the same alphabet share one payload and one table (Cast, Gather, Split). Every node
has a static shape and depends on initializers only, so a runtime folds it when the session is created
(CODEC.md, section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

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
from onnxzip.codec.emit.nodes import Tile, cast, cut, in_tiles, split_if_many, widened
from onnxzip.codec.emit.scaled import Scaling, emit_integers, emit_members, plan_scaling
from onnxzip.codec.emit.stacks import Stack, find_stacks
from onnxzip.codec.emit.steps import emit_steps
from onnxzip.codec.emit.streams import Emitted
from onnxzip.codec.windows import choose_window, parted
from onnxzip.passbase import LARGEST_EXPANDED, Builder
from onnxzip.records.payload import Coefficients, Stored
from onnxzip.transforms.moves import Moves, moved

_LARGE_ARRAY = 1 << 16
"""From this size on an array has a payload of its own: a few nodes more, a copy less at load."""


def emit_packed(items: Sequence[Stored], builder: Builder, moves: Sequence[Moves] = ()) -> list[str]:
    """Emit all decoders.

    Args:
        items: coefficients and whole numbers.
        builder: emits the nodes.
        moves: for each item how its value is wanted; none where it is wanted as it is.

    Returns:
        The name of each item's value, behind its moves: float32, or what whole numbers are wanted in.
    """
    moves = moves_of(items, moves)
    chosen = {i: item for i, item in enumerate(items) if isinstance(item, Coefficients)}
    stacks = find_stacks(chosen, moves, lambda item: _kind(item.integers))
    scalings = [plan_scaling(stack) for _, stack in stacks]
    # the order of what is packed is free: it is stored as it is wanted
    arrays = [moved(k.integers, s.before) for (_, k), s in zip(stacks, scalings, strict=True)]
    scalings = [s.with_moved(a.shape) for s, a in zip(scalings, arrays, strict=True)]
    factors = [packed_factor(array) for array in arrays]
    parts = emit_parts(arrays, factors, lambda highs: emit_groups(highs, builder), builder)
    names = emit_stacks(stacks, scalings, parts, factors, builder)
    rest = {
        i: replace(item, integers=moved(item.integers, moves[i]))
        for i, item in enumerate(items)
        if not isinstance(item, Coefficients)
    }
    arrays = [item.integers for item in rest.values()]
    windows = [choose_window(array) for array in arrays]
    factors = [window.factor for window in windows]
    largest = [window.largest for window in windows]
    parts = emit_parts(arrays, factors, lambda highs: _emit_windows(highs, largest, builder), builder)
    for (i, item), own_parts, factor in zip(rest.items(), parts, factors, strict=True):
        names[i] = emit_integers(own_parts, factor, item, (), builder)
    return [names[i] for i in range(len(items))]


def _emit_windows(
    arrays: Sequence[Integers], largest: Sequence[int | None], builder: Builder
) -> list[Emitted]:
    """Emit packed arrays without what lies outside of their windows, which is to be put in place yet."""
    both = [parted(array, most) for array, most in zip(arrays, largest, strict=True)]
    parts = emit_groups([inside for inside, _ in both], builder)
    return [replace(part, outliers=outside) for part, (_, outside) in zip(parts, both, strict=True)]


def _kind(integers: Integers) -> tuple[Alphabet, int]:
    """Return how integers are packed: what is packed alike can be stacked."""
    factor = packed_factor(integers)
    return choose_alphabet(split(integers, factor)[0] if factor > 1 else integers), factor


def emit_parts(
    arrays: Sequence[Integers],
    factors: Sequence[int],
    emit_highs: Callable[[list[Integers]], list[Emitted]],
    builder: Builder,
) -> list[list[Emitted]]:
    """Emit arrays whole, or as high and low parts (`coding.split`); return the parts of each.

    Args:
        arrays: integers.
        factors: by which each is split; 1 leaves it whole.
        emit_highs: emits the whole ones and the high parts; the low parts are packed.
        builder: emits the nodes.
    """
    halves = {i: split(arrays[i], factor) for i, factor in enumerate(factors) if factor > 1}
    highs = emit_highs([halves[i][0] if i in halves else a for i, a in enumerate(arrays)])
    lows = dict(zip(halves, emit_groups([low for _, low in halves.values()], builder), strict=True))
    return [[high, *([lows[i]] if i in lows else [])] for i, high in enumerate(highs)]


def emit_stacks(
    stacks: Sequence[tuple[Sequence[int], Stack]],
    scalings: Sequence[Scaling],
    parts: Sequence[Sequence[Emitted]],
    factors: Sequence[int],
    builder: Builder,
) -> dict[int, str]:
    """Emit the coefficients of stacks from their integers; return their names by number.

    Args:
        stacks: with the numbers of their members.
        scalings: how the steps of each are applied.
        parts: the integers of each, or high and low parts of them.
        factors: by which they were split.
        builder: emits the nodes.
    """
    steps = emit_steps([stack for _, stack in stacks], scalings, builder)
    names: dict[int, str] = {}
    for i, (numbers, stack) in enumerate(stacks):
        values = emit_members(stack, parts[i], factors[i], scalings[i], steps[i], builder)
        names.update(zip(numbers, values, strict=True))
    return names


def moves_of(items: Sequence[Stored], moves: Sequence[Moves]) -> Sequence[Moves]:
    """Return each item's moves: none where no item has any."""
    return moves or [()] * len(items)


def emit_groups(arrays: Sequence[Integers], builder: Builder) -> list[Emitted]:
    """Emit packed arrays, those with the same alphabet together, each in its shape."""
    groups: dict[Alphabet, list[int]] = {}
    for i, array in enumerate(arrays):
        groups.setdefault(choose_alphabet(array), []).append(i)
    found: dict[int, Emitted] = {}
    for alphabet, members in groups.items():
        parts = _emit_payload([arrays[i] for i in members], alphabet, builder)
        found.update(zip(members, parts, strict=True))
    return [found[i] for i in range(len(arrays))]


def _emit_payload(arrays: Sequence[Integers], alphabet: Alphabet, builder: Builder) -> list[Emitted]:
    """Decode one payload and split it; each output has its array's shape."""
    if alphabet.digits == 1:  # nothing to unpack: without a Split, 4 bytes a weight less at load
        dtype = alphabet.dtype.type
        return [Emitted(builder.constant(a.astype(dtype)), a.shape, dtype) for a in arrays]
    table = _emit_table(alphabet, builder)
    found: dict[int, Emitted] = {}
    small = [i for i, array in enumerate(arrays) if array.size < _LARGE_ARRAY]
    for members in (small, *([i] for i in range(len(arrays)) if i not in small)):
        parts = _look_up([arrays[i] for i in members], alphabet, table, builder)
        found.update(zip(members, parts, strict=True))
    return [found[i] for i in range(len(arrays))]


def _emit_table(alphabet: Alphabet, builder: Builder) -> str:
    """Emit what each stored number decodes to, (base ** digits, digits) int8.

    That of two bytes is made of its columns: stored it would take more than what it packs.
    """
    if alphabet.base not in TWO_BYTES:
        return builder.constant(alphabet.table())
    n = alphabet.digits
    symbols = np.arange(alphabet.base, dtype=np.float32) + np.float32(alphabet.offset)

    def along(axis: int, numbers: NDArray[np.float32]) -> str:
        shape = [1] * (n + 1)
        shape[axis] = alphabet.base
        return builder.constant(numbers.reshape(shape))

    # Zeros of all sizes are added up instead of expanded: opset 7 has no Expand, nor a sum of int8.
    whole, shape = along(0, np.zeros_like(symbols)), [alphabet.base] + [1] * n
    for axis in range(1, n):
        shape[axis] = alphabet.base
        whole = builder.node("Add", [whole, along(axis, np.zeros_like(symbols))], shape, np.float32)
    columns = [
        cast(builder.node("Add", [whole, along(i, symbols)], shape, np.float32), shape, np.int8, builder)
        for i in range(n)
    ]
    rows = builder.node("Concat", columns, (*shape[:n], n), np.int8, axis=n)
    return builder.reshape(rows, (alphabet.base**n, n), np.int8)


def _look_up(
    arrays: Sequence[Integers], alphabet: Alphabet, table: str, builder: Builder
) -> list[Emitted]:
    """Decode arrays from one payload, a Gather from the table for all."""
    if not arrays:
        return []
    payload, digits = pack(arrays, alphabet), alphabet.digits

    def emit(part: str, shape: tuple[int, ...]) -> Tile:
        index = widened(part, shape, np.int32, builder, payload.dtype.type)
        made = (*shape, digits)
        return builder.node("Gather", [table, index], made, np.int8, axis=0), made

    # of up to 4 integers a number, the table's rows are no larger than the numbers that tell them
    most = LARGEST_EXPANDED // max(digits, 4)
    stored = builder.constant(payload)
    value = in_tiles(stored, payload.shape, payload.dtype.type, most, emit, builder, np.int8)
    rows = [n_padded(a.size, alphabet) // digits for a in arrays]
    parts = split_if_many(value, [(n, digits) for n in rows], np.int8, builder)
    return [_cut(part, array, builder) for part, array in zip(parts, arrays, strict=True)]


def _cut(part: str, array: Integers, builder: Builder) -> Emitted:
    """Drop the padding behind an array."""
    alphabet = choose_alphabet(array)
    n_all = n_padded(array.size, alphabet)
    if n_all == array.size:
        return Emitted(part, (array.size // alphabet.digits, alphabet.digits), np.int8)
    part = builder.reshape(part, (n_all,), np.int8)
    return Emitted(cut(part, (array.size,), builder, dtype=np.int8), (array.size,), np.int8)
