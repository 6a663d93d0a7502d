"""Emits the decode subgraph of `coding.prefix` streams: flat, static shapes, safe ops only.

The graph repeats `coding.prefix.decode` operation by operation (CODEC.md, section 1): int32 arithmetic
on numbers below 2^24, int32 look-ups, no loop. Sorting the table of tuples uses that the sort key
cost * n_rows + number is small: a one is scattered to each key, and the cumulative sum over all possible
keys is the rank.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.bits import MAX_WIDTH
from onnxzip.coding.prefix import MAX_GAP, MIN_GAP_POSITIONS, Book, Chunk, Streams, Unit
from onnxzip.coding.trees import ROOTS
from onnxzip.coding.tuples import TupleOrder
from onnxzip.entropy_size import Builder, ByteMeter

_FLOAT, _INT32 = 1, 6
_MIN_CAST_BYTES = 60
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
        dtype, code = (np.int32, _INT32) if i in integers else (np.float32, _FLOAT)
        stored = builder.constant(plain.reshape(wanted[i]), "plain")
        names[i] = builder.node("Cast", [stored], wanted[i], dtype, to=code)
    if streams.book is not None:
        rows = _Rows(builder, streams.book)
        table = _emit_table(streams.book, builder)
        parts = _split_rows([rows.emit(chunk) for chunk in streams.chunks], streams, builder)
        for unit, part in zip(streams.units, parts, strict=True):
            values = _emit_unit(unit, part, table, streams, wanted, builder)
            for i, name in zip(unit.members, values, strict=True):
                if i in integers:
                    name = builder.node("Cast", [name], wanted[i], np.int32, to=_INT32)
                names[i] = name
    return [names[i] for i in range(len(streams.shapes))]


def count_bytes(streams: Streams, integers: Collection[int] = ()) -> int:
    """Return about what the arrays take in the file: payload, tables, nodes, names and value_infos."""
    meter = ByteMeter()
    emit_streams(streams, meter, integers)
    return meter.n_bytes


def _scalar(value: int, builder: Builder) -> str:
    return builder.constant(np.array(value, np.int32), "scalar")


def _fill(value: int, size: int, builder: Builder) -> str:
    shape = builder.constant(np.array([size], np.int64), "shape")
    return builder.node("Expand", [_scalar(value, builder), shape], (size,), np.int32)


def _sum_before(value: str, size: int, builder: Builder) -> str:
    return builder.node("CumSum", [value, _scalar(0, builder)], (size,), np.int32, exclusive=1)


def _sum_up_to(value: str, size: int, builder: Builder) -> str:
    return builder.node("CumSum", [value, _scalar(0, builder)], (size,), np.int32)


def _look_up(table: str, index: str, shape: Sequence[int], builder: Builder, axis: int = 0) -> str:
    attributes = {"axis": axis} if axis else {}
    return builder.node("Gather", [table, index], shape, np.int32, **attributes)


def _small_ints(array: NDArray[np.integer], builder: Builder, dtype: type[np.generic] = np.int32) -> str:
    """Store integers in the smallest type and cast them, where that saves more than the Cast costs."""
    code = _INT32 if dtype == np.int32 else _FLOAT
    low, high = int(array.min()), int(array.max())
    for small in (np.uint8, np.int8, np.uint16, np.int16):
        saved = array.size * (4 - np.dtype(small).itemsize)
        if np.iinfo(small).min <= low and high <= np.iinfo(small).max and saved > _MIN_CAST_BYTES:
            name = builder.constant(array.astype(small), "small")
            return builder.node("Cast", [name], array.shape, dtype, to=code)
    return builder.constant(array.astype(dtype), "ints")


def _positions(positions: NDArray[np.integer], builder: Builder) -> str:
    """Store rising positions, as gaps where that is shorter."""
    gaps = np.diff(positions, prepend=0)
    if len(positions) <= MIN_GAP_POSITIONS or gaps.max() > MAX_GAP or positions[-1] >= 1 << 24:
        return builder.constant(positions.astype(np.int32), "positions")
    return _sum_up_to(_small_ints(gaps, builder), len(gaps), builder)


def _emit_table(book: Book, builder: Builder) -> str:
    """Emit all rows, (n_literals + n_rows, length) float32."""
    if book.order.is_stored:
        return _small_ints(book.table(), builder, np.float32)
    rows = _emit_sorted_rows(book.order, builder)
    if not len(book.literals):
        return rows
    literals = _small_ints(book.literals, builder, np.float32)
    shape = (len(book.literals) + book.order.n_rows, book.order.length)
    return builder.node("Concat", [literals, rows], shape, np.float32, axis=0)


def _emit_sorted_rows(order: TupleOrder, builder: Builder) -> str:
    """Emit the sorted table of tuples, (n_rows, length) float32."""
    d, n, n_rows = order.length, order.n_symbols, order.n_rows
    ones = _fill(1, n_rows, builder)
    numbers = _sum_before(ones, n_rows, builder)
    places = builder.constant((n ** np.arange(d - 1, -1, -1, dtype=np.int32))[:, None], "places")
    digits = builder.node("Div", [numbers, places], (d, n_rows), np.int32)
    digits = builder.node("Mod", [digits, _scalar(n, builder)], (d, n_rows), np.int32)
    ranks = _emit_ranks(order, ones, numbers, digits, builder)
    order_name = builder.node("ScatterElements", [numbers, ranks, numbers], (n_rows,), np.int32)
    columns = _look_up(digits, order_name, (d, n_rows), builder, axis=1)
    rows = builder.node("Transpose", [columns], (n_rows, d), np.int32, perm=(1, 0))
    symbols = builder.constant(np.arange(order.low, order.low + n, dtype=np.float32), "symbols")
    return builder.node("Gather", [symbols, rows], (n_rows, d), np.float32)


def _emit_ranks(order: TupleOrder, ones: str, numbers: str, digits: str, builder: Builder) -> str:
    """Emit the rank of every tuple by (sum of costs, number)."""
    d, n_rows = order.length, order.n_rows
    costs = _small_ints(order.costs, builder, np.float32)
    by_digit = builder.node("Gather", [costs, digits], (d, n_rows), np.float32)
    scale = builder.constant(np.full(d, n_rows, np.float32), "scale")
    total = builder.node("MatMul", [scale, by_digit], (n_rows,), np.float32)
    total = builder.node("Cast", [total], (n_rows,), np.int32, to=_INT32)
    keys = builder.node("Add", [total, numbers], (n_rows,), np.int32)
    n_keys = (d * int(order.costs.max()) + 1) * n_rows
    flags = builder.node("ScatterElements", [_fill(0, n_keys, builder), keys, ones], (n_keys,), np.int32)
    return _look_up(_sum_before(flags, n_keys, builder), keys, (n_rows,), builder)


class _Rows:
    """Emits the part of the decoder that turns a chunk into table rows; holds the per-node tables."""

    def __init__(self, builder: Builder, book: Book) -> None:
        self._builder = builder
        self._book = book
        n_nodes = len(book.widths)
        powers = builder.constant(1 << np.arange(MAX_WIDTH + 1, dtype=np.int32), "powers")
        widths = builder.constant(book.widths, "widths")
        self._widths = builder.node("Cast", [widths], (n_nodes,), np.int32, to=_INT32)
        self._sizes = _look_up(powers, self._widths, (n_nodes,), builder)
        nodes, increments = book.resets
        first = self._sizes
        if len(nodes):
            inputs = [
                first,
                builder.constant(nodes, "resets"),
                builder.constant(increments, "increments"),
            ]
            first = builder.node("ScatterElements", inputs, (n_nodes,), np.int32)
        first = _sum_before(first, n_nodes, builder)
        if book.start:
            first = builder.node("Add", [first, _scalar(book.start, builder)], (n_nodes,), np.int32)
        self._first = first

    def emit(self, chunk: Chunk) -> str:
        """Emit the table row of each tuple, (n_tuples,) int32."""
        builder, shape = self._builder, (chunk.n_tuples,)
        node = self._emit_start(chunk)
        for windows in self._emit_windows(chunk):
            width = _look_up(self._widths, node, shape, builder)
            position = _sum_before(width, chunk.n_tuples, builder)
            window = _look_up(windows, position, shape, builder)
            size = _look_up(self._sizes, node, shape, builder)
            bits = builder.node("Mod", [window, size], shape, np.int32)
            first = _look_up(self._first, node, shape, builder)
            node = builder.node("Add", [first, bits], shape, np.int32)
        return self._emit_literals(chunk, node)

    def _emit_literals(self, chunk: Chunk, rows: str) -> str:
        """Put the literal rows in their places."""
        n = len(chunk.literal_positions)
        if not n:
            return rows
        if n <= MIN_GAP_POSITIONS:
            literals = self._builder.constant(
                chunk.first_literal + np.arange(n, dtype=np.int32), "literals"
            )
        else:
            literals = _sum_before(_fill(1, n, self._builder), n, self._builder)
            if chunk.first_literal:
                first = _scalar(chunk.first_literal, self._builder)
                literals = self._builder.node("Add", [literals, first], (n,), np.int32)
        inputs = [rows, _positions(chunk.literal_positions, self._builder), literals]
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
        packed = builder.constant(chunk.roots[:, None], "roots")
        packed = builder.node("Cast", [packed], (n, 1), np.int32, to=_INT32)
        places = builder.constant(n_roots ** np.arange(n_digits, dtype=np.int32)[None], "places")
        roots = builder.node("Div", [packed, places], (n, n_digits), np.int32)
        roots = builder.node("Mod", [roots, _scalar(n_roots, builder)], (n, n_digits), np.int32)
        roots = builder.reshape(roots, shape, np.int32)
        return builder.node("Add", [roots, contexts], shape, np.int32) if contexts else roots

    def _emit_contexts(self, chunk: Chunk) -> str:
        """Emit the first node of each tuple's context as the sum of the changes before it."""
        builder, n = self._builder, chunk.n_tuples
        changes = np.diff(chunk.contexts.astype(np.int32) * max(self._book.n_roots, 1), prepend=0)
        zeros = _fill(0, n, builder)
        if not changes.any():
            return zeros
        inputs = [zeros, _positions(chunk.starts, builder), _small_ints(changes, builder)]
        return _sum_up_to(builder.node("ScatterElements", inputs, (n,), np.int32), n, builder)

    def _emit_windows(self, chunk: Chunk) -> list[str]:
        """Emit the table of all windows (`coding.bits`) of each level.

        Every level has its own: an input that several nodes share is copied for each when it is large.
        """
        builder, n = self._builder, len(chunk.fields)
        sizes = np.diff(np.append(chunk.level_starts, n - 1)).tolist()
        name = builder.constant(chunk.fields[:, None], "fields")
        wide = builder.node("Cast", [name], (n, 1), np.int32, to=_INT32)
        low, high = (self._slice(wide, i, n - 1 + i) for i in range(2))
        high = builder.node("Mul", [high, _scalar(256, builder)], (n - 1, 1), np.int32)
        pairs = builder.node("Add", [low, high], (n - 1, 1), np.int32)
        if len(sizes) == 1 or n < _MIN_SPLIT_BYTES:
            windows = [self._windows(pairs, n - 1)]
            return (
                windows
                if len(sizes) == 1
                else builder.split(windows[0], [(8 * k,) for k in sizes], np.int32)
            )
        parts = builder.split(pairs, [(k, 1) for k in sizes], np.int32)
        return [self._windows(part, k) for part, k in zip(parts, sizes, strict=True)]

    def _windows(self, pairs: str, n: int) -> str:
        places = self._builder.constant(1 << np.arange(8, dtype=np.int32)[None], "places")
        shifted = self._builder.node("Div", [pairs, places], (n, 8), np.int32)
        return self._builder.reshape(shifted, (8 * n,), np.int32)

    def _slice(self, value: str, start: int, end: int) -> str:
        starts, ends = (self._builder.constant(np.array([i], np.int64), "edge") for i in (start, end))
        return self._builder.node("Slice", [value, starts, ends], (end - start, 1), np.int32)


