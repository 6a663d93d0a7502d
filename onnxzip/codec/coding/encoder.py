"""The encoder behind `prefix.py`: what is coded, in which contexts, and how it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.bits import pack_fields
from onnxzip.codec.coding.code_plan import CodePlan, choose_code
from onnxzip.codec.coding.contexts import OUTLIER_BITS, find_contexts
from onnxzip.codec.coding.overlay import Overlay, patterns_of, write_overlay
from onnxzip.codec.coding.prefix import (
    MAX_GAP,
    MIN_GAP_POSITIONS,
    Book,
    Chunk,
    Outliers,
    Streams,
    Unit,
    smallest_type,
)
from onnxzip.codec.coding.tuple_layout import BLOCK, LARGE_ARRAY, Integers, Ints, TupleLayout
from onnxzip.codec.coding.tuples import find_outliers, number_tuples

MAX_CHUNK_TUPLES = 1 << 18
"""Of which an int32 each takes 1 MiB, as much as a node may make of less (`emit.nodes`)."""

MAX_CHUNK_BYTES = (1 << 17) - 16
"""Of fields, of which the windows take 1 MiB; 16 is room for what is rounded up, and the last byte."""

_RARE = 0.05
"""Share of an array's integers that may be outliers. One takes 4 bytes in the file, about what it takes
as a literal, and spares all other integers of the model a second byte at load."""

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
    plain = {i: a.astype(_type_of(a)) for i, a in enumerate(arrays)}
    members = [i for i, a in enumerate(arrays) if a.size and _is_compressible(a)]
    if sum(plain[i].nbytes for i in members) < MIN_CODED_BYTES:
        return Streams(shapes, plain)
    outliers = {i: found for i in members if (found := _find_outliers(arrays[i])) is not None}
    arrays = [_without(a, outliers[i]) if i in outliers else a for i, a in enumerate(arrays)]
    groups = _group(arrays, members)
    labels = find_contexts([arrays[i] for group in groups for i in group]).labels
    layout = TupleLayout(arrays, groups, labels)
    book, units, chunks = _write(layout, choose_code(layout))
    rest = {i: a for i, a in plain.items() if i not in members}
    return Streams(shapes, rest, book, tuple(units), tuple(chunks), outliers)


def _find_outliers(array: Integers) -> Outliers | None:
    """Return what does not fit a byte, if that is little enough."""
    positions = np.flatnonzero((array < -128) | (array > 127))
    if not 0 < len(positions) <= max(1, _RARE * array.size):
        return None
    return Outliers(positions.astype(np.int32), array.ravel()[positions])


def _without(array: Integers, outliers: Outliers) -> Integers:
    """Return the array with zeros in the outliers' places."""
    rest = array.copy()
    rest.flat[outliers.positions] = 0
    return rest


def _type_of(array: Integers) -> type[np.signedinteger]:
    return smallest_type(int(array.min()), int(array.max())) if array.size else np.int8


def _is_compressible(array: Integers) -> bool:
    """Whether coding a plain array saves more than its tables and the coder's own loss take."""
    sample = array.ravel()[:: max(1, array.size // 50_000)]
    _, counts = np.unique(sample, return_counts=True)
    p = counts / counts.sum()
    n_new = float(np.count_nonzero(counts == 1)) / len(sample)
    bits = float(-(p * np.log2(p)).sum()) + n_new * OUTLIER_BITS
    return bits < _MAX_BITS_OF_8 * np.dtype(_type_of(array)).itemsize


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
    levels = [np.array([(tree.n_branches - 1).bit_length() for tree in plan.trees], np.int32)]
    if branches.any():
        levels.append(branches)
    sizes = [len(tree.cell_bits) for tree in plan.trees]
    first_cells = sum(len(level) for level in levels) + np.cumsum(sizes) - sizes
    levels.append(np.concatenate([tree.cell_bits for tree in plan.trees]))
    widths = np.concatenate(levels).astype(np.uint8)
    level_sizes = tuple(len(level) for level in levels)
    cells = tuple(int(c) for c in first_cells)
    return Book(plan.order, literals, widths, level_sizes, cells)


def _write(layout: TupleLayout, plan: CodePlan) -> tuple[Book, list[Unit], list[Chunk]]:
    """Write the book, the units and the chunks of a plan."""
    order = plan.order
    n_units = len(layout.groups)
    parts = [layout.tuples(g, order.length, order.neutral) for g in range(n_units)]
    units = [
        Unit(group, len(part), layout.row_length(g, order.length))
        for g, (group, (part, _)) in enumerate(zip(layout.groups, parts, strict=True))
    ]
    tuples, contexts = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows = order.rows[number_tuples(tuples, order)]
    patterns = patterns_of(tuples)
    in_overlay = plan.is_sparse[contexts] & (patterns >= 0)
    rows[in_overlay] = 0
    is_literal = (find_outliers(tuples, order) | (rows >= plan.ends[contexts])) & ~in_overlay
    pairs = contexts * order.n_rows + np.where(is_literal, 0, rows)
    chunks: list[Chunk] = []
    literals: list[Integers] = []
    for start, end in _cut([width[pairs] for _, width in plan.levels]):
        ones = np.flatnonzero(in_overlay[start:end] & (patterns[start:end] > 0))
        overlay = write_overlay(patterns[start:end], ones, order.length)
        positions = _with_stops(np.flatnonzero(is_literal[start:end]))
        first_literal = sum(len(part) for part in literals)
        literals.append(tuples[start:end][positions])
        chunks.append(_write_chunk(plan, pairs[start:end], overlay, positions, first_literal))
    return _make_book(plan, np.concatenate(literals)), units, chunks


def _cut(widths: Sequence[NDArray[np.int32]]) -> Iterator[tuple[int, int]]:
    """Cut the tuples into the fewest chunks of about equal length that keep both limits."""
    n = len(widths[0])
    sums = np.append(0, np.cumsum(np.sum(widths, axis=0), dtype=np.int64))
    most = 8 * MAX_CHUNK_BYTES
    n_chunks = max(-(-n // MAX_CHUNK_TUPLES), -(-int(sums[-1]) // most), 1)
    while True:
        edges = np.linspace(0, n // BLOCK, n_chunks + 1).astype(np.int64) * BLOCK
        if int(np.diff(sums[edges]).max()) <= most and int(np.diff(edges).max()) <= MAX_CHUNK_TUPLES:
            break
        n_chunks += 1
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _write_chunk(
    plan: CodePlan, pairs: Ints, overlay: Overlay, literals: Ints, first_literal: int
) -> Chunk:
    contexts = pairs[::BLOCK] // plan.order.n_rows
    levels = [pack_fields(values[pairs], widths[pairs]) for values, widths in plan.levels]
    sizes = np.array([len(level) for level in levels])
    starts = np.flatnonzero(np.append(True, np.diff(contexts) != 0))
    return Chunk(
        n_tuples=len(pairs),
        starts=starts.astype(np.int32),
        contexts=contexts[starts].astype(np.uint8),
        fields=np.append(np.concatenate(levels), np.uint8(0)),
        level_starts=tuple(int(i) for i in np.cumsum(sizes) - sizes),
        overlay=overlay,
        literal_positions=literals.astype(np.int32),
        first_literal=first_literal,
    )
