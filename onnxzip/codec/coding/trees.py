"""Staged prefix codes: a code word is read in three steps, each a table look-up and a field.

The code of one context is a tree of three levels over the rows of a table sorted by falling
probability: n *branches*; branch i has 2^branch_bits[i] *cells*; cell j has 2^cell_bits[j] rows, and the
cells cover the rows 0, 1, 2 ... one behind the other. Reading row x costs about log2 n bits and the
branch_bits and cell_bits of its branch and cell, and no step depends on any other code word but through
a cumulative sum of widths - that is what lets a graph without loops decode it.

The planner chooses cells by bits + price * Kraft sum: a cell at depth D that covers 2^k rows from row x
costs mass * (D + k) + price * 2^-D. For rows with probabilities p the best real-valued lengths are
log2(price ln 2 / p), which gives the potential by which cells that cover different numbers of rows are
compared. An infinite price takes the largest cells: some path always reaches the last row.
Every price gives, for each row and each width, one branch that could start there; the
cheapest sequence of exactly n branches that covers all rows is found by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.bits import MAX_WIDTH

ROOTS = (2, 4, 8, 16)
"""Numbers of branches: the first field has 1 to 4 bits. Only 4 and 8: +4.5, +1.9, -0.5, +1.4 %; 32 as
well: no change."""

MAX_BRANCH_BITS = 6
"""The fewest with which four branches of cells of 2^MAX_WIDTH rows cover `tuples.MAX_ROWS`."""

_PRICES = (0.75, 0.92, 1.0, 1.08, 1.3, 1.9, 4.0, 64.0, np.inf)
"""What the Kraft sum is worth, in bits. Only 1 and inf: +0.4, +0.2, +0.3, +0.1 % of digits_cnn,
_autoencoder, _attention and _gru; 0.9, 1.0, 1.1, 1.5, 6 and inf: 0, 0, 0, +0.1 %
(`tests.bench.constants`, as all figures of this file)."""

_FINE = ((0, 1 << 31, 1),)
"""As _COARSE: every row, however many there are."""


_COARSE = ((0, 1024, 1), (1024, 4096, 4), (4096, 16384, 16), (16384, 1 << 31, 64))
"""(start, end, step) of rows at which cells may start; coarse: up to 1% more, a tenth of the time."""

_BITS_PER_NODE = 8.0
"""A node is the width of a field, a byte (`prefix.Book.widths`). Half of it: up to 5 bytes more."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tree:
    """The code of one context.

    Attributes:
        branch_bits: (n_branches,) width of the second field, by branch.
        cell_bits: (sum of 2 ** branch_bits,) width of the third field, by cell.
        n_bits: cost of the counts it was planned for, its own table included.
    """

    branch_bits: NDArray[np.int32]
    cell_bits: NDArray[np.int32]
    n_bits: float

    @property
    def n_branches(self) -> int:
        """Number of values of the first field."""
        return len(self.branch_bits)

    def fields(self, n_rows: int) -> NDArray[np.int32]:
        """Return (6, n_rows): the value and width of each of a row's three fields."""
        branch_of_cell = np.repeat(np.arange(len(self.branch_bits)), 1 << self.branch_bits)
        first_cell = np.cumsum(1 << self.branch_bits) - (1 << self.branch_bits)
        cell_of_row = np.repeat(np.arange(len(self.cell_bits)), 1 << self.cell_bits)[:n_rows]
        first_row = np.cumsum(1 << self.cell_bits) - (1 << self.cell_bits)
        branch = branch_of_cell[cell_of_row]
        fields = np.zeros((6, n_rows), np.int32)
        n = len(cell_of_row)
        fields[0, :n], fields[1, :n] = branch, (self.n_branches - 1).bit_length()
        fields[2, :n], fields[3, :n] = cell_of_row - first_cell[branch], self.branch_bits[branch]
        fields[4, :n] = np.arange(n) - first_row[cell_of_row]
        fields[5, :n] = self.cell_bits[cell_of_row]
        return fields


def plan_trees(counts: NDArray[np.int64], roots: Sequence[int], is_fine: bool = True) -> dict[int, Tree]:
    """CodePlan the cheapest tree for each given number of branches.

    Args:
        counts: (n_rows,) how often each row occurs, about falling; at least one occurs.
        roots: numbers of branches to plan for.
        is_fine: whether to look at every row, else at every one in the head of the table only.

    Returns:
        By number of branches, a tree that covers all rows up to the last that occurs; a number that is
        too small for that has none.
    """
    counts = counts[: int(np.flatnonzero(counts)[-1]) + 1]
    rows = _Rows(counts / counts.sum(), smooth(counts), _FINE if is_fine else _COARSE)
    planned = {n: _plan_tree(rows, n, float(counts.sum())) for n in roots}
    return {n: tree for n, tree in planned.items() if tree is not None}


def _plan_tree(rows: _Rows, n_branches: int, total: float) -> Tree | None:
    node_cost = _BITS_PER_NODE / total
    root_bits = float(np.log2(n_branches))
    branches = [
        rows.branches(price / np.log(2.0), root_bits, width, node_cost)
        for price in _PRICES
        for width in range(MAX_BRANCH_BITS + 1)
    ]
    path = _cheapest_path(branches, n_branches, rows.n)
    if not path:
        return None
    cells = [branches[i].cells(row) for i, row in path]
    bits = sum(float(branches[i].costs[row]) for i, row in path) + node_cost * len(path)
    widths = np.array([branches[i].width for i, _ in path], np.int32)
    return Tree(widths, np.concatenate(cells).astype(np.int32), total * bits)


