"""Emits the tables of a code: the sorted tuples, and the children of all nodes of all trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxzip.codec.coding.bits import MAX_WIDTH
from onnxzip.codec.coding.overlay import pattern_tuples
from onnxzip.codec.coding.prefix import Book
from onnxzip.codec.coding.tuples import TupleOrder
from onnxzip.codec.emit.nodes import (
    cast,
    count_up,
    cut,
    look_up,
    scalar,
    small_ints,
    sum_before,
)
from onnxzip.passbase import Builder


@dataclass(frozen=True)
class BookTables:
    """Names of tables by address: that of a node's child is node * 2^w + window, w bits being read.

    Attributes:
        next_nodes: int32, the address of the child's own first child.
        next_widths: float32, the width of the field behind the child.
        integers: (n, length), the tuple that the child stands for where it is a row; behind them the
            tuples of all patterns (`coding.overlay`), and the literals.
        first_pattern: the address of the first pattern.
        first_literal: that of the first literal.
    """

    next_nodes: str
    next_widths: str
    integers: str
    first_pattern: int
    first_literal: int


def emit_book(book: Book, dtype: type[np.generic], has_overlay: bool, builder: Builder) -> BookTables:
    """Emit the tables of a book; the tuples in an integer type that holds them.

    Args:
        book: the code.
        dtype: the integer type.
        has_overlay: whether there have to be patterns.
        builder: emits the nodes.
    """
    n_nodes, n_children = len(book.widths), 1 << book.widest
    size = n_nodes * n_children
    widths = cast(builder.constant(book.widths), (n_nodes,), np.float32, builder)
    children = builder.reshape(_emit_children(book, widths, builder), (size,), np.int32)
    n_rows = scalar(book.order.n_rows, builder)
    # nodes that lead to other nodes are among the rows, and cells may reach beyond the last one
    rows = builder.node("Mod", [children, n_rows], (size,), np.int32)
    length = book.order.length
    table = _emit_tuples(book.order, dtype, builder)
    integers = look_up(table, rows, (size, length), builder, dtype)
    extra = np.concatenate([pattern_tuples(length), book.literals])
    if not has_overlay:
        extra = book.literals
    if len(extra):
        parts = [integers, builder.constant(extra.astype(dtype))]
        integers = builder.node("Concat", parts, (size + len(extra), length), dtype, axis=0)
    inner = (book.n_inner * n_children,)
    nodes = cut(children, inner, builder, dtype=np.int32)
    addresses = builder.node("Mul", [nodes, scalar(n_children, builder)], inner, np.int32)
    next_widths = look_up(widths, nodes, inner, builder, np.float32)
    return BookTables(addresses, next_widths, integers, size, size + len(extra) - len(book.literals))


def _emit_children(book: Book, widths: str, builder: Builder) -> str:
    """Emit what each window leads to from each node, (n_nodes, 2^w): a node, or a row."""
    n_nodes, n_children = len(book.widths), 1 << book.widest
    column, whole = (n_nodes, 1), (n_nodes, n_children)
    powers = builder.constant(np.exp2(np.arange(MAX_WIDTH + 1), dtype=np.float32))
    index = cast(builder.reshape(widths, column), column, np.int32, builder)
    sizes = look_up(powers, index, column, builder, np.float32)
    nodes, increments = (a[:, None] for a in book.resets)
    inputs = [sizes, builder.constant(nodes), builder.constant(increments.astype(np.float32))]
    first = builder.node("ScatterElements", inputs, column, np.float32)
    first = sum_before(first, column, builder)
    sizes = cast(sizes, column, np.int32, builder)
    first = builder.node("Add", [first, scalar(book.level_sizes[0], builder)], column, np.int32)
    ramp = small_ints(np.arange(n_children)[None], builder)
    steps = builder.node("Mod", [ramp, sizes], whole, np.int32)
    return builder.node("Add", [first, steps], whole, np.int32)


def _emit_tuples(order: TupleOrder, dtype: type[np.generic], builder: Builder) -> str:
    """Emit the sorted tuples, (n_rows, length)."""
    if order.is_stored:
        return builder.constant(order.table().astype(dtype))
    d, n, n_rows = order.length, order.n_symbols, order.n_rows
    numbers = count_up((n_rows, 1), builder)
    places = builder.constant((n ** np.arange(d - 1, -1, -1, dtype=np.int32))[None])
    digits = builder.node("Div", [numbers, places], (n_rows, d), np.int32)
    digits = builder.node("Mod", [digits, scalar(n, builder)], (n_rows, d), np.int32)
    costs = small_ints(order.costs, builder, np.float32)
    by_digit = builder.node("Gather", [costs, digits], (n_rows, d), np.float32)
    total = builder.node(
        "MatMul", [by_digit, builder.constant(np.full(d, n_rows, np.float32))], (n_rows,), np.float32
    )
    numbers = cast(builder.reshape(numbers, (n_rows,), np.int32), (n_rows,), np.float32, builder)
    keys = builder.node("Add", [total, numbers], (n_rows,), np.float32)
    order_name = builder.rising_order(keys, n_rows)
    symbols = builder.constant(np.arange(order.low, order.low + n).astype(dtype))
    tuples = look_up(symbols, digits, (n_rows, d), builder, dtype)
    return look_up(tuples, order_name, (n_rows, d), builder, dtype)
