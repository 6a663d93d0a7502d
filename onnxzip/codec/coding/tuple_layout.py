"""How the arrays of a model are cut into tuples, and which context each tuple has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LARGE_ARRAY = 1 << 18
"""An array from here on is a unit of its own, which costs a few nodes and saves memory at load."""

_MIN_PADDED_LENGTH = 256
_MAX_RANGE = 1 << 16
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
        self, arrays: Sequence[Integers], groups: Sequence[tuple[int, ...]], labels: Ints
    ) -> None:
        """Lay out `arrays` by `groups`; `labels` are the contexts of all their rows in that order."""
        self.groups = groups
        self.n_contexts = int(labels.max()) + 1
        changes = np.append(True, np.diff(labels) != 0)
        self.n_runs = np.bincount(labels[changes], minlength=self.n_contexts)
        self._labels: list[Ints] = []
        self._lengths: list[Ints] = []
        self._flats: list[Integers] = []
        for group in groups:
            lengths = np.concatenate([np.full(arrays[i].shape[0], arrays[i].shape[1]) for i in group])
            self._lengths.append(lengths)
            self._labels.append(labels[: len(lengths)])
            labels = labels[len(lengths) :]
            self._flats.append(np.concatenate([arrays[i].ravel() for i in group]))
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
        """Return the (n, length) tuples of unit g, padded with `neutral`, and their contexts."""
        flat, row_length = self._flats[g], self.row_length(g, length)
        lengths = self._lengths[g]
        if row_length and row_length != self._row_lengths[g]:
            rows = flat.reshape(-1, self._row_lengths[g])
            missing = row_length - rows.shape[1]
            flat = np.pad(rows, ((0, 0), (0, missing)), constant_values=neutral).ravel()
            lengths = np.full(len(rows), row_length)
        elif len(flat) % length:
            flat = np.append(flat, np.full(-len(flat) % length, neutral, np.int32))
        return flat.reshape(-1, length), self._contexts(g, lengths, length, len(flat) // length)

    def sample(self, length: int, n_tuples: int) -> tuple[Integers, Ints]:
        """Return about n_tuples random tuples of whole arrays laid end to end, and their contexts."""
        share = n_tuples * length / self.n_values
        random = np.random.default_rng(0)
        tuples, contexts = [], []
        for g, flat in enumerate(self._flats):
            n = len(flat) // length
            chosen = slice(None) if share >= 1 else np.sort(random.integers(0, n, -int(-n * share // 1)))
            tuples.append(flat[: n * length].reshape(-1, length)[chosen])
            contexts.append(self._contexts(g, self._lengths[g], length, n)[chosen])
        return np.concatenate(tuples), np.concatenate(contexts)

    def _contexts(self, g: int, lengths: Ints, length: int, n_tuples: int) -> Ints:
        """Return the context of each tuple: that of the segment its first integer lies in."""
        labels = self._labels[g]
        new = np.append(True, np.diff(labels) != 0)
        starts = (np.cumsum(lengths) - lengths)[new]
        starts = np.minimum(-(-starts // length), n_tuples)
        return np.repeat(labels[new], np.diff(np.append(starts, n_tuples)))

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
