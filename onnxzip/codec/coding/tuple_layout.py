"""How the arrays of a model are cut into tuples, and which context each tuple has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGE_ARRAY = 1 << 18
"""An array from here on is a unit of its own, which costs a few nodes and saves memory at load."""

_MIN_PADDED_LENGTH = 256
"""Rows of this length are padded to whole tuples, at most 7 integers, so that contexts end with them."""

_MAX_RANGE = 1 << 16
"""Integers counted one by one, half a megabyte of counts; no alphabet has more than 4096."""

BLOCK = 8
"""Tuples of a block, which have a context in common: the first fields of a block are whole bytes."""

Integers = NDArray[np.int32]
Ints = NDArray[np.int64]


class TupleLayout:
    """The arrays in the order of their tuples: all small ones one behind the other, then the large ones.

    Attributes:
        groups: indices of the arrays of each unit.
        n_contexts: number of contexts.
        n_values: number of integers.
        n_runs: (n_contexts,) how many runs of segments each context has.
    """

    def __init__(
        self, arrays: Sequence[Integers], groups: Sequence[tuple[int, ...]], labels: NDArray[np.uint8]
    ) -> None:
        """Lay out `arrays` by `groups`; `labels` are the contexts of all their rows in that order."""
        self.groups = groups
        self.n_contexts = int(labels.max()) + 1
        changes = np.append(True, np.diff(labels) != 0)
        self.n_runs = np.bincount(labels[changes], minlength=self.n_contexts)
        self._runs: list[_Runs] = []
        self._flats: list[Integers] = []
        for group in groups:
            members = [arrays[i] for i in group]
            n_rows = sum(len(array) for array in members)
            self._runs.append(_find_runs(labels[:n_rows], [array.shape for array in members]))
            labels = labels[n_rows:]
            flats = [array.ravel() for array in members]
            self._flats.append(np.concatenate(flats) if len(flats) > 1 else flats[0])
        self.n_values = sum(len(flat) for flat in self._flats)
        self._row_lengths = [arrays[group[0]].shape[1] for group in groups]

    def row_length(self, g: int, length: int) -> int:
        """Return what the rows of unit g are padded to for tuples of a length; 0 if they are not."""
        n: int = self._row_lengths[g]
        is_large = len(self.groups[g]) == 1 and len(self._flats[g]) >= LARGE_ARRAY
        if is_large and (n >= _MIN_PADDED_LENGTH or n % length == 0):
            return -(-n // length) * length
        return 0

    def tuples(self, g: int, length: int, neutral: int) -> tuple[Integers, Ints]:
        """Return the (n, length) tuples of unit g, and their contexts.

        They are padded with `neutral` to whole blocks.
        """
        flat, row_length = self._flats[g], self.row_length(g, length)
        runs = self._runs[g]
        starts = runs.starts
        if row_length and row_length != self._row_lengths[g]:
            rows = flat.reshape(-1, self._row_lengths[g])
            missing = row_length - rows.shape[1]
            flat = np.pad(rows, ((0, 0), (0, missing)), constant_values=neutral).ravel()
            starts = runs.rows * row_length
        if len(flat) % (length * BLOCK):
            flat = np.append(flat, np.full(-len(flat) % (length * BLOCK), neutral, np.int32))
        return flat.reshape(-1, length), _contexts(runs, starts, length, len(flat) // length)

    def sample(self, length: int, n_tuples: int) -> tuple[Integers, Ints]:
        """Return about n_tuples random tuples of whole arrays laid end to end, and their contexts."""
        share = n_tuples * length / self.n_values
        random = np.random.default_rng(0)
        tuples, contexts = [], []
        for g, flat in enumerate(self._flats):
            n = len(flat) // length
            chosen = slice(None) if share >= 1 else np.sort(random.integers(0, n, -int(-n * share // 1)))
            tuples.append(flat[: n * length].reshape(-1, length)[chosen])
            runs = self._runs[g]
            contexts.append(_contexts(runs, runs.starts, length, n)[chosen])
        return np.concatenate(tuples), np.concatenate(contexts)

    def histogram(self) -> tuple[int, Ints]:
        """Return (low, counts) of all integers; a range above 2^16 is cut to 2^16 around the median."""
        low = min(int(f.min()) for f in self._flats)
        high = max(int(f.max()) for f in self._flats)
        is_cut = high - low >= _MAX_RANGE
        if is_cut:
            middle = int(
                np.median(np.concatenate([f[:: max(1, len(f) // 10_000)] for f in self._flats]))
            )
            low, high = max(low, middle - _MAX_RANGE // 2), min(high, middle + _MAX_RANGE // 2 - 1)
        counts = np.zeros(high - low + 1, np.int64)
        for flat in self._flats:
            inside = flat[(flat >= low) & (flat <= high)] if is_cut else flat
            counts += np.bincount(inside - low, minlength=len(counts))
        return low, counts


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs of rows of a unit with one context.

    Attributes:
        labels: (n_runs,) their contexts.
        rows: (n_runs,) the first row of each.
        starts: (n_runs,) the first integer of each, where rows are not padded.
    """

    labels: Ints
    rows: Ints
    starts: Ints


def _find_runs(labels: NDArray[np.uint8], shapes: Sequence[tuple[int, ...]]) -> _Runs:
    """Return the runs of the rows of arrays of these shapes, one behind the other."""
    rows = np.flatnonzero(np.append(True, np.diff(labels) != 0))
    n_rows, lengths = np.array(shapes, np.int64).reshape(-1, 2).T
    first_rows = np.cumsum(n_rows) - n_rows
    first_integers = np.cumsum(n_rows * lengths) - n_rows * lengths
    which = np.searchsorted(np.cumsum(n_rows), rows, side="right")
    starts = first_integers[which] + (rows - first_rows[which]) * lengths[which]
    return _Runs(labels[rows].astype(np.int64), rows, starts)


def _contexts(runs: _Runs, starts: Ints, length: int, n_tuples: int) -> Ints:
    """Return the context of each tuple: that of the run that the middle of its block lies in."""
    size = length * BLOCK
    starts = np.minimum((starts + size // 2) // size * BLOCK, n_tuples)
    return np.repeat(runs.labels, np.diff(np.append(starts, n_tuples)))
