"""The encoder behind `prefix.py`: chooses contexts, tuples and trees by cost and writes the streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.bits import pack_fields
from onnxzip.coding.contexts import find_contexts
from onnxzip.coding.layout import LARGE_ARRAY, Integers, Ints, Layout
from onnxzip.coding.prefix import MAX_GAP, MIN_GAP_POSITIONS, Book, Chunk, Streams, Unit
from onnxzip.coding.search import finalists
from onnxzip.coding.trees import ROOTS, Tree, plan_trees
from onnxzip.coding.tuples import TupleOrder, find_outliers, literal_bits, number_tuples

MAX_LEVEL_BITS = (1 << 24) - (1 << 12)
MAX_CHUNK_TUPLES = (1 << 24) - (1 << 12)
MIN_CODED_BYTES = 4096
_MIN_OUTLIER_BITS = 26.0
_FREE_ROOT_BITS = 8 * 150.0
_MAX_FREE_ROOT_TUPLES = 1 << 20
_MIN_LIMITED_VALUES = 1 << 22
_MAX_LOAD_BYTES_PER_VALUE = 28.0
_LITERAL_SHARES = (0.0, 1e-4, 1e-3)
_FREE_ROOTS = (2, 4, 8, 16)
_MAX_FINE_ROWS = 1 << 15
_SMALL_ROOTS = (3, 4, 9, 16)
_LARGE_ROOTS = (3, 4, 9, 16, 40)


def encode(arrays: Sequence[Integers]) -> Streams:
    """Encode all integer arrays of a model together.

    Args:
        arrays: (n_segments, length) int32 each, any values of magnitude below 2 ** 24; a segment is a
            run of integers that are expected to have a common distribution.

    Returns:
        Streams that `decode` turns into the same arrays; deterministic.
    """
    shapes = tuple((a.shape[0], a.shape[1]) for a in arrays)
    plain = {i: a.astype(smallest_type(a)) for i, a in enumerate(arrays)}
    members = [i for i, a in enumerate(arrays) if a.size and _is_compressible(a)]
    if sum(plain[i].nbytes for i in members) < MIN_CODED_BYTES:
        return Streams(shapes, plain)
    groups = _group(arrays, members)
    labels = find_contexts([arrays[i] for group in groups for i in group]).labels
    layout = Layout(arrays, groups, labels)
    plan = min((_plan(layout, order) for order in finalists(layout)), key=_cost)
    units, chunks = _write(layout, plan)
    rest = {i: a for i, a in plain.items() if i not in members}
    return Streams(shapes, rest, plan.book, tuple(units), tuple(chunks))


def smallest_type(array: Integers) -> np.dtype[np.signedinteger]:
    """Return the smallest signed type that holds the array."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    fits = (t for t in (np.int8, np.int16) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.dtype(next(fits, np.int32))


