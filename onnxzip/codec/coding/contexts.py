"""Which segments share a code: contexts found by coding cost.

A segment (a row of an array: a filter, a DCT position, a wavelet band) is described by the histogram of
its integers. Contexts start as quantiles of the mean magnitude and are refined like k-means with the
ideal code length as distance, -sum_s h(s) log2 p_c(s); the last assignment is a Viterbi path over the
segments in order, since every change of context from one segment to the next costs bytes. Where there
are very many segments, neighbours of one array are described, and coded, together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SWITCH_BITS = 26.0
"""What a change of context takes in the file: a byte of context, two of position (`prefix.Chunk`)."""

CONTEXT_BITS = 60 * 8.0
"""What a context takes in the file: the widths of its tree, a byte for each of about 60 nodes."""

OUTLIER_BITS = 26.0
"""An integer outside the common range: a literal of one integer, `tuples.literal_bits(1)`, about."""

_N_BINS = 48
"""Integers told apart where they spread around 0; what is further out is as rare in every context."""

_MAX_BINS = 4096
"""Integers told apart at all: `tuples.max_symbols` of the shortest tuples."""

_COUNTS_OF_CONTEXTS = (1, 2, 3, 4, 6, 8)
"""Each is about 1.4 times the last, as with `tuples.TupleOrder` costs; 8 contexts fit most models."""

_N_ROUNDS = 6
"""Assignments change little from here on (`tests.bench.constants`)."""

_MAX_DESCRIBED = 50_000
"""Descriptions of segments: 19 MB of histograms, and a second of Python for the path over them."""

_MAX_CELLS = 1 << 22
"""Cells of histograms held at a time, 32 MB."""

_MAX_COUNTED = 1 << 20
"""Integers counted at a time, which takes some 20 bytes for each."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """An assignment of segments to contexts.

    Attributes:
        labels: (n_segments of all arrays,) uint8, their contexts, 0 ... n_contexts - 1, all used.
        n_bits: ideal cost of the integers, and what the contexts themselves cost.
    """

    labels: NDArray[np.uint8]
    n_bits: float

    @property
    def n_contexts(self) -> int:
        """Number of contexts."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0


def find_contexts(arrays: Sequence[NDArray[np.int32]]) -> Contexts:
    """Group the segments of all arrays, (n_segments, length) each; empty rows join any context.

    Memory beyond the labels, a byte a segment, is bounded.
    """
    segments = _Segments(arrays)
    best = Contexts(np.zeros(len(segments), np.uint8), 0.0)
    pooled = segments.pooled()
    if not pooled.any():
        return segments.spread_out(best)
    n_outlier_bits = OUTLIER_BITS * segments.n_outliers
    best = Contexts(best.labels, _ideal_bits(pooled) + CONTEXT_BITS + n_outlier_bits)
    for n_contexts in _COUNTS_OF_CONTEXTS[1:]:
        if n_contexts > len(segments):
            break
        found = _cluster(segments, n_contexts)
        found = Contexts(found.labels, found.n_bits + n_outlier_bits)
        if found.n_bits < best.n_bits:
            best = found
        elif n_contexts > 2 * best.n_contexts:
            break
    return segments.spread_out(best)


