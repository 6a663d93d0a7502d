"""The coefficient coder: what integers become, a few streams that a graph without loops reads back.

All arrays are laid one behind the other and cut into tuples of d integers. Each tuple is coded, in the
context of the segment its first integer lies in, as a row of the table of all tuples sorted by
probability (`tuples.py`), whose code word is three fields (`trees.py`). All first fields make one bit
string, all second fields another, and so on; where the first fields of all contexts have one width, they
are packed without one. With per-node tables `width` and `first` the decoder is

    node = context                                     or    context * n_roots + root
    for each kind of field:
        position = exclusive cumulative sum of width[node]
        node = first[node] + bits of this string(position, width[node])
    integers = table[node]

so that it needs cumulative sums and look-ups, no loop (tests/codec/coding/decoder.py has it in numpy).
Tuples with an integer outside the alphabet are literal rows in front of the table; their code words
stand in for others, and the graph puts the row in place by its position. Contexts of zeros with a few
ones take no bits here: an overlay puts the ones in. Long streams are cut into chunks so that no position
exceeds 2^24; what the coder would make larger is kept as plain small integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.overlay import Overlay
from onnxzip.codec.coding.tuples import TupleOrder

Integers = NDArray[np.int32]
MAX_GAP = 65535
"""The largest uint16."""


MIN_GAP_POSITIONS = 40
"""Positions are stored as uint16 gaps when there are more of them and no gap is above MAX_GAP."""


@dataclass(frozen=True, eq=False)
class Book:
    """The tables that all chunks share.

    Attributes:
        order: the sorted table of tuples.
        literals: (n_literals, length) int32, the rows in front of the sorted ones.
        n_roots: number of values of the first fields, digits to this base in 16 bits (`trees.ROOTS`);
            0 when each context has its own width of first fields, in a bit string.
        widths: (n_nodes,) uint8, width of the field that follows at each node, level by level: the
            contexts (only with n_roots 0), the branches of all contexts (left out when all are 0
            wide), the cells of all contexts.
        level_sizes: number of nodes of each level.
        first_cells: the node that is each context's first cell.
    """

    order: TupleOrder
    literals: Integers
    n_roots: int
    widths: NDArray[np.uint8]
    level_sizes: tuple[int, ...]
    first_cells: tuple[int, ...]

    @property
    def start(self) -> int:
        """Value of `first` at node 0: the first node of the second level, or row if there is none."""
        return self.level_sizes[0] if len(self.level_sizes) > 1 else len(self.literals)

    @cached_property
    def resets(self) -> tuple[Integers, Integers]:
        """(nodes, increments): where the running sum behind `first` falls back to a sorted row."""
        sizes = 1 << self.widths.astype(np.int64)
        sums = self.start + np.cumsum(sizes) - sizes
        nodes, increments = [], []
        for cell in self.first_cells:
            if cell > 0:
                nodes.append(cell - 1)
                increments.append(len(self.literals) - int(sums[cell - 1]))
                sums[cell:] += len(self.literals) - sums[cell]
        return np.array(nodes, np.int32), np.array(increments, np.int32)

    def table(self) -> Integers:
        """Return all rows, (n_literals + n_rows, length)."""
        return np.concatenate([self.literals, self.order.table()])


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of the stream of tuples.

    Attributes:
        n_tuples: number of tuples.
        starts: (n_runs,) int32, the first tuple of each run of tuples with one context; starts[0] = 0.
        contexts: (n_runs,) uint8, the runs' contexts.
        roots: uint16, first fields, the first of each group of digits least significant.
        fields: uint8, the other fields (`bits.py`): one bit string for each level and a last byte.
        level_starts: first byte of each level.
        literal_positions: int32, rising, the tuples that are literal rows.
        first_literal: the row of the first of them; the others follow in order.
    """

    n_tuples: int
    starts: Integers
    contexts: NDArray[np.uint8]
    roots: NDArray[np.uint16]
    fields: NDArray[np.uint8]
    level_starts: tuple[int, ...]
    literal_positions: Integers
    first_literal: int


@dataclass(frozen=True, eq=False)
class Unit:
    """Arrays whose tuples follow each other without a gap: all small ones together, each large one.

    Attributes:
        members: indices of the arrays.
        n_tuples: tuples that hold them, the last one padded.
        row_length: 0 when the arrays lie one behind the other; else the length that each row of the
            unit's only array is padded to, a multiple of the tuples' length.
        overlay: ones in what the tuples say is zero, over the unit's integers, padding included.
    """

    members: tuple[int, ...]
    n_tuples: int
    row_length: int
    overlay: Overlay = field(default_factory=Overlay)


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
