"""Which segments share a code: contexts found by coding cost.

A segment (a row of an array: a filter, a DCT position, a wavelet band) is described by the histogram of
its integers. Contexts start as quantiles of the mean magnitude and are refined like k-means with the
ideal code length as distance, -sum_s h(s) log2 p_c(s); the last assignment is a Viterbi path over the
segments in order, since every change of context from one segment to the next costs bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SWITCH_BITS = 26.0
CONTEXT_BITS = 60 * 8.0
OUTLIER_BITS = 26.0
_N_BINS = 48
_COUNTS_OF_CONTEXTS = (1, 2, 3, 4, 6, 8)
_N_ROUNDS = 6
_MAX_VITERBI_SEGMENTS = 50_000


@dataclass(frozen=True, eq=False)
class Contexts:
    """An assignment of segments to contexts.

    Attributes:
        labels: (n_segments of all arrays,) context of each segment, 0 ... n_contexts - 1, all used.
        n_bits: ideal cost of the integers, and what the contexts themselves cost.
    """

    labels: NDArray[np.int64]
    n_bits: float

    @property
    def n_contexts(self) -> int:
        """Number of contexts."""
        return int(self.labels.max(initial=-1)) + 1


def find_contexts(arrays: Sequence[NDArray[np.int32]]) -> Contexts:
    """Group the segments of all arrays, (n_segments, length) each; empty rows join any context."""
    histograms, n_outlier_bits = _histograms(arrays)
    best = Contexts(np.zeros(len(histograms), np.int64), 0.0)
    if histograms.sum() == 0:
        return best
    best = Contexts(best.labels, _ideal_bits(histograms.sum(0)) + CONTEXT_BITS + n_outlier_bits)
    for n_contexts in _COUNTS_OF_CONTEXTS[1:]:
        if n_contexts > len(histograms):
            break
        found = _cluster(histograms, n_contexts)
        found = Contexts(found.labels, found.n_bits + n_outlier_bits)
        if found.n_bits < best.n_bits:
            best = found
        elif n_contexts > 2 * best.n_contexts:
            break
    return best


def _histograms(arrays: Sequence[NDArray[np.int32]]) -> tuple[Floats, float]:
    """Return (all segments, _N_BINS) histograms, and the bits for what the bins do not tell apart."""
    low, high = _common_range(arrays)
    n_bins = high - low + 1
    n_bits = 0.0
    parts: list[NDArray[np.int64]] = []
    for array in arrays:
        rows = len(array)
        symbols = array - low
        outside = (symbols < 0) | (symbols >= n_bins)
        n_bits += OUTLIER_BITS * float(outside.sum())
        np.clip(symbols, 0, n_bins - 1, out=symbols)
        symbols += (np.arange(rows, dtype=np.int32) * n_bins)[:, None]
        parts.append(np.bincount(symbols.ravel(), minlength=rows * n_bins).reshape(rows, n_bins))
    histograms = np.concatenate(parts) if parts else np.zeros((0, n_bins))
    return histograms.astype(np.float64), n_bits


def _common_range(arrays: Sequence[NDArray[np.int32]]) -> tuple[int, int]:
    """Return a range that holds nearly all integers: all of them, or the middle by quantiles."""
    samples = [a.ravel()[:: max(1, a.size // 20_000)] for a in arrays if a.size]
    if not samples:
        return 0, 0
    sample = np.concatenate(samples)
    low, high = int(sample.min()), int(sample.max())
    if high - low >= 4096:
        low, high = (int(q) for q in np.quantile(sample, [0.002, 0.998]))
        high = min(high, low + 4095)
    if high - low >= _N_BINS and abs(low) < 4 * _N_BINS and low < 0:
        spread = max(float(np.quantile(np.abs(sample), 0.999)), _N_BINS / 2)
        low, high = max(low, int(-spread)), min(high, int(spread))
    return low, high


def _ideal_bits(counts: Floats) -> float:
    used = counts[counts > 0]
    return float((used * np.log2(used.sum() / used)).sum()) if len(used) else 0.0


def _cluster(histograms: Floats, n_contexts: int) -> Contexts:
    """Refine contexts and assign the segments in order; empty contexts are dropped."""
    sizes = histograms.sum(1)
    center = np.average(np.arange(histograms.shape[1]), weights=histograms.sum(0))
    spread = histograms @ np.abs(np.arange(histograms.shape[1]) - center) / np.maximum(sizes, 1)
    order = np.argsort(spread, kind="stable")
    filled = np.cumsum(sizes[order]) - sizes[order] / 2
    labels = np.empty(len(sizes), np.int64)
    labels[order] = np.minimum(filled / sizes.sum() * n_contexts, n_contexts - 1)
    for i in range(_N_ROUNDS):
        lengths = _code_lengths(histograms, labels, n_contexts)
        costs = histograms @ lengths.T
        labels = _assign(costs) if i == _N_ROUNDS - 1 else np.argmin(costs, axis=1)
    used, labels = np.unique(labels, return_inverse=True)
    n_bits = sum(_ideal_bits(histograms[labels == c].sum(0)) for c in range(len(used)))
    n_switches = int(np.count_nonzero(np.diff(labels)))
    return Contexts(labels, n_bits + CONTEXT_BITS * len(used) + SWITCH_BITS * n_switches)


def _code_lengths(histograms: Floats, labels: NDArray[np.int64], n_contexts: int) -> Floats:
    """Return -log2 of each context's distribution, (n_contexts, n_bins)."""
    pooled = histograms.sum(0)
    members = np.zeros((n_contexts, len(histograms)))
    members[labels, np.arange(len(labels))] = 1.0
    counts = members @ histograms + 0.5 * pooled / pooled.sum() + 1e-3
    return np.asarray(-np.log2(counts / counts.sum(1, keepdims=True)))


def _assign(costs: Floats) -> NDArray[np.int64]:
    """Return the cheapest path of labels, where every change costs SWITCH_BITS."""
    if len(costs) > _MAX_VITERBI_SEGMENTS:
        return np.asarray(np.argmin(costs, axis=1))
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
