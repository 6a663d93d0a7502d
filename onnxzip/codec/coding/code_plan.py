"""The codes of all contexts for one order of tuples, and the best order by the cost of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.overlay import n_overlay_bits, patterns_of
from onnxzip.codec.coding.search import finalists
from onnxzip.codec.coding.trees import ROOTS, Floats, Tree, plan_trees
from onnxzip.codec.coding.tuple_layout import Integers, Ints, TupleLayout
from onnxzip.codec.coding.tuples import TupleOrder, find_outliers, literal_bits, number_tuples

_SAMPLE_TUPLES = 1 << 19
"""Of each length, where counting all tuples for every order would take long: only the order is chosen by
them."""

_LITERAL_SHARES = (1e-4, 1e-3)
"""Shares of a context's tuples that may be literals to spare nodes. Only the smaller: 0, 0, -1.7, 0 % of
digits_cnn, _autoencoder, _attention and _gru (where it keeps an overlay away); only the larger: +0.3,
+0.3, 0, +0.1 % (`tests.bench.constants`, as all figures of this file)."""

_OVERLAY_BITS = 8 * 250.0
"""What an overlay's nodes take. Half as much: 0, -2.9, 0, 0 %; twice: 0, -3.3, 0, 0 %; no overlay at
all: 0, -3.3, -1.8, 0 %, so that on these four models what it saves is overrated."""

_SPARSE_CONTEXT_BITS = 8 * 40.0
"""What a context in it takes. Half as much: no change; twice: 0, +0.1, 0, 0 %."""

_MAX_FINE_ROWS = 1 << 14
"""Rows of all contexts together that are planned one by one; where none are, nothing changes on the four
models."""

_MANY_VALUES = 1 << 22
"""From here on codes are first compared on a sample."""

LOAD_BYTES_PER_FILE_BYTE = 2000.0
"""How many bytes of memory at load a byte in the file is worth, beyond what is free. 1000: +2.4 % and 9
% less memory of resnet44, +3.7 and 10 % of vgg8; 500: no change."""

_FREE_LOAD_BYTES = 1 << 24
"""About what a session of a small model takes anyway."""


@dataclass(frozen=True, eq=False)
class CodePlan:
    """The codes of all contexts.

    Attributes:
        order: the sorted table.
        ends: (n_contexts,) the first row of each context that is coded as literals.
        trees: the contexts' codes.
        cost: bits of everything, and what memory at load is worth.
        is_sparse: (n_contexts,) whether a context's tuples take no bits, are zero, and an overlay
            (`overlay.py`) has what is not.
    """

    order: TupleOrder
    ends: Ints
    trees: Sequence[Tree]
    cost: float
    is_sparse: NDArray[np.bool_]

    @property
    def levels(self) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """(value, width) of the fields in each bit string, by context * n_rows + row."""
        by_tree = [tree.fields(self.order.n_rows) for tree in self.trees]
        fields = np.stack(by_tree, axis=1).reshape(6, -1)
        kept = [True, any(tree.branch_bits.any() for tree in self.trees), True]
        return [(fields[2 * i], fields[2 * i + 1]) for i in range(3) if kept[i]]


def choose_code(layout: TupleLayout) -> CodePlan:
    """Return the cheapest plan for all tuples of a layout, chosen on a sample of a large one."""
    orders = finalists(layout)
    if layout.n_values < _MANY_VALUES:
        return min((code_of_order(layout, order) for order in orders), key=lambda plan: plan.cost)
    plans = []
    for order in orders:
        tuples, contexts = layout.sample(order.length, _SAMPLE_TUPLES)
        scale = layout.n_values / order.length / len(tuples)
        counts, n_outside = _count(tuples, contexts, layout.n_contexts, order)
        plans.append(_plan(layout, order, np.rint(counts * scale).astype(np.int64), n_outside * scale))
    return code_of_order(layout, min(plans, key=lambda plan: plan.cost).order)


def code_of_order(layout: TupleLayout, order: TupleOrder) -> CodePlan:
    """CodePlan the codes for one order, on all tuples."""
    counts = np.zeros((layout.n_contexts, order.n_rows), np.int64)
    n_outside = 0
    for g in range(len(layout.groups)):
        tuples, contexts = layout.tuples(g, order.length, order.neutral)
        new_counts, new_outside = _count(tuples, contexts, layout.n_contexts, order)
        counts += new_counts
        n_outside += new_outside
    return _plan(layout, order, counts, n_outside)


def _count(tuples: Integers, contexts: Ints, n_contexts: int, order: TupleOrder) -> tuple[Ints, int]:
    """Return (n_contexts, n_rows) counts, and how many tuples are outside the alphabet."""
    literal = find_outliers(tuples, order)
    pairs = contexts * order.n_rows + number_tuples(tuples, order)
    if literal.any():
        pairs = pairs[~literal]
    counts = np.bincount(pairs, minlength=n_contexts * order.n_rows).reshape(n_contexts, -1)
    return counts[:, order.numbers], int(literal.sum())


def _plan(layout: TupleLayout, order: TupleOrder, counts: Ints, n_outside: float) -> CodePlan:
    counts[:, 0] += ~counts.any(axis=1)
    plans = [_plan_with_tail(layout, order, counts, share) for share in _LITERAL_SHARES]
    best = min(plans, key=lambda plan: plan.cost)
    n_bits = best.cost + n_outside * literal_bits(order.length) + 8.0 * order.n_bytes
    n_paid = max(0.0, _load_bytes(best, counts) - _FREE_LOAD_BYTES)
    return replace(best, cost=n_bits + 8 * n_paid / LOAD_BYTES_PER_FILE_BYTE)


def _plan_with_tail(layout: TupleLayout, order: TupleOrder, counts: Ints, share: float) -> CodePlan:
    """CodePlan trees for the rows before a tail that holds a share of each context's tuples at most."""
    behind = counts.sum(1, keepdims=True) - np.cumsum(counts, axis=1)
    ends = np.argmax(behind <= share * counts.sum(1, keepdims=True), axis=1) + 1
    kept = np.where(np.arange(counts.shape[1]) < ends[:, None], counts, 0)
    tail_bits = literal_bits(order.length) * (counts - kept).sum(axis=1)
    trees, is_sparse = _best_trees(kept, tail_bits, _sparse_bits(layout, order, counts))
    n_bits = sum(tree.n_bits for tree in trees) + float(tail_bits[~is_sparse].sum())
    return CodePlan(order, np.where(is_sparse, 1, ends), trees, n_bits, is_sparse)


