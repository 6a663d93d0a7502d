"""The coefficient coder: integers to a few streams and back; `decode` is the truth for the graph.

All arrays are laid one behind the other and cut into tuples of d integers. Each tuple is coded, in the
context of the segment its first integer lies in, as a row of the table of all tuples sorted by
probability (`tuples.py`), whose code word is three fields (`trees.py`). The fields lie in one bit string:
all first fields, all second, all third ones; or, where the first fields of all contexts have one width,
they are packed by themselves. With per-node tables `width` and `first` the decoder is

    node = context                                     or    context * 2^root_bits + root
    for each kind of field:
        position = exclusive cumulative sum of width[node] + start of these fields
        node = first[node] + bits(position, width[node])
    integers = table[node]

so that it needs cumulative sums and look-ups, no loop. Integers outside the alphabet are coded as its
most neutral one and patched afterwards at explicit positions. Long streams are cut into chunks so that
no position exceeds 2^24; what the coder would make larger is kept as plain small integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.bits import windows
from onnxzip.coding.tuples import TupleOrder

Integers = NDArray[np.int32]

MAX_GAP = 65535
MIN_GAP_POSITIONS = 40
"""Positions are stored as uint16 gaps when there are more of them and no gap is above MAX_GAP."""


@dataclass(frozen=True, eq=False)
class Book:
    """The tables that all chunks share.

    Attributes:
        order: the sorted table of tuples.
        root_bits: common width of the first fields, 1, 2, 4 or 8, so that whole fields fill a byte; or
            0, when they have a width for each context and lie with the others.
        widths: (n_nodes,) uint8, width of the field that follows at each node, level by level: the
            contexts (only with root_bits 0), the branches of all contexts (left out when all are 0
            wide), the cells of all contexts.
        level_sizes: number of nodes of each level.
        first_cells: the node that is each context's first cell.
    """

    order: TupleOrder
    root_bits: int
    widths: NDArray[np.uint8]
    level_sizes: tuple[int, ...]
    first_cells: tuple[int, ...]

    @property
    def start(self) -> int:
        """Value of `first` at node 0: the first node of the second level, or row 0 if there is none."""
        return self.level_sizes[0] if len(self.level_sizes) > 1 else 0

    @cached_property
    def resets(self) -> tuple[Integers, Integers]:
        """(nodes, increments): where the running sum that makes `first` must fall back to row 0."""
        sizes = 1 << self.widths.astype(np.int64)
        sums = self.start + np.cumsum(sizes) - sizes
        nodes, increments = [], []
        for cell in self.first_cells:
            if cell > 0:
                nodes.append(cell - 1)
                increments.append(-int(sums[cell - 1]))
                sums[cell:] -= sums[cell]
        return np.array(nodes, np.int32), np.array(increments, np.int32)

    def first(self) -> Integers:
        """Return (n_nodes,) the node, or at the cells the row, that the field 0 leads to."""
        increments = (1 << self.widths.astype(np.int64)).astype(np.int32)
        nodes, values = self.resets
        increments[nodes] = values
        return (np.cumsum(increments) - increments + self.start).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of the stream of tuples.

    Attributes:
        n_tuples: number of tuples.
        starts: (n_runs,) int32, the first tuple of each run of tuples with one context; starts[0] = 0.
        contexts: (n_runs,) uint8, the runs' contexts.
        roots: uint8, first fields packed from the least significant bits of each byte upwards.
        fields: uint8, bit string of the other fields (`bits.py`), level by level.
        field_starts: bit position of the first field of each level.
    """

    n_tuples: int
    starts: Integers
    contexts: NDArray[np.uint8]
    roots: NDArray[np.uint8]
    fields: NDArray[np.uint8]
    field_starts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Patch:
    """Integers written over the decoded ones: positions in a unit (int64, rising) and values."""

    positions: NDArray[np.int64]
    values: Integers


@dataclass(frozen=True, eq=False)
class Unit:
    """Arrays whose tuples follow each other without a gap: all small ones together, each large one.

    Attributes:
        members: indices of the arrays.
        n_values: integers in them.
        n_tuples: tuples that hold them, the last one padded.
        patches: at most one for small and one for large values.
    """

    members: tuple[int, ...]
    n_values: int
    n_tuples: int
    patches: tuple[Patch, ...]


@dataclass(frozen=True, eq=False)
class Streams:
    """All integer arrays of a model, coded.

    Attributes:
        shapes: (n_segments, length) of each array.
        plain: arrays that are stored as they are, in the smallest integer type, by index.
        book: tables; None when everything is plain.
        units: in the order of their tuples.
        chunks: the tuples of all units.
    """

    shapes: tuple[tuple[int, int], ...]
    plain: Mapping[int, NDArray[np.signedinteger]] = field(default_factory=dict)
    book: Book | None = None
    units: tuple[Unit, ...] = ()
    chunks: tuple[Chunk, ...] = ()


def decode(streams: Streams) -> list[Integers]:
    """Return the arrays, (n_segments, length) int32, exactly as they were encoded."""
    arrays = {i: plain.astype(np.int32) for i, plain in streams.plain.items()}
    if streams.book is not None:
        table = streams.book.order.table()
        rows = np.concatenate([decode_chunk(chunk, streams.book) for chunk in streams.chunks])
        start = 0
        for unit in streams.units:
            flat = table[rows[start : start + unit.n_tuples]].ravel()[: unit.n_values]
            start += unit.n_tuples
            for patch in unit.patches:
                flat[patch.positions] = patch.values
            sizes = [int(np.prod(streams.shapes[i])) for i in unit.members]
            for i, part in zip(unit.members, np.split(flat, np.cumsum(sizes)[:-1]), strict=True):
                arrays[i] = part.reshape(streams.shapes[i])
    return [arrays[i] for i in range(len(streams.shapes))]


def decode_chunk(chunk: Chunk, book: Book) -> Integers:
    """Return the table row of each tuple of a chunk."""
    lengths = np.diff(np.append(chunk.starts, chunk.n_tuples))
    node = np.repeat(chunk.contexts.astype(np.int32), lengths)
    if book.root_bits:
        shifts = np.arange(0, 8, book.root_bits, dtype=np.int32)
        roots = (chunk.roots[:, None].astype(np.int32) >> shifts) % (1 << book.root_bits)
        node = (node << book.root_bits) + roots.ravel()[: chunk.n_tuples]
    window, first, widths = windows(chunk.fields), book.first(), book.widths.astype(np.int32)
    for start in chunk.field_starts:
        width = widths[node]
        position = np.cumsum(width, dtype=np.int64) - width + start
        node = first[node] + window[position] % (1 << width)
    return node