def _is_compressible(array: Integers) -> bool:
    """Whether at least an eighth of a plain array's bits can be saved."""
    sample = array.ravel()[:: max(1, array.size // 50_000)]
    _, counts = np.unique(sample, return_counts=True)
    p = counts / counts.sum()
    n_new = float(np.count_nonzero(counts == 1)) / len(sample)
    bits = float(-(p * np.log2(p)).sum()) + n_new * _MIN_OUTLIER_BITS
    return bits < 7 * smallest_type(array).itemsize


def _group(arrays: Sequence[Integers], members: Sequence[int]) -> list[tuple[int, ...]]:
    """Put small arrays into one group and each large one into its own."""
    small = tuple(i for i in members if arrays[i].size < LARGE_ARRAY)
    large: list[tuple[int, ...]] = [(i,) for i in members if arrays[i].size >= LARGE_ARRAY]
    return [small, *large] if small else large


@dataclass(frozen=True, eq=False)
class _Plan:
    """A choice of tuples and trees.

    Attributes:
        contexts: (n,) the tuples' contexts.
        rows: (n,) their sorted rows, 0 for literals.
        literals: where the literals are.
        fields: (6, n_contexts * n_rows) value and width of the fields of each (context, row).
        n_bits: cost of everything.
    """

    book: Book
    contexts: Ints
    rows: Ints
    literals: Ints
    fields: NDArray[np.int32]
    n_bits: float


def _plan(layout: Layout, order: TupleOrder) -> _Plan:
    """Plan the trees of all contexts."""
    parts = [layout.tuples(g, order.length, order.neutral) for g in range(len(layout.groups))]
    tuples, contexts = (np.concatenate(part) for part in zip(*parts, strict=True))
    row_of_number = np.empty(order.n_rows, np.int64)
    row_of_number[order.numbers] = np.arange(order.n_rows)
    rows = row_of_number[number_tuples(tuples, order)]
    literal = find_outliers(tuples, order)
    pairs = (contexts * order.n_rows + rows)[~literal]
    counts = np.bincount(pairs, minlength=layout.n_contexts * order.n_rows).reshape(
        layout.n_contexts, -1
    )
    counts[:, 0] += ~counts.any(axis=1)
    options = [_cut_and_plan(counts, share, order.length) for share in _LITERAL_SHARES]
    n_bits, ends, n_roots, trees = min(options, key=lambda option: option[0])
    literal |= rows >= ends[contexts]
    rows[literal] = 0
    positions = _with_stops(np.flatnonzero(literal))
    n_bits += len(positions) * literal_bits(order.length) + 8 * order.n_bytes
    fields = np.stack([tree.fields(order.n_rows) for tree in trees], axis=1).reshape(6, -1)
    book = _make_book(order, tuples[positions], n_roots, trees)
    return _Plan(book, contexts, rows, positions, fields, n_bits)


def _cut_and_plan(counts: Ints, share: float, length: int) -> tuple[float, Ints, int, list[Tree]]:
    """Plan trees for the rows before a tail that holds a share of each context's tuples at most.

    Returns:
        The bits, that of the tail's literals included; the first row of each context's tail; the number
        of roots and the trees.
    """
    behind = counts.sum(1, keepdims=True) - np.cumsum(counts, axis=1)
    ends = np.argmax(behind <= share * counts.sum(1, keepdims=True), axis=1) + 1
    kept = np.where(np.arange(counts.shape[1]) < ends[:, None], counts, 0)
    n_roots, trees = _best_trees(kept)
    n_bits = sum(tree.n_bits for tree in trees) + literal_bits(length) * float((counts - kept).sum())
    return n_bits, ends, n_roots, trees


def _cost(plan: _Plan) -> float:
    """Return the plan's bits, plus what a large model's memory at load beyond a limit is worth.

    The graph's intermediates take 4 bytes a tuple each (7 a level, 4 before) and 10.5 bytes for each
    bit in a bit string; 5 bytes a weight are worth 1% of the file.
    """
    n_tuples, n_values = len(plan.rows), len(plan.rows) * plan.book.order.length
    if n_values < _MIN_LIMITED_VALUES:
        return plan.n_bits
    pairs = plan.contexts * plan.book.order.n_rows + plan.rows
    widths = [width[pairs] for _, width in _levels(plan)]
    n_bytes = n_tuples * (16 + 28 * len(widths)) + 10.5 * sum(
        float(w.sum(dtype=np.int64)) for w in widths
    )
    return plan.n_bits * (1 + 0.002 * max(0.0, n_bytes / n_values - _MAX_LOAD_BYTES_PER_VALUE))


def _with_stops(positions: Ints) -> Ints:
    """Add positions in between, so that gaps fit MAX_GAP."""
    gaps = np.diff(positions, prepend=0)
    n_stops = np.maximum(-(-gaps // MAX_GAP) - 1, 0)
    if len(positions) <= MIN_GAP_POSITIONS or not n_stops.any():
        return positions
    steps = np.arange(int(n_stops.sum())) - np.repeat(np.cumsum(n_stops) - n_stops, n_stops) + 1
    stops = np.repeat(positions - gaps, n_stops) + steps * MAX_GAP
    return np.sort(np.concatenate([positions, stops]))


def _best_trees(counts: Ints) -> tuple[int, list[Tree]]:
    """Return trees with the best common root, or with their own (0) where that is worth its nodes."""
    is_large = int(counts.sum()) > _MAX_FREE_ROOT_TUPLES
    common_roots = _LARGE_ROOTS if is_large else _SMALL_ROOTS
    roots = sorted({*common_roots, *(() if is_large else _FREE_ROOTS)})
    is_fine = bool(np.count_nonzero(counts) <= _MAX_FINE_ROWS)
    planned = [plan_trees(row, roots, is_fine) for row in counts]
    cost, n_roots = min((sum(trees[n].n_bits for trees in planned), n) for n in common_roots)
    if not is_large:
        free = [min((trees[n] for n in _FREE_ROOTS), key=lambda t: t.n_bits) for trees in planned]
        if sum(tree.n_bits for tree in free) + _FREE_ROOT_BITS < cost:
            return 0, free
    return n_roots, [trees[n_roots] for trees in planned]


def _make_book(order: TupleOrder, literals: Integers, n_roots: int, trees: Sequence[Tree]) -> Book:
    """Number the nodes of all trees level by level."""
    roots = np.array([(tree.n_branches - 1).bit_length() for tree in trees])
    branches = np.concatenate([tree.branch_bits for tree in trees])
    levels = [] if n_roots else [roots]
    levels += [branches] if branches.any() else []
    sizes = [len(tree.cell_bits) for tree in trees]
    first_cells = sum(len(level) for level in levels) + np.cumsum(sizes) - sizes
    levels.append(np.concatenate([tree.cell_bits for tree in trees]))
    widths = np.concatenate(levels).astype(np.uint8)
    level_sizes = tuple(len(level) for level in levels)
    return Book(order, literals, n_roots, widths, level_sizes, tuple(int(c) for c in first_cells))


def _write(layout: Layout, plan: _Plan) -> tuple[list[Unit], list[Chunk]]:
    """Write the units and chunks of a plan."""
    book, order = plan.book, plan.book.order
    units = []
    for g, group in enumerate(layout.groups):
        row_length = layout.row_length(g, order.length)
        units.append(Unit(group, layout.n_tuples(g, order.length), row_length))
    pairs = plan.contexts * order.n_rows + plan.rows
    n_missing = -len(pairs) % _block(book)
    pairs = np.append(pairs, np.repeat(plan.contexts[-1:] * order.n_rows, n_missing))
    units[-1] = replace(units[-1], n_tuples=units[-1].n_tuples + n_missing)
    widths = [width[pairs] for _, width in _levels(plan)]
    chunks = []
    for start, end in _cut(widths, _block(book)):
        first, last = (int(i) for i in np.searchsorted(plan.literals, [start, end]))
        chunks.append(_write_chunk(plan, pairs[start:end], plan.literals[first:last] - start, first))
    return units, chunks


def _block(book: Book) -> int:
    """Return of what number of tuples a chunk is a multiple."""
    return ROOTS[book.n_roots] if book.n_roots else 1


def _levels(plan: _Plan) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Return (values, widths) by (context, row) for each level of the bit strings."""
    levels = [(plan.fields[2 * i], plan.fields[2 * i + 1]) for i in range(3)]
    kept = [not plan.book.n_roots, bool(levels[1][1].any()), True]
    return [level for level, is_kept in zip(levels, kept, strict=True) if is_kept]


def _cut(widths: Sequence[NDArray[np.int32]], block: int) -> Iterator[tuple[int, int]]:
    """Cut the tuples into the fewest chunks of about equal length that keep both limits."""
    n = len(widths[0])
    sums = [np.append(0, np.cumsum(width, dtype=np.int64)) for width in widths]
    n_chunks = max(-(-n // MAX_CHUNK_TUPLES), *(-(-int(s[-1]) // MAX_LEVEL_BITS) for s in sums), 1)
    while True:
        edges = np.linspace(0, n // block, n_chunks + 1).astype(np.int64) * block
        if max(int(np.diff(s[edges]).max()) for s in sums) <= MAX_LEVEL_BITS:
            break
        n_chunks += 1
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _write_chunk(plan: _Plan, pairs: Ints, literals: Ints, first_literal: int) -> Chunk:
    n_roots = plan.book.n_roots
    contexts = pairs // plan.book.order.n_rows
    levels = [pack_fields(values[pairs], widths[pairs]) for values, widths in _levels(plan)]
    sizes = np.array([len(level) for level in levels])
    starts = np.flatnonzero(np.append(True, np.diff(contexts) != 0))
    return Chunk(
        n_tuples=len(pairs),
        starts=starts.astype(np.int32),
        contexts=contexts[starts].astype(np.uint8),
        roots=_pack_roots(plan.fields[0][pairs], n_roots) if n_roots else np.zeros(0, np.uint16),
        fields=np.append(np.concatenate(levels), np.uint8(0)),
        level_starts=tuple(int(i) for i in np.cumsum(sizes) - sizes),
        literal_positions=literals.astype(np.int32),
        first_literal=first_literal,
    )


def _pack_roots(roots: NDArray[np.int32], base: int) -> NDArray[np.uint16]:
    places = base ** np.arange(ROOTS[base], dtype=np.int32)
    return (roots.reshape(-1, ROOTS[base]) @ places).astype(np.uint16)
