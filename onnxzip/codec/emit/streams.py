"""Emits the decode subgraph of `coding.prefix` streams: flat, static shapes, safe ops only.

The graph is the decoder of `coding.prefix` operation by operation (CODEC.md, section 1): int32
arithmetic on numbers below 2^24, int32 look-ups, no loop. Sorting the table of tuples uses that the sort
key cost * n_rows + number is small: a one is scattered to each key, and the cumulative sum over all
possible keys is the rank.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from onnxzip.codec.coding.bits import MAX_WIDTH
from onnxzip.codec.coding.prefix import MIN_GAP_POSITIONS, Book, Chunk, Streams, Unit
from onnxzip.codec.coding.trees import ROOTS
from onnxzip.codec.emit.nodes import (
    cast,
    cut,
    fill,
    look_up,
    scalar,
    small_ints,
    split_if_many,
    sum_before,
    sum_up_to,
)
from onnxzip.codec.emit.tuple_table import emit_table, positions
from onnxzip.passbase import Builder

_MIN_SPLIT_BYTES = 1 << 17
"""From here on windows are made after the split, which takes less memory but more nodes."""


def emit_streams(
    streams: Streams,
    builder: Builder,
    integers: Collection[int] = (),
    shapes: Mapping[int, tuple[int, ...]] | None = None,
) -> list[str]:
    """Emit the decoder of all arrays.

    Args:
        streams: what `coding.encoder.encode` made of all arrays of a model.
        builder: what the subgraph is emitted into.
        integers: indices of the arrays that are wanted as int32; the others become float32.
        shapes: shapes that some arrays are wanted in; (n,) saves a small array its Reshape.

    Returns:
        The name of each array's value in the arrays' order, (n_segments, length) unless `shapes` says
        otherwise.
    """
    wanted = {**dict(enumerate(streams.shapes)), **(shapes or {})}
    names: dict[int, str] = {}
    for i, plain in streams.plain.items():
        dtype: type[np.generic] = np.int32 if i in integers else np.float32
        names[i] = cast(builder.constant(plain.reshape(wanted[i])), wanted[i], dtype, builder)
    if streams.book is not None:
        rows = _Rows(builder, streams.book)
        table = emit_table(streams.book, builder)
        parts = _split_rows([rows.emit(chunk) for chunk in streams.chunks], streams, builder)
        for unit, part in zip(streams.units, parts, strict=True):
            values = _emit_unit(unit, part, table, streams, wanted, builder)
            for i, name in zip(unit.members, values, strict=True):
                if i in integers:
                    name = cast(name, wanted[i], np.int32, builder)
                names[i] = name
    return [names[i] for i in range(len(streams.shapes))]


class _Rows:
    """Emits the part of the decoder that turns a chunk into table rows; holds the per-node tables."""

    def __init__(self, builder: Builder, book: Book) -> None:
        self._builder = builder
        self._book = book
        n_nodes = len(book.widths)
        powers = builder.constant(1 << np.arange(MAX_WIDTH + 1, dtype=np.int32))
        self._widths = cast(builder.constant(book.widths), (n_nodes,), np.int32, builder)
        self._sizes = look_up(powers, self._widths, (n_nodes,), builder)
        nodes, increments = book.resets
        first = self._sizes
        if len(nodes):
            inputs = [first, builder.constant(nodes), builder.constant(increments)]
            first = builder.node("ScatterElements", inputs, (n_nodes,), np.int32)
        first = sum_before(first, n_nodes, builder)
        if book.start:
            first = builder.node("Add", [first, scalar(book.start, builder)], (n_nodes,), np.int32)
        self._first = first

    def emit(self, chunk: Chunk) -> str:
        """Emit the table row of each tuple, (n_tuples,) int32."""
        builder, shape = self._builder, (chunk.n_tuples,)
        node = self._emit_start(chunk)
        for windows in self._emit_windows(chunk):
            width = look_up(self._widths, node, shape, builder)
            position = sum_before(width, chunk.n_tuples, builder)
            window = look_up(windows, position, shape, builder)
            size = look_up(self._sizes, node, shape, builder)
            bits = builder.node("Mod", [window, size], shape, np.int32)
            first = look_up(self._first, node, shape, builder)
            node = builder.node("Add", [first, bits], shape, np.int32)
        return self._emit_literals(chunk, node)

    def _emit_literals(self, chunk: Chunk, rows: str) -> str:
        """Put the literal rows in their places."""
        n = len(chunk.literal_positions)
        if not n:
            return rows
        if n <= MIN_GAP_POSITIONS:
            literals = self._builder.constant(chunk.first_literal + np.arange(n, dtype=np.int32))
        else:
            literals = sum_before(fill(1, n, self._builder), n, self._builder)
            if chunk.first_literal:
                first = scalar(chunk.first_literal, self._builder)
                literals = self._builder.node("Add", [literals, first], (n,), np.int32)
        inputs = [rows, positions(chunk.literal_positions, self._builder), literals]
        return self._builder.node("ScatterElements", inputs, (chunk.n_tuples,), np.int32)

    def _emit_start(self, chunk: Chunk) -> str:
        """Emit the first node of each tuple: its context, its root field, or both."""
        builder, shape, n_roots = self._builder, (chunk.n_tuples,), self._book.n_roots
        contexts = ""
        if chunk.contexts.any() or not n_roots:
            contexts = self._emit_contexts(chunk)
        if not n_roots:
            return contexts
        n, n_digits = len(chunk.roots), ROOTS[n_roots]
        packed = cast(builder.constant(chunk.roots[:, None]), (n, 1), np.int32, builder)
        places = builder.constant(n_roots ** np.arange(n_digits, dtype=np.int32)[None])
        roots = builder.node("Div", [packed, places], (n, n_digits), np.int32)
        roots = builder.node("Mod", [roots, scalar(n_roots, builder)], (n, n_digits), np.int32)
        roots = builder.reshape(roots, shape, np.int32)
        return builder.node("Add", [roots, contexts], shape, np.int32) if contexts else roots

    def _emit_contexts(self, chunk: Chunk) -> str:
        """Emit the first node of each tuple's context as the sum of the changes before it."""
        builder, n = self._builder, chunk.n_tuples
        changes = np.diff(chunk.contexts.astype(np.int32) * max(self._book.n_roots, 1), prepend=0)
        zeros = fill(0, n, builder)
        if not changes.any():
            return zeros
        inputs = [zeros, positions(chunk.starts, builder), small_ints(changes, builder)]
        return sum_up_to(builder.node("ScatterElements", inputs, (n,), np.int32), n, builder)

    def _emit_windows(self, chunk: Chunk) -> list[str]:
        """Emit the table of all windows (`coding.bits`) of each level.

        Every level has its own: an input that several nodes share is copied for each when it is large.
        """
        builder, n = self._builder, len(chunk.fields)
        sizes = np.diff(np.append(chunk.level_starts, n - 1)).tolist()
        wide = cast(builder.constant(chunk.fields[:, None]), (n, 1), np.int32, builder)
        low, high = (cut(wide, (n - 1, 1), builder, start=i, dtype=np.int32) for i in range(2))
        high = builder.node("Mul", [high, scalar(256, builder)], (n - 1, 1), np.int32)
        pairs = builder.node("Add", [low, high], (n - 1, 1), np.int32)
        if len(sizes) == 1 or n < _MIN_SPLIT_BYTES:
            windows = self._windows(pairs, n - 1)
            return split_if_many(windows, [(8 * k,) for k in sizes], np.int32, builder)
        parts = builder.split(pairs, [(k, 1) for k in sizes], np.int32)
        return [self._windows(part, k) for part, k in zip(parts, sizes, strict=True)]

    def _windows(self, pairs: str, n: int) -> str:
        places = self._builder.constant(1 << np.arange(8, dtype=np.int32)[None])
        shifted = self._builder.node("Div", [pairs, places], (n, 8), np.int32)
        return self._builder.reshape(shifted, (8 * n,), np.int32)