@dataclass(frozen=True, eq=False)
class _Branches:
    """One branch for every start row: 2 ** width cells, each the best for its price.

    Attributes:
        ends: the row behind the branch, costs: its bits, by start row.
        cell_bits, cell_ends: the cell that starts at a row, and the row behind it.
    """

    width: int
    ends: Ints
    costs: Floats
    cell_bits: Ints
    cell_ends: Ints

    def cells(self, row: int) -> Ints:
        """Return the cells of the branch that starts at a row."""
        bits = np.empty(1 << self.width, np.int64)
        for i in range(len(bits)):
            bits[i] = self.cell_bits[row]
            row = int(self.cell_ends[row])
        return bits


def _make_grid(n_rows: int, pieces: Sequence[tuple[int, int, int]]) -> Ints:
    """Return the rows at which a cell may start, and n_rows."""
    parts = [np.arange(min(start, n_rows), min(end, n_rows), step) for start, end, step in pieces]
    return np.append(np.concatenate(parts), n_rows)


class _Rows:
    """Sums over runs of 2^k rows, shared by all prices and depths.

    Cells start at the rows of a grid, which may get coarser down the table; all indices are into it.
    """

    def __init__(self, p: Floats, smoothed: Floats, pieces: Sequence[tuple[int, int, int]]) -> None:
        n = len(p)
        self._grid = grid = _make_grid(n, pieces)
        self.n = len(grid) - 1
        self._smoothed = smoothed
        self._p = p
        ends = np.minimum(grid + (1 << np.arange(MAX_WIDTH + 1))[:, None], n)
        self._ends = np.searchsorted(grid, ends)
        self._off_grid = np.where(grid[self._ends] == ends, 0.0, np.inf)
        mass = np.concatenate([[0.0], np.cumsum(p)])
        self._masses = mass[ends] - mass[grid]
        self._weighted = self._masses * np.arange(MAX_WIDTH + 1)[:, None] + self._off_grid
        self._gains: dict[float, Floats] = {}
        self._cells: dict[tuple[float, float], tuple[Ints, Ints, Floats]] = {}

    def branches(self, price: float, root_bits: float, width: int, node_cost: float) -> _Branches:
        """Join 2 ** width of the best cells at depth root_bits + width."""
        cell_bits, cell_ends, costs = self._best_cells(price, root_bits + width)
        ends = cell_ends
        for _ in range(width):
            costs = costs + costs[ends]
            ends = ends[ends]
        return _Branches(width, ends, costs + node_cost * (1 << width), cell_bits, cell_ends)

    def _best_cells(self, price: float, depth: float) -> tuple[Ints, Ints, Floats]:
        """Return by start row: the width of the best cell, the row behind it, its bits."""
        if (price, depth) not in self._cells:
            rows = np.arange(self.n + 1)
            if np.isfinite(price):
                regrets = self._masses * depth + self._weighted - self._ideal_gains(price)
                bits = np.argmin(regrets, axis=0)
            else:
                bits = MAX_WIDTH - np.argmin(self._off_grid[::-1], axis=0)
            bits[-1] = 0
            costs = self._masses[bits, rows] * (depth + bits)
            self._cells[price, depth] = (bits, self._ends[bits, rows], costs)
        return self._cells[price, depth]

    def _ideal_gains(self, price: float) -> Floats:
        """Return what ideal lengths would cost over each run, the price of its Kraft sum included."""
        if price not in self._gains:
            lengths = np.log2(price * np.log(2.0) / self._smoothed)
            ideal = np.concatenate([[0.0], np.cumsum(self._p * lengths + price * 2.0**-lengths)])
            ideal = ideal[self._grid]
            self._gains[price] = ideal[self._ends] - ideal
        return self._gains[price]


def _cheapest_path(branches: Sequence[_Branches], n_steps: int, n_rows: int) -> list[tuple[int, int]]:
    """Return (branch, start row) of the cheapest n_steps branches from row 0 to row n_rows, if any."""
    ends = np.stack([b.ends for b in branches])
    costs = np.stack([b.costs for b in branches])
    left = np.full(n_rows + 1, np.inf)
    left[-1] = 0.0
    choices = []
    for _ in range(n_steps):
        totals = costs + left[ends]
        choice = np.argmin(totals, axis=0)
        left = totals[choice, np.arange(n_rows + 1)]
        choices.append(choice.astype(np.uint8))
    row, path = 0, []
    for choice in reversed(choices) if np.isfinite(left[0]) else ():
        path.append((int(choice[row]), row))
        row = int(ends[choice[row], row])
    return path


def smooth(counts: NDArray[np.int64]) -> Floats:
    """Return probabilities near `counts`: means over blocks that grow with the row."""
    n = len(counts)
    edges = np.unique(
        np.concatenate([np.arange(min(n, 8)), 8 * 1.15 ** np.arange(120)]).astype(np.int64)
    )
    edges = edges[edges < n]
    sizes = np.diff(np.append(edges, n))
    means = np.add.reduceat(counts.astype(np.float64), edges) / sizes
    smoothed = np.repeat(means, sizes) + 1e-9
    return np.asarray(smoothed / smoothed.sum())
