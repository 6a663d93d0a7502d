"""The encoder behind `prefix.py`: chooses contexts, tuples and trees by their cost and writes the streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.bits import pack_fields
from onnxzip.coding.contexts import OUTLIER_BITS, find_contexts
from onnxzip.coding.prefix import (
    MAX_GAP,
    MIN_GAP_POSITIONS,
    Book,
    Chunk,
    Integers,
    Patch,
    Streams,
    Unit,
)
from onnxzip.coding.trees import Tree, plan_trees, smooth
from onnxzip.coding.tuples import (
    MAX_LENGTH,
    TupleOrder,
    candidate_costs,
    find_outliers,
    max_symbols,
    number_tuples,
)

LARGE_ARRAY = 1 << 18
MAX_CHUNK_BITS = (1 << 24) - (1 << 12)
MAX_CHUNK_TUPLES = (1 << 24) - (1 << 12)
TUPLES_PER_BLOCK = 8
MIN_CODED_BYTES = 4096
FREE_ROOT_BITS = 8 * 150.0
MAX_FREE_ROOT_TUPLES = 1 << 20
_COMMON_ROOTS = (1, 2, 4)
_OUTSIDE_SHARES = (1e-4, 1e-3)
_SAMPLE_TUPLES = 200_000
_N_FINALISTS = 3


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
    source = _Source(arrays, groups, labels)
    plans = [_plan(source, order) for order in _finalists(source)]
    plan = min(plans, key=lambda p: p.n_bits)
    coded = {i for group in groups for i in group}
    units, chunks = _write(source, plan)
    rest = {i: a for i, a in plain.items() if i not in coded}
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
    bits = float(-(p * np.log2(p)).sum()) + n_new * OUTLIER_BITS
    return bits < 7 / 8 * 8 * smallest_type(array).itemsize


def _group(arrays: Sequence[Integers], members: Sequence[int]) -> list[tuple[int, ...]]:
    """Put small arrays into one group and each large one into its own."""
    small = tuple(i for i in members if arrays[i].size < LARGE_ARRAY)
    large = [(i,) for i in members if arrays[i].size >= LARGE_ARRAY]
    return [small, *large] if small else large


class _Source:
    """The integers of each group in one row, and the contexts of their tuples."""

    def __init__(
        self, arrays: Sequence[Integers], groups: Sequence[tuple[int, ...]], labels: NDArray[np.int64]
    ) -> None:
        self.groups = groups
        self.flats = [np.concatenate([arrays[i].ravel() for i in group]) for group in groups]
        self.n_contexts = int(labels.max()) + 1
        self._starts: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []
        n_used = 0
        for group in groups:
            lengths = np.concatenate([np.full(arrays[i].shape[0], arrays[i].shape[1]) for i in group])
            mine = labels[n_used : n_used + len(lengths)]
            n_used += len(lengths)
            new = np.append(True, np.diff(mine) != 0)
            self._starts.append((np.cumsum(lengths) - lengths)[new])
            self._labels.append(mine[new])

    def tuples(self, order: TupleOrder, stride: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return every stride-th tuple's number and context over all groups."""
        numbers, contexts = [], []
        for g, flat in enumerate(self.flats):
            padded = _pad(flat, order)[: len(flat) // order.length * order.length] if stride > 1 else _pad(flat, order)
            cut = padded.reshape(-1, order.length)[::stride]
            numbers.append(number_tuples(cut.ravel(), order.length, order.low, order.n_symbols))
            contexts.append(self._contexts(g, order.length, len(flat))[: len(padded) // order.length : stride])
        return np.concatenate(numbers), np.concatenate(contexts)

    def _contexts(self, g: int, length: int, n_values: int) -> NDArray[np.int64]:
        n_tuples = -(-n_values // length)
        starts = np.minimum(-(-self._starts[g] // length), n_tuples)
        starts[0] = 0
        return np.repeat(self._labels[g], np.diff(np.append(starts, n_tuples)))

    def histogram(self) -> tuple[int, NDArray[np.int64]]:
        """Return (low, counts) of all integers; a range above 2^16 is cut to 2^16 around the median."""
        low = min(int(f.min()) for f in self.flats)
        high = max(int(f.max()) for f in self.flats)
        if high - low >= 1 << 16:
            middle = int(np.median(np.concatenate([f[:: max(1, len(f) // 10_000)] for f in self.flats])))
            low, high = max(low, middle - (1 << 15)), min(high, middle + (1 << 15) - 1)
        counts = np.zeros(high - low + 1, np.int64)
        for flat in self.flats:
            inside = flat[~find_outliers(flat, low, len(counts))] if len(counts) >= 1 << 16 else flat
            counts += np.bincount(inside - low, minlength=len(counts))
        return low, counts


def _pad(flat: Integers, order: TupleOrder) -> Integers:
    """Fill the last tuple with the alphabet's most neutral integer."""
    missing = -len(flat) % order.length
    if not missing:
        return flat
    neutral = np.clip(0, order.low, order.low + order.n_symbols - 1)
    return np.append(flat, np.full(missing, neutral, np.int32))


def _finalists(source: _Source) -> list[TupleOrder]:
    """Return the orders of tuples whose estimated cost is least, with different lengths."""
    low, counts = source.histogram()
    n_values = sum(len(f) for f in source.flats)
    best: dict[int, tuple[float, TupleOrder]] = {}
    for length in range(1, MAX_LENGTH + 1):
        for start, size in _windows(counts, max_symbols(length)):
            n_outside = n_values - int(counts[start : start + size].sum())
            if n_outside > 0.05 * n_values and length > 1:
                continue
            costs = candidate_costs(counts[start : start + size], low + start, length)
            orders = [TupleOrder(length, low + start, c) for c in costs]
            for n_bits, order in zip(_estimate_orders(source, orders, n_values), orders, strict=True):
                cost = n_bits + n_outside * OUTLIER_BITS
                if length not in best or cost < best[length][0]:
                    best[length] = (cost, order)
    ranked = sorted(best.values(), key=lambda item: item[0])
    return [order for _, order in ranked[:_N_FINALISTS]]


def _windows(counts: NDArray[np.int64], max_size: int) -> list[tuple[int, int]]:
    """Return (start, size) of alphabets to try: as large as may be, and without the rarest integers."""
    total = int(counts.sum())
    found = [_trim(counts, max_size)]
    for share in _OUTSIDE_SHARES:
        size = max_size
        while size > 3:
            start, smaller = _trim(counts, size - 1)
            if total - int(counts[start : start + smaller].sum()) > share * total:
                break
            size = smaller
        found.append(_trim(counts, size))
    return sorted(set(found))


def _estimate_orders(source: _Source, orders: Sequence[TupleOrder], n_values: int) -> list[float]:
    """Estimate the bits of all tuples for orders with the same alphabet, on a sample."""
    length, n_rows = orders[0].length, orders[0].n_rows
    numbers, contexts = source.tuples(orders[0], max(1, n_values // length // _SAMPLE_TUPLES))
    pairs = np.bincount(contexts * n_rows + numbers, minlength=source.n_contexts * n_rows)
    by_context = pairs.reshape(source.n_contexts, -1)
    scale = n_values / length / len(numbers)
    return [scale * _estimate(by_context[:, order.numbers]) for order in orders]


def _trim(counts: NDArray[np.int64], size: int) -> tuple[int, int]:
    """Return (start, size) of the window of at most `size` integers that holds the most."""
    size = min(size, len(counts))
    sums = np.concatenate([[0], np.cumsum(counts)])
    held = sums[size:] - sums[:-size]
    middle = np.arange(len(held)) + size / 2 - len(counts) / 2
    start = int(np.lexsort((np.abs(middle), -held))[0])
    return start, size


def _estimate(counts: NDArray[np.int64]) -> float:
    """Return the bits of (n_contexts, n_rows) counts, no code word below a bit."""
    total = 0.0
    for row in counts:
        if row.any():
            total += float((row * np.maximum(-np.log2(smooth(row)), 1.0)).sum()) + 0.08 * float(row.sum())
    return total


@dataclass(frozen=True, eq=False)
class _Plan:
    """A book, the fields it codes each (context, row) with, and its cost."""

    book: Book
    fields: NDArray[np.int32]
    rows: NDArray[np.int64]
    contexts: NDArray[np.int64]
    n_bits: float


def _plan(source: _Source, order: TupleOrder) -> _Plan:
    """Plan the trees of all contexts with the best common root."""
    numbers, contexts = source.tuples(order)
    row_of_number = np.empty(order.n_rows, np.int64)
    row_of_number[order.numbers] = np.arange(order.n_rows)
    rows = row_of_number[numbers]
    pairs = np.bincount(contexts * order.n_rows + rows, minlength=source.n_contexts * order.n_rows)
    counts = pairs.reshape(source.n_contexts, -1)
    counts[:, 0] += ~counts.any(axis=1)
    best = _best_trees(counts)
    n_outside = sum(int(find_outliers(f, order.low, order.n_symbols).sum()) for f in source.flats)
    n_bits = sum(t.n_bits for t in best) + OUTLIER_BITS * n_outside
    fields = np.stack([tree.fields(order.n_rows) for tree in best], axis=1).reshape(6, -1)
    return _Plan(_make_book(order, best), fields, rows, contexts, n_bits)


def _best_trees(counts: NDArray[np.int64]) -> list[Tree]:
    """Return trees with the best common root, or with the best roots where that is worth its nodes."""
    is_large = int(counts.sum()) > MAX_FREE_ROOT_TUPLES
    roots = _COMMON_ROOTS if is_large else (*_COMMON_ROOTS, 3)
    planned = [plan_trees(row, roots) for row in counts]
    common = [[trees[root_bits] for trees in planned] for root_bits in _COMMON_ROOTS]
    best = min(common, key=lambda trees: sum(t.n_bits for t in trees))
    free = [min(trees.values(), key=lambda t: t.n_bits) for trees in planned]
    gain = sum(t.n_bits for t in best) - sum(t.n_bits for t in free)
    return free if gain > FREE_ROOT_BITS and not is_large else best


def _make_book(order: TupleOrder, trees: Sequence[Tree]) -> Book:
    """Number the nodes of all trees level by level."""
    roots = np.array([tree.root_bits for tree in trees])
    branches = np.concatenate([tree.branch_bits for tree in trees])
    is_common = bool((roots == roots[0]).all()) and int(roots[0]) in _COMMON_ROOTS
    levels = [] if is_common else [roots]
    levels += [branches] if branches.any() else []
    sizes = [len(tree.cell_bits) for tree in trees]
    first_cells = sum(len(level) for level in levels) + np.cumsum(sizes) - sizes
    levels.append(np.concatenate([tree.cell_bits for tree in trees]))
    widths = np.concatenate(levels).astype(np.uint8)
    level_sizes = tuple(len(level) for level in levels)
    return Book(order, int(roots[0]) * is_common, widths, level_sizes, tuple(int(c) for c in first_cells))


def _write(source: _Source, plan: _Plan) -> tuple[list[Unit], list[Chunk]]:
    """Write the units and chunks of a plan."""
    order = plan.book.order
    units = [
        Unit(group, len(flat), -(-len(flat) // order.length), _make_patches(flat, order))
        for group, flat in zip(source.groups, source.flats, strict=True)
    ]
    n_missing = -len(plan.rows) % TUPLES_PER_BLOCK
    units[-1] = replace(units[-1], n_tuples=units[-1].n_tuples + n_missing)
    contexts = np.append(plan.contexts, np.repeat(plan.contexts[-1], n_missing))
    pairs = contexts * order.n_rows + np.append(plan.rows, np.repeat(plan.rows[-1], n_missing))
    n_bits = plan.fields[3 if plan.book.root_bits else 1 :: 2].sum(0)[pairs]
    chunks = []
    for start, end in _cut(n_bits):
        chunks.append(_write_chunk(plan, pairs[start:end], contexts[start:end]))
    return units, chunks


def _cut(n_bits: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Cut the tuples into the fewest chunks of about equal size that keep both limits."""
    sums = np.cumsum(n_bits, dtype=np.int64)
    n_chunks = max(-(-int(sums[-1]) // MAX_CHUNK_BITS), -(-len(n_bits) // MAX_CHUNK_TUPLES))
    while True:
        edges = np.linspace(0, len(n_bits) // TUPLES_PER_BLOCK, n_chunks + 1).astype(np.int64)
        edges *= TUPLES_PER_BLOCK
        if np.diff(np.append(0, sums)[edges]).max() <= MAX_CHUNK_BITS:
            break
        n_chunks += 1
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _write_chunk(plan: _Plan, pairs: NDArray[np.int64], contexts: NDArray[np.int64]) -> Chunk:
    book = plan.book
    levels = [(plan.fields[2 * i], plan.fields[2 * i + 1]) for i in range(3)]
    roots = levels[0][0][pairs] if book.root_bits else np.zeros(0, np.int32)
    skipped = {0: bool(book.root_bits), 1: not levels[1][1].any(), 2: False}
    kept = [level for i, level in enumerate(levels) if not skipped[i]]
    widths = [width[pairs] for _, width in kept]
    ends = np.cumsum([int(w.sum(dtype=np.int64)) for w in widths])
    starts = np.flatnonzero(np.append(True, np.diff(contexts) != 0))
    return Chunk(
        n_tuples=len(pairs),
        starts=starts.astype(np.int32),
        contexts=contexts[starts].astype(np.uint8),
        roots=_pack_roots(roots, book.root_bits),
        fields=pack_fields(np.concatenate([v[pairs] for v, _ in kept]), np.concatenate(widths)),
        field_starts=(0, *(int(e) for e in ends[:-1])),
    )


def _pack_roots(roots: NDArray[np.int32], width: int) -> NDArray[np.uint8]:
    if not width:
        return np.zeros(0, np.uint8)
    per_byte = 8 // width
    padded = np.append(roots, np.zeros(-len(roots) % per_byte, np.int32)).reshape(-1, per_byte)
    return (padded << (width * np.arange(per_byte, dtype=np.int32))).sum(1).astype(np.uint8)


def _make_patches(flat: Integers, order: TupleOrder) -> tuple[Patch, ...]:
    """Return what the alphabet leaves out; apart where many values need one byte and few more."""
    positions = np.flatnonzero(find_outliers(flat, order.low, order.n_symbols))
    values = flat[positions]
    if not len(positions):
        return ()
    large = (values < -128) | (values > 127)
    parts = [~large, large] if 64 < large.sum() * 8 < large.size else [large | ~large]
    return tuple(_patch(flat, positions[part]) for part in parts)


def _patch(flat: Integers, positions: NDArray[np.int64]) -> Patch:
    """Return a patch whose gaps fit MAX_GAP: positions in between are written with what is there."""
    gaps = np.diff(positions, prepend=0)
    n_stops = np.maximum(-(-gaps // MAX_GAP) - 1, 0)
    if n_stops.any() and len(positions) > MIN_GAP_POSITIONS:
        steps = np.arange(int(n_stops.sum())) - np.repeat(np.cumsum(n_stops) - n_stops, n_stops) + 1
        stops = np.repeat(positions - gaps, n_stops) + steps * MAX_GAP
        positions = np.sort(np.concatenate([positions, stops]))
    return Patch(positions, flat[positions])
