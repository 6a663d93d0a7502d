"""Emits the decode subgraph of `coding.prefix` streams: flat, static shapes, safe ops only.

The graph is the decoder of `coding.prefix` operation by operation (CODEC.md, section 1): int32
arithmetic on numbers below 2^24, int32 look-ups, no loop. A value counts in memory at load however
short it is in use: so integers are bytes until the very end, and what is known for a block of tuples is
computed once for a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.overlay import Overlay, n_patterns
from onnxzip.codec.coding.prefix import (
    MAX_GAP,
    MIN_GAP_POSITIONS,
    Book,
    Chunk,
    Outliers,
    Streams,
    Unit,
)
from onnxzip.codec.coding.tuple_layout import BLOCK
from onnxzip.codec.emit.book import emit_book
from onnxzip.codec.emit.fields import Windows
from onnxzip.codec.emit.nodes import (
    cast,
    count_up,
    cut,
    fill,
    look_up,
    scalar,
    small_ints,
    split_if_many,
    sum_before,
    sum_up_to,
    widened,
)
from onnxzip.passbase import Builder


@dataclass(frozen=True)
class Emitted:
    """An array of integers in the graph.

    Attributes:
        name: of its value.
        shape: flat, or what it was found in.
        dtype: the integer type it is in, or float32.
        outliers: what is to be put in place yet.
    """

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    outliers: Outliers | None = None


_SMALL_UNIT = 1 << 17
"""Integers: up to so many are made floats together, where all are wanted so. A Cast for each array takes
27 bytes in the file, moves of floats instead of bytes 3 to 9 bytes a weight at load."""


def emit_streams(streams: Streams, builder: Builder, n_floats: int = 0) -> list[Emitted]:
    """Emit the decoder of all arrays; return each in the arrays' order.

    Args:
        streams: the coded arrays.
        builder: emits the nodes.
        n_floats: the first so many arrays are wanted as floats; where they are few, they are floats.
    """
    found: dict[int, Emitted] = {}
    for i, plain in streams.plain.items():
        found[i] = Emitted(builder.constant(plain), plain.shape, plain.dtype.type)
    if streams.book is not None:
        has_overlay = any(len(chunk.overlay.codes) for chunk in streams.chunks)
        chunks = _Chunks(streams.book, streams.dtype, has_overlay, builder)
        parts = _split_units([chunks.emit(chunk) for chunk in streams.chunks], streams, builder)
        for unit, part in zip(streams.units, parts, strict=True):
            dtype: type[np.generic] = streams.dtype
            size = unit.n_tuples * streams.book.order.length
            if size <= _SMALL_UNIT and max(unit.members) < n_floats:
                shape = (unit.n_tuples, streams.book.order.length)
                part, dtype = widened(part, shape, np.float32, builder, dtype), np.float32
            found.update(_emit_unit(unit, part, streams, dtype, builder))
    for i, outliers in streams.outliers.items():
        found[i] = replace(found[i], outliers=outliers)
    return [found[i] for i in range(len(streams.shapes))]


class _Chunks:
    """Emits chunks; holds the tables that they share."""

    def __init__(self, book: Book, dtype: type[np.generic], has_overlay: bool, builder: Builder) -> None:
        self._builder = builder
        self._book = book
        self._dtype = dtype
        self._tables = emit_book(book, dtype, has_overlay, builder)
        self._windows = Windows(book.widest, builder)
        block_bits = BLOCK * book.widths[: book.level_sizes[0]].astype(np.float32)
        self._block_bits = builder.constant(block_bits)
        self._block_size = builder.constant(np.array(BLOCK, np.float32))

    def emit(self, chunk: Chunk) -> str:
        """Emit the tuples of a chunk, (n_tuples, length)."""
        builder, shape = self._builder, (chunk.n_tuples,)
        first, *others = self._windows.emit(chunk.fields, chunk.level_starts)
        address = self._emit_first(chunk, first)
        for windows in others:
            width = look_up(self._tables.next_widths, address, shape, builder, np.float32)
            position = sum_before(width, shape, builder)
            window = look_up(windows, position, shape, builder, np.uint8)
            node = look_up(self._tables.next_nodes, address, shape, builder)
            window = cast(window, shape, np.int32, builder)
            address = builder.node("Add", [node, window], shape, np.int32)
        address = self._with_others(chunk, address)
        made = (chunk.n_tuples, self._book.order.length)
        return look_up(self._tables.integers, address, made, builder, self._dtype)

    def _emit_first(self, chunk: Chunk, windows: str) -> str:
        """Emit the address that the first field of each tuple leads to, (n_tuples,) int32."""
        builder, n_blocks = self._builder, chunk.n_tuples // BLOCK
        column, whole = (n_blocks, 1), (n_blocks, BLOCK)
        context = self._emit_contexts(chunk)
        n_bits = look_up(self._block_bits, context, column, builder, np.float32)
        start = sum_before(n_bits, column, builder)
        width = builder.node("Div", [n_bits, self._block_size], column, np.float32)
        width = cast(width, column, np.int32, builder)
        ramp = builder.constant(np.arange(BLOCK, dtype=np.int32)[None])
        position = builder.node("Mul", [width, ramp], whole, np.int32)
        position = builder.node("Add", [start, position], whole, np.int32)
        window = look_up(windows, position, whole, builder, np.uint8)
        node = builder.node("Mul", [context, scalar(1 << self._book.widest, builder)], column, np.int32)
        window = cast(window, whole, np.int32, builder)
        address = builder.node("Add", [node, window], whole, np.int32)
        return builder.reshape(address, (chunk.n_tuples,), np.int32)

    def _emit_contexts(self, chunk: Chunk) -> str:
        """Emit the context of each block, (n_blocks, 1) int32, as the sum of the changes before it."""
        builder, shape = self._builder, (chunk.n_tuples // BLOCK, 1)
        contexts = chunk.contexts.astype(np.int32)
        changes = contexts - np.append(0, contexts[:-1])
        zeros = fill(0, shape, builder)
        if not changes.any():
            return cast(zeros, shape, np.int32, builder)
        starts = builder.reshape(emit_positions(chunk.starts, builder), (len(changes), 1), np.int32)
        inputs = [zeros, starts, small_ints(changes[:, None], builder, np.float32)]
        return sum_up_to(builder.node("ScatterElements", inputs, shape, np.float32), shape, builder)

    def _with_others(self, chunk: Chunk, addresses: str) -> str:
        """Put the addresses of patterns and literals in place of others."""
        builder, n = self._builder, len(chunk.literal_positions)
        places: list[str] = []
        others: list[str] = []
        if n_codes := len(chunk.overlay.codes):
            place, pattern = _emit_overlay(chunk.overlay, self._book.order.length, builder)
            first = scalar(self._tables.first_pattern, builder)
            places.append(place)
            others.append(builder.node("Add", [pattern, first], (n_codes,), np.int32))
        if n:
            first_literal = self._tables.first_literal + chunk.first_literal
            places.append(emit_positions(chunk.literal_positions, builder))
            others.append(_count_from(first_literal, n, builder))
        if not places:
            return addresses
        shape = (n_codes + n,)
        inputs = [
            part[0] if len(part) == 1 else builder.node("Concat", part, shape, np.int32, axis=0)
            for part in (places, others)
        ]
        return builder.node("ScatterElements", [addresses, *inputs], (chunk.n_tuples,), np.int32)


def _count_from(first: int, n: int, builder: Builder) -> str:
    """Emit n whole numbers from the first one up, int32."""
    if n <= MIN_GAP_POSITIONS:
        return builder.constant(first + np.arange(n, dtype=np.int32))
    numbers = count_up((n,), builder)
    return builder.node("Add", [numbers, scalar(first, builder)], (n,), np.int32)


def _emit_overlay(overlay: Overlay, length: int, builder: Builder) -> tuple[str, str]:
    """Emit the positions and patterns of an overlay, (n,) int32 each."""
    shape = (len(overlay.codes),)
    codes = widened(builder.constant(overlay.codes), shape, np.int32, builder)
    n = scalar(n_patterns(length), builder)
    advances = builder.node("Div", [codes, n], shape, np.int32)
    if len(overlay.jumps):
        jumps = [emit_positions(overlay.jumps, builder), small_ints(overlay.advances, builder)]
        advances = builder.node("ScatterElements", [advances, *jumps], shape, np.int32)
    advances = cast(advances, shape, np.float32, builder)
    return sum_up_to(advances, shape, builder), builder.node("Mod", [codes, n], shape, np.int32)


def emit_positions(positions: NDArray[np.integer], builder: Builder) -> str:
    """Store rising positions, as gaps where that is shorter; (n,) int32."""
    gaps = np.diff(positions, prepend=0)
    if len(positions) <= MIN_GAP_POSITIONS or gaps.max() > MAX_GAP or positions[-1] >= 1 << 24:
        return builder.constant(positions.astype(np.int32))
    return sum_up_to(small_ints(gaps, builder, np.float32), gaps.shape, builder)


def _split_units(chunks: Sequence[str], streams: Streams, builder: Builder) -> list[str]:
    """Cut the chunks' tuples at the units' edges; return one value for each unit."""
    assert streams.book is not None
    length = streams.book.order.length
    unit_edges = np.cumsum([0, *(unit.n_tuples for unit in streams.units)])
    parts: list[list[str]] = [[] for _ in streams.units]
    start = 0
    for name, chunk in zip(chunks, streams.chunks, strict=True):
        end = start + chunk.n_tuples
        edges = np.unique(np.clip(unit_edges, start, end))
        shapes = [(int(n), length) for n in np.diff(edges)]
        pieces = split_if_many(name, shapes, streams.dtype, builder)
        for piece, edge in zip(pieces, edges, strict=False):
            parts[int(np.searchsorted(unit_edges, edge, side="right")) - 1].append(piece)
        start = end
    return [
        p[0] if len(p) == 1 else builder.node("Concat", p, (u.n_tuples, length), streams.dtype, axis=0)
        for p, u in zip(parts, streams.units, strict=True)
    ]


def _emit_unit(
    unit: Unit, tuples: str, streams: Streams, dtype: type[np.generic], builder: Builder
) -> dict[int, Emitted]:
    """Emit a unit's arrays from its tuples of a type."""
    assert streams.book is not None
    length = streams.book.order.length
    n = unit.n_tuples * length
    padded = [(k, unit.row_length or size) for k, size in (streams.shapes[i] for i in unit.members)]
    sizes = [k * size for k, size in padded]
    parts = [Emitted(tuples, (unit.n_tuples, length), dtype)]
    if n > sum(sizes) or len(sizes) > 1:
        flat = builder.reshape(tuples, (n,), dtype)
        pieces = [(k,) for k in [*sizes, *([n - sum(sizes)] if n > sum(sizes) else [])]]
        names = builder.split(flat, pieces, dtype)[: len(sizes)]
        parts = [Emitted(name, (k,), dtype) for name, k in zip(names, sizes, strict=True)]
    found = dict(zip(unit.members, parts, strict=True))
    for (i, part), rows in zip(found.items(), padded, strict=True):
        if rows != streams.shapes[i]:
            whole = builder.reshape(part.name, rows, dtype)
            name = cut(whole, streams.shapes[i], builder, axis=1, dtype=dtype)
            found[i] = Emitted(name, streams.shapes[i], dtype)
    return found


def with_outliers(part: Emitted, builder: Builder) -> Emitted:
    """Put an array's outliers in place, wider than bytes: OpenVINO folds no ScatterElements of those."""
    outliers = part.outliers
    if outliers is None:
        return part
    shape = (int(np.prod(part.shape)),)
    flat = part.name if part.shape == shape else builder.reshape(part.name, shape, part.dtype)
    dtype: type[np.generic] = np.float32
    if part.dtype is not np.float32:
        dtype, flat = np.int32, widened(flat, shape, np.int32, builder, part.dtype)
    values = small_ints(outliers.values, builder, dtype)
    inputs = [flat, emit_positions(outliers.positions, builder), values]
    return Emitted(builder.node("ScatterElements", inputs, shape, dtype), shape, dtype)
