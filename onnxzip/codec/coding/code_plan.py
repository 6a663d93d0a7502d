"""The codes of all contexts for one order of tuples, and the best order by the cost of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.overlay import n_overlay_bits
from onnxzip.codec.coding.search import finalists
from onnxzip.codec.coding.trees import Floats, Tree, plan_trees
from onnxzip.codec.coding.tuple_layout import Integers, Ints, TupleLayout
from onnxzip.codec.coding.tuples import TupleOrder, find_outliers, literal_bits, number_tuples

_SAMPLE_TUPLES = 1 << 19
"""Of each length, where counting all tuples for every order would take long: only the order is chosen by
them."""

_LITERAL_SHARES = (1e-4, 1e-3)
"""Shares of a context's tuples that may be literals to spare nodes. Only the smaller: 0, 0, -1.7, 0 % of
digits_cnn, _autoencoder, _attention and _gru (where it keeps an overlay away); only the larger: +0.3,
+0.3, 0, +0.1 % (`tests.bench.constants`, as all figures of this file)."""

_FREE_ROOT_BITS = 8 * 150.0
"""What a level of its own for the roots takes in nodes and names. Half or twice as much: no change on
the four models; without free roots +4.5, +0.5, +0.5, +1.4 %."""

_MAX_FREE_ROOT_TUPLES = 1 << 20
"""A level more takes 28 bytes a tuple at load (`_load_bytes`): from here on 29 MB, more than a few saved
bytes are worth."""

_OVERLAY_BITS = 8 * 250.0
"""What an overlay's nodes take. Half as much: 0, -2.9, 0, 0 %; twice: 0, -3.3, 0, 0 %; no overlay at
all: 0, -3.3, -1.8, 0 %, so that on these four models what it saves is overrated."""

_SPARSE_CONTEXT_BITS = 8 * 40.0
"""What a context in it takes. Half as much: no change; twice: 0, +0.1, 0, 0 %."""

_MAX_FINE_ROWS = 1 << 14
"""Rows of all contexts together that are planned one by one; where none are, nothing changes on the four
models."""

_SMALL_ROOTS = (3, 4, 9, 16)
"""Only 4, or 40 as well: no change on the four models, which have free roots."""

_LARGE_ROOTS = (3, 4, 9, 16, 40)
"""More branches pay for their nodes where there are many tuples; 40 of them take the planner longest."""

_FREE_ROOTS = (2, 4, 8, 16)
"""Only 4 and 8: +4.5, +1.9, -0.5, +1.4 %; 32 as well: no change."""

_MIN_LIMITED_VALUES = 1 << 22
"""About what level 6 codes at most (`level._MAX_CODED_WEIGHTS`): above it, memory at load has a
price."""

_MAX_LOAD_BYTES_PER_VALUE = 28.0
"""As much as Cast, Sub, Mul and Reshape of packed integers take (CODEC.md, section 1, rule 8)."""


_PRICE_OF_LOAD_BYTE = 0.002
"""Share of the file that a byte of memory at load for each integer of a large model is worth."""


@dataclass(frozen=True, eq=False)
class CodePlan:
    """The codes of all contexts.

    Attributes:
        order: the sorted table.
        ends: (n_contexts,) the first row of each context that is coded as literals.
        n_roots: common number of branches, one of `trees.ROOTS`; 0 when each context has its own.
        trees: the contexts' codes.
        cost: bits of everything, and what memory at load is worth.
        is_sparse: (n_contexts,) whether a context's tuples take no bits, are zero, and an overlay
            (`overlay.py`) has what is not.
    """

    order: TupleOrder
    ends: Ints
    n_roots: int
    trees: Sequence[Tree]
    cost: float
    is_sparse: NDArray[np.bool_]

    @property
    def levels(self) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """(value, width) of the fields in each bit string, by context * n_rows + row."""
        fields = self._fields
        kept = [not self.n_roots, any(tree.branch_bits.any() for tree in self.trees), True]
        return [(fields[2 * i], fields[2 * i + 1]) for i in range(3) if kept[i]]

    @property
    def roots(self) -> NDArray[np.int32]:
        """The first field, by context * n_rows + row."""
        return np.asarray(self._fields[0])

    @property
    def _fields(self) -> NDArray[np.int32]:
        fields = [tree.fields(self.order.n_rows) for tree in self.trees]
        return np.stack(fields, axis=1).reshape(6, -1)


def choose_code(layout: TupleLayout) -> CodePlan:
    """Return the cheapest plan for all tuples of a layout, chosen on a sample of a large one."""
    orders = finalists(layout)
    if layout.n_values < _MIN_LIMITED_VALUES:
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
    n_values = float(counts.sum()) * order.length
    if n_values >= _MIN_LIMITED_VALUES:
        excess = _load_bytes(best, counts) / n_values - _MAX_LOAD_BYTES_PER_VALUE
        n_bits *= 1 + _PRICE_OF_LOAD_BYTE * max(0.0, excess)
    return replace(best, cost=n_bits)


def _plan_with_tail(layout: TupleLayout, order: TupleOrder, counts: Ints, share: float) -> CodePlan:
    """CodePlan trees for the rows before a tail that holds a share of each context's tuples at most."""
    behind = counts.sum(1, keepdims=True) - np.cumsum(counts, axis=1)
    ends = np.argmax(behind <= share * counts.sum(1, keepdims=True), axis=1) + 1
    kept = np.where(np.arange(counts.shape[1]) < ends[:, None], counts, 0)
    tail_bits = literal_bits(order.length) * (counts - kept).sum(axis=1)
    n_roots, trees, is_sparse = _best_trees(kept, tail_bits, _sparse_bits(layout, order, counts))
    n_bits = sum(tree.n_bits for tree in trees) + float(tail_bits[~is_sparse].sum())
    return CodePlan(order, np.where(is_sparse, 1, ends), n_roots, trees, n_bits, is_sparse)


