"""The encoder behind `prefix.py`: what is coded, in which contexts, and how it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.bits import pack_fields
from onnxzip.codec.coding.code_plan import CodePlan, choose_code
from onnxzip.codec.coding.contexts import OUTLIER_BITS, find_contexts
from onnxzip.codec.coding.overlay import Overlay, write_overlay
from onnxzip.codec.coding.prefix import MAX_GAP, MIN_GAP_POSITIONS, Book, Chunk, Streams, Unit
from onnxzip.codec.coding.trees import ROOTS
from onnxzip.codec.coding.tuple_layout import LARGE_ARRAY, Integers, Ints, TupleLayout
from onnxzip.codec.coding.tuples import find_outliers, number_tuples

MAX_LEVEL_BITS = (1 << 24) - (1 << 12)
"""Positions in a level stay below 2^24, up to which float32 holds every integer (CODEC.md, section 1,
rule 3); 2^12 is room for what is rounded up to bytes and to blocks of roots."""

MAX_CHUNK_TUPLES = (1 << 24) - (1 << 12)
"""So do the numbers of tuples."""

MIN_CODED_BYTES = 4096
"""The decoder's nodes alone take some 2,000 bytes: integers from a Laplace distribution break even at
2,600 (1.6 bits each) to 3,200 (3 bits) of them, a byte each (`count_bytes` of
tests/codec/coding/model_builder.py)."""

_MAX_BITS_OF_8 = 7.5
"""A sixteenth is left for tables and for what the coder loses; 7 or 8: no change on the four models of
`tests.bench.constants`, whose integers take far fewer."""


def encode(arrays: Sequence[Integers]) -> Streams:
    """Encode all integer arrays of a model together.

    Args:
        arrays: (n_segments, length) int32 each, any values of magnitude below 2 ** 24; a segment is a
            run of integers that are expected to have a common distribution.

    Returns:
        Streams that decode to the same arrays (`prefix.py`); deterministic.
    """
    shapes = tuple((a.shape[0], a.shape[1]) for a in arrays)
    plain = {i: a.astype(smallest_type(a)) for i, a in enumerate(arrays)}
    members = [i for i, a in enumerate(arrays) if a.size and _is_compressible(a)]
    if sum(plain[i].nbytes for i in members) < MIN_CODED_BYTES:
        return Streams(shapes, plain)
    groups = _group(arrays, members)
    labels = find_contexts([arrays[i] for group in groups for i in group]).labels
    layout = TupleLayout(arrays, groups, labels)
    book, units, chunks = _write(layout, choose_code(layout))
    rest = {i: a for i, a in plain.items() if i not in members}
    return Streams(shapes, rest, book, tuple(units), tuple(chunks))


def smallest_type(array: Integers) -> np.dtype[np.signedinteger]:
    """Return the smallest signed type that holds the array."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    fits = (t for t in (np.int8, np.int16) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.dtype(next(fits, np.int32))