def _sparse_bits(layout: TupleLayout, order: TupleOrder, counts: Ints) -> Floats:
    """Estimate each context's bits when an overlay has its ones and all other tuples are literals."""
    patterns = patterns_of(order.table())
    if patterns[0]:
        return np.full(len(counts), np.inf)
    n_ones = counts[:, patterns > 0].sum(axis=1).astype(np.float64)
    n_tuples = counts.sum(axis=1).astype(np.float64)
    n_bits = n_overlay_bits(n_ones, n_tuples, layout.n_runs, order.length)
    n_literals = counts[:, patterns < 0].sum(axis=1)
    return np.asarray(n_bits + literal_bits(order.length) * n_literals, np.float64)


def _best_trees(
    counts: Ints, tail_bits: Floats, sparse_bits: Floats
) -> tuple[list[Tree], NDArray[np.bool_]]:
    """Return the contexts' trees, and which contexts have an overlay in place of one.

    Args:
        counts: (n_contexts, n_rows).
        tail_bits: what each context's literals cost besides its tree.
        sparse_bits: what each context costs with an overlay and without a tree.
    """
    n_rows = sum(int(np.flatnonzero(row)[-1]) + 1 for row in counts)
    planned = [plan_trees(row, ROOTS, n_rows <= _MAX_FINE_ROWS) for row in counts]
    trees = [min(by_roots.values(), key=lambda tree: tree.n_bits) for by_roots in planned]
    gains = np.array([tree.n_bits for tree in trees]) + tail_bits - sparse_bits - _SPARSE_CONTEXT_BITS
    if float(gains[gains > 0].sum()) <= _OVERLAY_BITS:
        return trees, np.zeros(len(counts), np.bool_)
    return [
        Tree(np.zeros(1, np.int32), np.zeros(1, np.int32), float(bits)) if gained > 0 else tree
        for tree, bits, gained in zip(trees, sparse_bits, gains, strict=True)
    ], gains > 0


def _load_bytes(plan: CodePlan, counts: Ints) -> float:
    """Return the memory that the graph's intermediates take while it is folded (`emit.streams`).

    A tuple takes 21 bytes a level and one for each integer, a byte of fields 46, and a child of a node
    16 bytes on the way to the integers it stands for.
    """
    levels = [width.reshape(counts.shape) for _, width in plan.levels]
    n_bits = sum(float((width * counts).sum()) for width in levels)
    widest = max(int(width.max()) for width in levels)
    n_nodes = sum(tree.n_branches + len(tree.cell_bits) for tree in plan.trees)
    n_children = n_nodes * 2.0**widest
    n_tuples = float(counts.sum())
    length = plan.order.length
    return n_tuples * (21 * len(levels) + length) + 5.75 * n_bits + n_children * (16 + length)
