"""Emits the sorted table of tuples, and rising positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.prefix import MAX_GAP, MIN_GAP_POSITIONS, Book
from onnxzip.codec.coding.tuples import TupleOrder
from onnxzip.codec.emit.nodes import cast, fill, look_up, scalar, small_ints, sum_before, sum_up_to
from onnxzip.passbase import Builder


def positions(positions: NDArray[np.integer], builder: Builder) -> str:
    """Store rising positions, as gaps where that is shorter."""
    gaps = np.diff(positions, prepend=0)
    if len(positions) <= MIN_GAP_POSITIONS or gaps.max() > MAX_GAP or positions[-1] >= 1 << 24:
        return builder.constant(positions.astype(np.int32))
    return sum_up_to(small_ints(gaps, builder), len(gaps), builder)


def emit_table(book: Book, builder: Builder) -> str:
    """Emit all rows, (n_literals + n_rows, length) float32."""
    if book.order.is_stored:
        return small_ints(book.table(), builder, np.float32)
    rows = _emit_sorted_rows(book.order, builder)
    if not len(book.literals):
        return rows
    literals = small_ints(book.literals, builder, np.float32)
    shape = (len(book.literals) + book.order.n_rows, book.order.length)
    return builder.node("Concat", [literals, rows], shape, np.float32, axis=0)


def _emit_sorted_rows(order: TupleOrder, builder: Builder) -> str:
    """Emit the sorted table of tuples, (n_rows, length) float32."""
    d, n, n_rows = order.length, order.n_symbols, order.n_rows
    ones = fill(1, n_rows, builder)
    numbers = sum_before(ones, n_rows, builder)
    places = builder.constant((n ** np.arange(d - 1, -1, -1, dtype=np.int32))[:, None])
    digits = builder.node("Div", [numbers, places], (d, n_rows), np.int32)
    digits = builder.node("Mod", [digits, scalar(n, builder)], (d, n_rows), np.int32)
    ranks = _emit_ranks(order, ones, numbers, digits, builder)
    order_name = builder.node("ScatterElements", [numbers, ranks, numbers], (n_rows,), np.int32)
    columns = look_up(digits, order_name, (d, n_rows), builder, axis=1)
    rows = builder.node("Transpose", [columns], (n_rows, d), np.int32, perm=(1, 0))
    symbols = builder.constant(np.arange(order.low, order.low + n, dtype=np.float32))
    return builder.node("Gather", [symbols, rows], (n_rows, d), np.float32)


def _emit_ranks(order: TupleOrder, ones: str, numbers: str, digits: str, builder: Builder) -> str:
    """Emit the rank of every tuple by (sum of costs, number)."""
    d, n_rows = order.length, order.n_rows
    costs = small_ints(order.costs, builder, np.float32)
    by_digit = builder.node("Gather", [costs, digits], (d, n_rows), np.float32)
    scale = builder.constant(np.full(d, n_rows, np.float32))
    total = builder.node("MatMul", [scale, by_digit], (n_rows,), np.float32)
    total = cast(total, (n_rows,), np.int32, builder)
    keys = builder.node("Add", [total, numbers], (n_rows,), np.int32)
    n_keys = (d * int(order.costs.max()) + 1) * n_rows
    flags = builder.node("ScatterElements", [fill(0, n_keys, builder), keys, ones], (n_keys,), np.int32)
    return look_up(sum_before(flags, n_keys, builder), keys, (n_rows,), builder)