def _sparse_bits(layout: TupleLayout, order: TupleOrder, counts: Ints) -> Floats:
    """Estimate each context's bits when an overlay has its ones and all other tuples are literals."""
    magnitudes = np.abs(order.table())
    if magnitudes[0].any():
        return np.full(len(counts), np.inf)
    is_literal = magnitudes.max(axis=1) > 1
    n_ones = (counts @ np.where(is_literal, 0, magnitudes.sum(axis=1))).astype(np.float64)
    n_bits = n_overlay_bits(n_ones, counts.sum(axis=1) * float(order.length), layout.n_runs)
    n_literals = counts[:, is_literal].sum(axis=1)
    return np.asarray(n_bits + literal_bits(order.length) * n_literals, np.float64)


def _best_trees(
    counts: Ints, tail_bits: Floats, sparse_bits: Floats
) -> tuple[int, list[Tree], NDArray[np.bool_]]:
    """Return trees with the best common root, or with their own (0) where that is worth its nodes.

    Args:
        counts: (n_contexts, n_rows).
        tail_bits: what each context's literals cost besides its tree.
        sparse_bits: what each context costs with an overlay and without a tree.
    """
    is_large = int(counts.sum()) > _MAX_FREE_ROOT_TUPLES
    common_roots = _LARGE_ROOTS if is_large else _SMALL_ROOTS
    roots = sorted({*common_roots, *(() if is_large else _FREE_ROOTS)})
    n_rows = sum(int(np.flatnonzero(row)[-1]) + 1 for row in counts)
    planned = [plan_trees(row, roots, n_rows <= _MAX_FINE_ROWS) for row in counts]
    cost, n_roots = min((sum(trees[n].n_bits for trees in planned), n) for n in common_roots)
    none = np.zeros(len(counts), np.bool_)
    common = [trees[n_roots] for trees in planned]
    if is_large:
        return n_roots, common, none
    free = [min((trees[n] for n in _FREE_ROOTS), key=lambda t: t.n_bits) for trees in planned]
    gains = np.array([tree.n_bits for tree in free]) + tail_bits - sparse_bits - _SPARSE_CONTEXT_BITS
    gain = float(gains[gains > 0].sum()) - _OVERLAY_BITS
    if sum(tree.n_bits for tree in free) + _FREE_ROOT_BITS - max(gain, 0.0) >= cost:
        return n_roots, common, none
    if gain <= 0:
        return 0, free, none
    trees = [
        Tree(np.zeros(1, np.int32), np.zeros(1, np.int32), float(bits)) if gained > 0 else tree
        for tree, bits, gained in zip(free, sparse_bits, gains, strict=True)
    ]
    return 0, trees, gains > 0


def _load_bytes(plan: CodePlan, counts: Ints) -> float:
    """Return the memory that the graph's intermediates take while it is folded.

    Each takes 4 bytes a tuple (4 of them, and 7 a level); the windows take 10.5 a bit.
    """
    widths = [width for _, width in plan.levels]
    n_bits = sum(float((width.reshape(counts.shape) * counts).sum()) for width in widths)
    return float(counts.sum()) * (16 + 28 * len(widths)) + 10.5 * n_bits
