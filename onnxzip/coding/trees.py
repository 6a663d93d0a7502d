"""Staged prefix codes: a code word is read in three steps, each a table look-up and a field.

The code of one context is a tree of three levels over the rows of a table sorted by falling
probability: 2^root_bits *branches*; branch i has 2^branch_bits[i] *cells*; cell j has 2^cell_bits[j] rows,
and the cells cover the rows 0, 1, 2 ... one behind the other. Reading row x costs root_bits +
branch_bits + cell_bits of its branch and cell, and no step depends on any other code word but through
a cumulative sum of widths - that is what lets a graph without loops decode it.

The planner chooses cells by bits + price * Kraft sum: a cell at depth D that covers 2^k rows from row x
costs mass * (D + k) + price * 2^-D. For rows with probabilities p the best real-valued lengths are
log2(price ln 2 / p), which gives the potential by which cells that cover different numbers of rows are
compared. An infinite price takes the largest cells: some path always reaches the last row.
Every price gives, for each row and each width, one branch that could start there; the
cheapest sequence of exactly 2^root_bits branches that covers all rows is found by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.bits import MAX_WIDTH

MAX_ROOT_BITS = 8
MAX_BRANCH_BITS = 5
_PRICES = (0.75, 0.92, 1.0, 1.08, 1.3, 1.9, 4.0, 64.0, np.inf)
_FEW_PRICES = (0.9, 1.0, 1.1, 1.5, 6.0, np.inf)
_MANY_BRANCHES = 32
_BITS_PER_NODE = 8.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tree:
    """The code of one context.

    Attributes:
        root_bits: width of the first field.
        branch_bits: (2 ** root_bits,) width of the second field, by branch.
        cell_bits: (sum of 2 ** branch_bits,) width of the third field, by cell.
        n_bits: cost of the counts it was planned for, its own table included.
    """

    root_bits: int
    branch_bits: NDArray[np.int32]
    cell_bits: NDArray[np.int32]
    n_bits: float

    def fields(self, n_rows: int) -> NDArray[np.int32]:
        """Return (6, n_rows): the value and width of each of a row's three fields."""
        branch_of_cell = np.repeat(np.arange(len(self.branch_bits)), 1 << self.branch_bits)
        first_cell = np.cumsum(1 << self.branch_bits) - (1 << self.branch_bits)
        cell_of_row = np.repeat(np.arange(len(self.cell_bits)), 1 << self.cell_bits)[:n_rows]
        first_row = np.cumsum(1 << self.cell_bits) - (1 << self.cell_bits)
        branch = branch_of_cell[cell_of_row]
        fields = np.zeros((6, n_rows), np.int32)
        n = len(cell_of_row)
        fields[0, :n], fields[1, :n] = branch, self.root_bits
        fields[2, :n], fields[3, :n] = cell_of_row - first_cell[branch], self.branch_bits[branch]
        fields[4, :n] = np.arange(n) - first_row[cell_of_row]
        fields[5, :n] = self.cell_bits[cell_of_row]
        return fields


def plan_trees(counts: NDArray[np.int64], roots: Sequence[int]) -> dict[int, Tree]:
    """Plan the cheapest tree for each given width of the root.

    Args:
        counts: (n_rows,) how often each row occurs, about falling; at least one occurs.
        roots: widths of the first field, 1 ... MAX_ROOT_BITS.

    Returns:
        By width, a tree that covers all rows up to the last that occurs.
    """
    counts = counts[: int(np.flatnonzero(counts)[-1]) + 1]
    rows = _Rows(counts / counts.sum(), smooth(counts))
    return {root_bits: _plan_tree(rows, root_bits, float(counts.sum())) for root_bits in roots}


