"""Which tuples to code: lengths, alphabets and orders compared by their ideal cost on a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxzip.codec.coding.trees import smooth
from onnxzip.codec.coding.tuple_layout import Ints, TupleLayout
from onnxzip.codec.coding.tuples import (
    MAX_LENGTH,
    TupleOrder,
    candidate_costs,
    find_outliers,
    literal_bits,
    max_symbols,
    number_tuples,
)

_N_FINALISTS = 3
"""Orders that codes are planned for. One: 0, -3.3, -1.7, 0 % of digits_cnn, _autoencoder, _attention and
_gru, where an overlay is then not chosen (`code_plan._OVERLAY_BITS`); six: no change
(`tests.bench.constants`, as all figures of this file)."""

_OUTSIDE_SHARES = (1e-4, 1e-3)
"""Shares of integers that may be outside of an alphabet, besides as few as may be. None: +3.6, -3.3,
-0.1, -0.5 %; only the larger: 0, 0, -0.1, 0 %; 1e-2 as well: no change."""

_MAX_OUTSIDE_SHARE = 0.02
"""More literals than these (19 bits and more each) and a length is not tried; 0.005 or 0.1: no change on
the four models."""

_SAMPLE_TUPLES = 200_000
"""Tuples: the share of a row is known to 1 / sqrt(n p) of it, that of 1 in 2,000 tuples to 10 %."""

_BITS_LOST_PER_TUPLE = 0.06
"""Beyond the ideal code length. None, or twice as much: no change on the four models, whose orders are
planned anyway (_N_FINALISTS)."""


def finalists(layout: TupleLayout) -> list[TupleOrder]:
    """Return the best order of each of the best lengths."""
    low, counts = layout.histogram()
    best: dict[int, tuple[float, TupleOrder]] = {}
    for length in range(1, MAX_LENGTH + 1):
        for start, size in _windows(counts, max_symbols(length)):
            inside = counts[start : start + size]
            if layout.n_values - int(inside.sum()) > _MAX_OUTSIDE_SHARE * layout.n_values and length > 1:
                continue
            orders = [
                TupleOrder(length, low + start, costs)
                for costs in candidate_costs(inside, low + start, length)
            ]
            for cost, order in zip(_estimate(layout, orders), orders, strict=True):
                if length not in best or cost < best[length][0]:
                    best[length] = (cost, order)
    ranked = sorted(best.values(), key=lambda item: item[0])
    return [order for _, order in ranked[:_N_FINALISTS]]


def _windows(counts: Ints, max_size: int) -> list[tuple[int, int]]:
    """Return (start, size) of alphabets to try: as large as may be, and without the rarest integers."""
    total = int(counts.sum())
    found = [_densest(counts, max_size)]
    for share in _OUTSIDE_SHARES:
        low, high = 1, found[0][1]
        while low < high:
            middle = (low + high) // 2
            start, size = _densest(counts, middle)
            if total - int(counts[start : start + size].sum()) > share * total:
                low = middle + 1
            else:
                high = middle
        found.append(_densest(counts, low))
    return sorted(set(found))


def _densest(counts: Ints, size: int) -> tuple[int, int]:
    """Return (start, size) of the window of at most `size` integers that holds the most."""
    size = min(size, len(counts))
    sums = np.concatenate([[0], np.cumsum(counts)])
    held = sums[size:] - sums[:-size]
    off_center = np.abs(np.arange(len(held)) + size / 2 - len(counts) / 2)
    return int(np.lexsort((off_center, -held))[0]), size


def _estimate(layout: TupleLayout, orders: Sequence[TupleOrder]) -> list[float]:
    """Estimate the bits for orders with the same alphabet, literals and tables included."""
    order = orders[0]
    tuples, contexts = layout.sample(order.length, _SAMPLE_TUPLES)
    literal = find_outliers(tuples, order)
    pairs = contexts * order.n_rows + number_tuples(tuples, order)
    counts = np.bincount(pairs[~literal], minlength=layout.n_contexts * order.n_rows)
    by_context = counts.reshape(layout.n_contexts, -1)
    scale = layout.n_values / order.length / max(len(tuples), 1)
    n_literal_bits = float(literal.sum()) * literal_bits(order.length)
    return [
        scale * (_ideal_bits(by_context[:, order.numbers]) + n_literal_bits) + 8 * order.n_bytes
        for order in orders
    ]


def _ideal_bits(counts: Ints) -> float:
    """Return the bits of (n_contexts, n_rows) counts, no code word below a bit."""
    total = 0.0
    for row in counts:
        if row.any():
            bits = np.maximum(-np.log2(smooth(row)), 1.0) + _BITS_LOST_PER_TUPLE
            total += float((row * bits).sum())
    return total