def _is_compressible(array: Integers) -> bool:
    """Whether coding a plain array saves more than its tables and the coder's own loss take."""
    sample = array.ravel()[:: max(1, array.size // 50_000)]
    _, counts = np.unique(sample, return_counts=True)
    p = counts / counts.sum()
    n_new = float(np.count_nonzero(counts == 1)) / len(sample)
    bits = float(-(p * np.log2(p)).sum()) + n_new * OUTLIER_BITS
    return bits < _MAX_BITS_OF_8 * smallest_type(array).itemsize


def _group(arrays: Sequence[Integers], members: Sequence[int]) -> list[tuple[int, ...]]:
    """Put small arrays into one group and each large one into its own."""
    small = tuple(i for i in members if arrays[i].size < LARGE_ARRAY)
    large: list[tuple[int, ...]] = [(i,) for i in members if arrays[i].size >= LARGE_ARRAY]
    return [small, *large] if small else large


def _with_stops(positions: Ints) -> Ints:
    """Add positions in between, so that gaps fit MAX_GAP."""
    gaps = np.diff(positions, prepend=0)
    n_stops = np.maximum(-(-gaps // MAX_GAP) - 1, 0)
    if len(positions) <= MIN_GAP_POSITIONS or not n_stops.any():
        return positions
    steps = np.arange(int(n_stops.sum())) - np.repeat(np.cumsum(n_stops) - n_stops, n_stops) + 1
    stops = np.repeat(positions - gaps, n_stops) + steps * MAX_GAP
    return np.sort(np.concatenate([positions, stops]))


def _make_book(plan: CodePlan, literals: Integers) -> Book:
    """Number the nodes of all trees level by level."""
    branches = np.concatenate([tree.branch_bits for tree in plan.trees])
    levels: list[NDArray[np.int32]] = []
    if not plan.n_roots:
        levels.append(np.array([(tree.n_branches - 1).bit_length() for tree in plan.trees], np.int32))
    if branches.any():
        levels.append(branches)
    sizes = [len(tree.cell_bits) for tree in plan.trees]
    first_cells = sum(len(level) for level in levels) + np.cumsum(sizes) - sizes
    levels.append(np.concatenate([tree.cell_bits for tree in plan.trees]))
    widths = np.concatenate(levels).astype(np.uint8)
    level_sizes = tuple(len(level) for level in levels)
    cells = tuple(int(c) for c in first_cells)
    return Book(plan.order, literals, plan.n_roots, widths, level_sizes, cells)


def _write(layout: TupleLayout, plan: CodePlan) -> tuple[Book, list[Unit], list[Chunk]]:
    """Write the book, the units and the chunks of a plan."""
    order = plan.order
    n_units = len(layout.groups)
    parts = [layout.tuples(g, order.length, order.neutral) for g in range(n_units)]
    tuples, contexts = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows = order.rows[number_tuples(tuples, order)]
    overlays, in_overlay = _overlays(plan, parts)
    rows[in_overlay] = 0
    is_literal = (find_outliers(tuples, order) | (rows >= plan.ends[contexts])) & ~in_overlay
    literals = _with_stops(np.flatnonzero(is_literal))
    book = _make_book(plan, tuples[literals])
    pairs = contexts * order.n_rows + np.where(is_literal, 0, rows)
    block = ROOTS[plan.n_roots] if plan.n_roots else 1
    n_missing = -len(pairs) % block
    pairs = np.append(pairs, np.repeat(contexts[-1:] * order.n_rows, n_missing))
    units = [
        Unit(group, len(part), layout.row_length(g, order.length), overlay)
        for g, (group, (part, _), overlay) in enumerate(zip(layout.groups, parts, overlays, strict=True))
    ]
    units[-1] = replace(units[-1], n_tuples=units[-1].n_tuples + n_missing)
    chunks = []
    for start, end in _cut([width[pairs] for _, width in plan.levels], block):
        first, last = (int(i) for i in np.searchsorted(literals, [start, end]))
        chunks.append(_write_chunk(plan, pairs[start:end], literals[first:last] - start, first))
    return book, units, chunks


def _overlays(
    plan: CodePlan, parts: Sequence[tuple[Integers, Ints]]
) -> tuple[list[Overlay], NDArray[np.bool_]]:
    """Return each unit's overlay, and a mask of the tuples that it makes up for."""
    overlays: list[Overlay] = []
    masks: list[NDArray[np.bool_]] = []
    for tuples, contexts in parts:
        mask = plan.is_sparse[contexts]
        mask[mask] = np.abs(tuples[mask]).max(axis=1, initial=0) <= 1
        flat = tuples.ravel()
        is_one = np.repeat(mask, plan.order.length) & (flat != 0)
        overlays.append(write_overlay(flat, np.flatnonzero(is_one)))
        masks.append(mask)
    return overlays, np.concatenate(masks)


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


def _write_chunk(plan: CodePlan, pairs: Ints, literals: Ints, first_literal: int) -> Chunk:
    contexts = pairs // plan.order.n_rows
    levels = [pack_fields(values[pairs], widths[pairs]) for values, widths in plan.levels]
    sizes = np.array([len(level) for level in levels])
    starts = np.flatnonzero(np.append(True, np.diff(contexts) != 0))
    return Chunk(
        n_tuples=len(pairs),
        starts=starts.astype(np.int32),
        contexts=contexts[starts].astype(np.uint8),
        roots=_pack_roots(plan.roots[pairs], plan.n_roots) if plan.n_roots else np.zeros(0, np.uint16),
        fields=np.append(np.concatenate(levels), np.uint8(0)),
        level_starts=tuple(int(i) for i in np.cumsum(sizes) - sizes),
        literal_positions=literals.astype(np.int32),
        first_literal=first_literal,
    )


def _pack_roots(roots: NDArray[np.int32], base: int) -> NDArray[np.uint16]:
    places = base ** np.arange(ROOTS[base], dtype=np.int32)
    return (roots.reshape(-1, ROOTS[base]) @ places).astype(np.uint16)