def _common_range(arrays: Sequence[NDArray[np.int32]]) -> tuple[int, int]:
    """Return a range that holds nearly all integers: all of them, or the middle by quantiles."""
    samples = [a.ravel()[:: max(1, a.size // 20_000)] for a in arrays if a.size]
    if not samples:
        return 0, 0
    sample = np.concatenate(samples)
    low, high = int(sample.min()), int(sample.max())
    if high - low >= _MAX_BINS:
        low, high = (int(q) for q in np.quantile(sample, [0.002, 0.998]))
        high = min(high, low + _MAX_BINS - 1)
    if high - low >= _N_BINS and abs(low) < 4 * _N_BINS and low < 0:
        spread = max(float(np.quantile(np.abs(sample), 0.999)), _N_BINS / 2)
        low, high = max(low, int(-spread)), min(high, int(spread))
    return low, high


class _Segments:
    """The histograms of all segments in order, each of one segment or of some neighbours of an array.

    Where they are few they are held, else made again whenever they are asked for.

    Attributes:
        n_bins: of a histogram.
        n_outliers: integers that are counted in an end bin in place of their own.
    """

    def __init__(self, arrays: Sequence[NDArray[np.int32]]) -> None:
        """Describe the rows of arrays, (n_segments, length) each."""
        self._arrays = arrays
        self._low, high = _common_range(arrays)
        self.n_bins = high - self._low + 1
        n_rows = sum(len(array) for array in arrays)
        self._n_joined = 1
        if n_rows > _MAX_DESCRIBED:
            self._n_joined = -(-n_rows // max(_MAX_DESCRIBED - len(arrays), 1))
        self._sizes = [-(-len(array) // self._n_joined) for array in arrays]
        self.n_outliers = 0
        for array in arrays:
            for part in _blocks(array, _MAX_COUNTED):
                self.n_outliers += int(np.count_nonzero((part < self._low) | (part > high)))
        self._held = [self._join([*self._make()])] if len(self) * self.n_bins <= _MAX_CELLS else []

    def __len__(self) -> int:
        """Return the number of histograms."""
        return sum(self._sizes)

    def histograms(self) -> Iterator[Floats]:
        """Yield (some, n_bins) histograms, one behind the other."""
        return iter(self._held) if self._held else self._make()

    def pooled(self) -> Floats:
        """Return the histogram of everything, (n_bins,)."""
        return np.asarray(sum(part.sum(0) for part in self.histograms()) + np.zeros(self.n_bins))

    def times(self, weights: Floats) -> Floats:
        """Return histograms @ weights."""
        return self._join([np.asarray(part @ weights) for part in self.histograms()])

    def by_label(self, labels: NDArray[np.int64], n_labels: int) -> Floats:
        """Return the sum of the histograms with each label, (n_labels, n_bins)."""
        total, start = np.zeros((n_labels, self.n_bins)), 0
        for part in self.histograms():
            some = labels[start : start + len(part)]
            members = np.zeros((n_labels, len(part)))
            members[some, np.arange(len(part))] = 1.0
            total += members @ part  # whole numbers: exact in any order
            start += len(part)
        return total

    def spread_out(self, contexts: Contexts) -> Contexts:
        """Return the contexts of all rows from those of what was described."""
        if self._n_joined == 1:
            return contexts
        parts = np.split(contexts.labels, np.cumsum(self._sizes)[:-1])
        rows = [
            np.repeat(part, self._n_joined)[: len(array)]
            for part, array in zip(parts, self._arrays, strict=True)
        ]
        return Contexts(np.concatenate(rows), contexts.n_bits)

    def _make(self) -> Iterator[Floats]:
        n_most = max(1, _MAX_CELLS // self.n_bins)
        for array in self._arrays:
            for rows in _blocks(array, _MAX_COUNTED, self._n_joined, n_most * self._n_joined):
                n = -(-len(rows) // self._n_joined)
                places = np.clip(rows - self._low, 0, self.n_bins - 1)
                places += (np.arange(len(rows), dtype=np.int32) // self._n_joined * self.n_bins)[:, None]
                counts = np.bincount(places.ravel(), minlength=n * self.n_bins)
                yield counts.reshape(n, self.n_bins).astype(np.float64)

    def _join(self, parts: Sequence[Floats]) -> Floats:
        return np.concatenate(parts) if parts else np.zeros((0, self.n_bins))


def _blocks(
    array: NDArray[np.int32], n_integers: int, multiple: int = 1, n_rows: int | None = None
) -> Iterator[NDArray[np.int32]]:
    """Yield runs of rows that hold about so many integers, of a multiple of rows, and not too many."""
    n = max(n_integers // max(array.shape[1], 1) // multiple, 1) * multiple
    n = n if n_rows is None else min(n, n_rows)
    for start in range(0, len(array), n):
        yield array[start : start + n]


def _ideal_bits(counts: Floats) -> float:
    used = counts[counts > 0]
    return float((used * np.log2(used.sum() / used)).sum()) if len(used) else 0.0


def _cluster(segments: _Segments, n_contexts: int) -> Contexts:
    """Refine contexts and assign the segments in order; empty contexts are dropped."""
    pooled, bins = segments.pooled(), np.arange(segments.n_bins)
    sizes = segments.times(np.ones(segments.n_bins))
    center = np.average(bins, weights=pooled)
    spread = segments.times(np.abs(bins - center)) / np.maximum(sizes, 1)
    order = np.argsort(spread, kind="stable")
    filled = np.cumsum(sizes[order]) - sizes[order] / 2
    labels = np.empty(len(sizes), np.int64)
    labels[order] = np.minimum(filled / sizes.sum() * n_contexts, n_contexts - 1)
    for i in range(_N_ROUNDS):
        lengths = _code_lengths(segments.by_label(labels, n_contexts), pooled)
        costs = segments.times(lengths.T)
        labels = _assign(costs) if i == _N_ROUNDS - 1 else np.argmin(costs, axis=1)
    used, labels = np.unique(labels, return_inverse=True)
    n_bits = sum(_ideal_bits(counts) for counts in segments.by_label(labels, len(used)))
    n_switches = int(np.count_nonzero(np.diff(labels)))
    n_bits += CONTEXT_BITS * len(used) + SWITCH_BITS * n_switches
    return Contexts(labels.astype(np.uint8), n_bits)


def _code_lengths(counts: Floats, pooled: Floats) -> Floats:
    """Return -log2 of each context's distribution, (n_contexts, n_bins), mixed with a little of all."""
    smoothed = counts + 0.5 * pooled / pooled.sum() + 1e-3
    return np.asarray(-np.log2(smoothed / smoothed.sum(1, keepdims=True)))


def _assign(costs: Floats) -> NDArray[np.int64]:
    """Return the cheapest path of labels, where every change costs SWITCH_BITS."""
    total = np.zeros(costs.shape[1])
    arrived = np.empty(costs.shape, np.int64)
    stay = np.arange(costs.shape[1])
    for i, row in enumerate(costs):
        best = int(np.argmin(total))
        changed = total[best] + SWITCH_BITS
        arrived[i] = np.where(total <= changed, stay, best)
        total = np.minimum(total, changed) + row
    labels = np.empty(len(costs), np.int64)
    label = int(np.argmin(total))
    for i in range(len(costs) - 1, -1, -1):
        labels[i] = label
        label = int(arrived[i, label])
    return labels