def _plan_tree(rows: _Rows, root_bits: int, total: float) -> Tree:
    node_cost = _BITS_PER_NODE / total
    few = 1 << root_bits >= _MANY_BRANCHES
    branches = [
        rows.branches(price / np.log(2.0), root_bits, width, node_cost)
        for price in (_FEW_PRICES if few else _PRICES)
        for width in range(MAX_BRANCH_BITS + 1 - 2 * few)
    ]
    path = _cheapest_path(branches, 1 << root_bits, rows.n)
    cells = [branches[i].cells(row) for i, row in path]
    bits = sum(float(branches[i].costs[row]) for i, row in path) + node_cost * len(path)
    widths = np.array([branches[i].width for i, _ in path], np.int32)
    return Tree(root_bits, widths, np.concatenate(cells).astype(np.int32), total * bits)


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


class _Rows:
    """Sums over runs of 2^k rows, shared by all prices and depths."""

    def __init__(self, p: Floats, smoothed: Floats) -> None:
        self.n = n = len(p)
        self._smoothed = smoothed
        self._p = p
        self._ends = np.stack([np.minimum(np.arange(n + 1) + (1 << k), n) for k in range(MAX_WIDTH + 1)])
        mass = np.concatenate([[0.0], np.cumsum(p)])
        self._masses = mass[self._ends] - mass
        self._weighted = self._masses * np.arange(MAX_WIDTH + 1)[:, None]
        self._gains: tuple[float, Floats] = (0.0, self._masses)
        self._cells: dict[tuple[float, int], tuple[Ints, Ints, Floats]] = {}

    def branches(self, price: float, root_bits: int, width: int, node_cost: float) -> _Branches:
        """Join 2 ** width of the best cells at depth root_bits + width."""
        cell_bits, cell_ends, costs = self._best_cells(price, root_bits + width)
        ends = cell_ends
        for _ in range(width):
            costs = costs + costs[ends]
            ends = ends[ends]
        return _Branches(width, ends, costs + node_cost * (1 << width), cell_bits, cell_ends)

    def _best_cells(self, price: float, depth: int) -> tuple[Ints, Ints, Floats]:
        """Return by start row: the width of the best cell, the row behind it, its bits."""
        if (price, depth) not in self._cells:
            rows = np.arange(self.n + 1)
            if np.isfinite(price):
                regrets = self._masses * depth + self._weighted - self._ideal_gains(price)
                bits = np.argmin(regrets, axis=0)
            else:
                bits = np.full(self.n + 1, MAX_WIDTH)
            bits[-1] = 0
            costs = self._masses[bits, rows] * (depth + bits)
            self._cells[price, depth] = (bits, self._ends[bits, rows], costs)
        return self._cells[price, depth]

    def _ideal_gains(self, price: float) -> Floats:
        """Return what ideal lengths would cost over each run, the price of its Kraft sum included."""
        if self._gains[0] != price:
            lengths = np.log2(price * np.log(2.0) / self._smoothed)
            ideal = np.concatenate([[0.0], np.cumsum(self._p * lengths + price * 2.0**-lengths)])
            self._gains = (price, ideal[self._ends] - ideal)
        return self._gains[1]


def _cheapest_path(branches: Sequence[_Branches], n_steps: int, n_rows: int) -> list[tuple[int, int]]:
    """Return (branch, start row) of the cheapest n_steps branches from row 0 to row n_rows."""
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
    for choice in reversed(choices):
        path.append((int(choice[row]), row))
        row = int(ends[choice[row], row])
    return path


def smooth(counts: NDArray[np.int64]) -> Floats:
    """Return falling probabilities near `counts`: means over blocks that grow with the row."""
    n = len(counts)
    edges = np.unique(np.concatenate([np.arange(min(n, 8)), 8 * 1.15 ** np.arange(120)]).astype(np.int64))
    edges = edges[edges < n]
    sizes = np.diff(np.append(edges, n))
    means = np.add.reduceat(counts.astype(np.float64), edges) / sizes
    falling = np.repeat(np.minimum.accumulate(means), sizes) + 1e-9
    return np.asarray(falling / falling.sum())