def _split_rows(rows: Sequence[str], streams: Streams, builder: Builder) -> list[str]:
    """Cut the chunks' rows at the units' edges; return one value for each unit."""
    unit_edges = np.cumsum([0, *(unit.n_tuples for unit in streams.units)])
    parts: list[list[str]] = [[] for _ in streams.units]
    start = 0
    for name, chunk in zip(rows, streams.chunks, strict=True):
        end = start + chunk.n_tuples
        edges = np.unique(np.clip(unit_edges, start, end))
        pieces = split_if_many(name, [(int(n),) for n in np.diff(edges)], np.int32, builder)
        for piece, edge in zip(pieces, edges, strict=False):
            parts[int(np.searchsorted(unit_edges, edge, side="right")) - 1].append(piece)
        start = end
    return [
        p[0] if len(p) == 1 else builder.node("Concat", p, (unit.n_tuples,), np.int32, axis=0)
        for p, unit in zip(parts, streams.units, strict=True)
    ]


def _emit_unit(
    unit: Unit,
    rows: str,
    table: str,
    streams: Streams,
    wanted: Mapping[int, tuple[int, ...]],
    builder: Builder,
) -> list[str]:
    """Emit the float32 values of a unit's arrays."""
    assert streams.book is not None
    length = streams.book.order.length
    value = builder.node("Gather", [table, rows], (unit.n_tuples, length), np.float32)
    padded = [(n, unit.row_length or size) for n, size in (streams.shapes[i] for i in unit.members)]
    sizes = [n * size for n, size in padded]
    n_unused = unit.n_tuples * length - sum(sizes)
    parts, is_flat = [value], False
    if len(unit.overlay.codes):
        value = builder.reshape(value, (unit.n_tuples * length,))
        parts, is_flat = [_lay_over(value, unit, length, builder)], True
    if n_unused or len(sizes) > 1:
        value = parts[0] if is_flat else builder.reshape(value, (unit.n_tuples * length,))
        pieces = [(n,) for n in sizes] + ([(n_unused,)] if n_unused else [])
        parts, is_flat = builder.split(value, pieces, np.float32)[: len(sizes)], True
    values = []
    for i, part, shape in zip(unit.members, parts, padded, strict=True):
        if shape != streams.shapes[i]:
            part = cut(builder.reshape(part, shape), streams.shapes[i], builder, axis=1)
            shape = streams.shapes[i]
            if wanted[i] != shape:
                part = builder.reshape(part, wanted[i])
        elif not is_flat or len(wanted[i]) != 1:
            part = builder.reshape(part, wanted[i])
        values.append(part)
    return values


def _lay_over(value: str, unit: Unit, length: int, builder: Builder) -> str:
    """Write the overlay's ones into a unit's flat values (`coding.overlay.Overlay.read`)."""
    overlay = unit.overlay
    n, shape = len(overlay.codes), (len(overlay.codes),)
    codes = cast(builder.constant(overlay.codes), shape, np.int32, builder)
    three = scalar(3, builder)
    advances = builder.node("Div", [codes, three], shape, np.int32)
    if len(overlay.jumps):
        jumps = [positions(overlay.jumps, builder), small_ints(overlay.advances, builder)]
        advances = builder.node("ScatterElements", [advances, *jumps], shape, np.int32)
    digits = builder.node("Mod", [codes, three], shape, np.int32)
    table = builder.constant(np.array([-1, 0, 1], np.float32))
    ones = builder.node("Gather", [table, digits], shape, np.float32)
    inputs = [value, sum_up_to(advances, n, builder), ones]
    return builder.node("ScatterElements", inputs, (unit.n_tuples * length,), np.float32)
