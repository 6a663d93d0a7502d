"""The coefficient coder: what integers become, a few streams that a graph without loops reads back.

All arrays are laid one behind the other and cut into tuples of d integers. Each tuple is coded, in the
context of the segment its first integer lies in, as a row of the table of all tuples sorted by
probability (`tuples.py`), whose code word is three fields (`trees.py`). All first fields make one bit
string, all second fields another, and so on. With per-node tables `width` and `first` the decoder is

    node = context
    for each kind of field:
        position = exclusive cumulative sum of width[node]
        node = first[node] + bits of this string(position, width[node])
    integers = table[node]

so that it needs cumulative sums and look-ups, no loop (tests/codec/coding/decoder.py has it in numpy).
Eight tuples in a row, a block, have their context in common. Tuples with an integer outside the alphabet
are literals, which are told by their position. Contexts of zeros with a few ones take no bits here: an
overlay tells which tuples have a one. Long streams are cut into chunks so that no node
makes more than 1 MiB of less; what the coder would make larger is kept as plain small integers.
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
        literals: (n_literals, length) int32, of all chunks.
        widths: (n_nodes,) uint8, width of the field that follows at each node, level by level: the
            contexts, the branches of all contexts (left out when all are 0 wide), the cells of all
            contexts.
        level_sizes: number of nodes of each level.
        first_cells: the node that is each context's first cell.
    """

    order: TupleOrder
    literals: Integers
    widths: NDArray[np.uint8]
    level_sizes: tuple[int, ...]
    first_cells: tuple[int, ...]

    @property
    def n_inner(self) -> int:
        """Nodes that lead to other nodes; the cells, which lead to rows, are behind them."""
        return sum(self.level_sizes[:-1])

    @property
    def widest(self) -> int:
        """Bits of the widest field; 1 if all are 0 wide."""
        return max(int(self.widths.max()), 1)

    @cached_property
    def resets(self) -> tuple[Integers, Integers]:
        """(nodes, increments): where the running sum behind `first` falls back to a sorted row."""
        sizes = 1 << self.widths.astype(np.int64)
        sums = self.level_sizes[0] + np.cumsum(sizes) - sizes
        nodes, increments = [], []
        for cell in self.first_cells:
            nodes.append(cell - 1)
            increments.append(-int(sums[cell - 1]))
            sums[cell:] -= sums[cell]
        return np.array(nodes, np.int32), np.array(increments, np.int32)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of the stream of tuples.

    Attributes:
        n_tuples: number of tuples, whole blocks.
        starts: (n_runs,) int32, the first block of each run of blocks with one context; starts[0] = 0.
        contexts: (n_runs,) uint8, the runs' contexts.
        fields: uint8, all fields (`bits.py`): one bit string for each level and a last byte.
        level_starts: first byte of each level.
        overlay: tuples of ones in what the fields say is zero.
        literal_positions: int32, rising, the tuples that are literals.
        first_literal: which literal the first of them is; the others follow in order.
    """

    n_tuples: int
    starts: Integers
    contexts: NDArray[np.uint8]
    fields: NDArray[np.uint8]
    level_starts: tuple[int, ...]
    overlay: Overlay
    literal_positions: Integers
    first_literal: int


@dataclass(frozen=True, eq=False)
class Unit:
    """Arrays whose tuples follow each other without a gap: all small ones together, each large one.

    Attributes:
        members: indices of the arrays.
        n_tuples: tuples that hold them, padded to whole blocks.
        row_length: 0 when the arrays lie one behind the other; else the length that each row of the
            unit's only array is padded to, a multiple of the tuples' length.
    """

    members: tuple[int, ...]
    n_tuples: int
    row_length: int


@dataclass(frozen=True, eq=False)
class Outliers:
    """Integers of an array that are put in place last, so that all others fit a byte.

    Attributes:
        positions: (n,) int32, rising, in the flat array.
        values: (n,) int32.
    """

    positions: Integers
    values: Integers


@dataclass(frozen=True, eq=False)
class Streams:
    """All integer arrays of a model, coded.

    Attributes:
        shapes: (n_segments, length) of each array.
        plain: arrays that are stored as they are, in the smallest integer type, by index.
        book: tables; None when everything is plain.
        units: in the order of their tuples.
        chunks: the tuples of all units.
        outliers: of coded arrays, by index.
    """

    shapes: tuple[tuple[int, int], ...]
    plain: Mapping[int, NDArray[np.signedinteger]] = field(default_factory=dict)
    book: Book | None = None
    units: tuple[Unit, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    outliers: Mapping[int, Outliers] = field(default_factory=dict)

    @property
    def dtype(self) -> type[np.signedinteger]:
        """The smallest integer type that holds all that is coded."""
        assert self.book is not None
        order = self.book.order
        ends = [order.low, order.low + order.n_symbols - 1, -1, 1]
        if self.book.literals.size:
            ends += [int(self.book.literals.min()), int(self.book.literals.max())]
        return smallest_type(min(ends), max(ends))


def smallest_type(low: int, high: int) -> type[np.signedinteger]:
    """Return the smallest signed type that holds integers from `low` to `high`."""
    fits = (t for t in (np.int8, np.int16) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return next(fits, np.int32)