def _split_rows(rows: Sequence[str], streams: Streams, builder: Builder) -> list[str]:
    """Cut the chunks' rows at the units' edges; return one value for each unit."""
    unit_edges = np.cumsum([0, *(unit.n_tuples for unit in streams.units)])
    parts: list[list[str]] = [[] for _ in streams.units]
    start = 0
    for name, chunk in zip(rows, streams.chunks, strict=True):
        end = start + chunk.n_tuples
        edges = np.unique(np.clip(unit_edges, start, end))
        pieces = [name]
        if len(edges) > 2:
            pieces = builder.split(name, [(int(n),) for n in np.diff(edges)], np.int32)
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
            part = _cut_rows(builder.reshape(part, shape), streams.shapes[i], builder)
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
    codes = builder.constant(overlay.codes, "overlay")
    codes = builder.node("Cast", [codes], shape, np.int32, to=_INT32)
    three = _scalar(3, builder)
    advances = builder.node("Div", [codes, three], shape, np.int32)
    if len(overlay.jumps):
        jumps = [_positions(overlay.jumps, builder), _small_ints(overlay.advances, builder)]
        advances = builder.node("ScatterElements", [advances, *jumps], shape, np.int32)
    digits = builder.node("Mod", [codes, three], shape, np.int32)
    table = builder.constant(np.array([-1, 0, 1], np.float32), "signs")
    ones = builder.node("Gather", [table, digits], shape, np.float32)
    inputs = [value, _sum_up_to(advances, n, builder), ones]
    return builder.node("ScatterElements", inputs, (unit.n_tuples * length,), np.float32)


def _cut_rows(value: str, shape: tuple[int, int], builder: Builder) -> str:
    """Drop the padding behind each row."""
    starts, ends, axes = (builder.constant(np.array([i], np.int64), "edge") for i in (0, shape[1], 1))
    return builder.node("Slice", [value, starts, ends, axes], shape, np.float32)
