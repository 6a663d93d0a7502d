"""How sure a measured loss is: its 95 % bootstrap interval over samples.

Source: Efron 1979, "Bootstrap methods: another look at the jackknife", doi 10.1214/aos/1176344552.
A metric is a monotone function of sum(a) / sum(b) over samples. Drawing samples again with replacement
says how far that ratio, and with it the value, would move with other samples of the same kind. A run
whose outputs do not have one row for each of its samples counts as one.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from onnxzip.measure.metric import Deviation, Metric, SumMetric
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums

_PERCENTILES = (2.5, 97.5)
"""95 % lie between them."""

MIN_SAMPLES = 8
"""Eight samples can be drawn in 6,435 ways, seven in 1,716: fewer than are drawn."""

_N_DRAWS = 2000
"""50 lie beyond each end, so that an end is the 2.5th percentile to within 0.35 (one standard error)."""

_BATCH = 100
"""Draws at a time, which take 24 bytes a sample each."""

_LEAST_BELOW = 1e-30
"""Of the mean: keeps the ratio of a draw finite that has no reference at all."""
Interval: TypeAlias = tuple[float, float]


def interval_of(metric: Metric, found: Deviation) -> Interval | None:
    """Return the interval of what was measured; None for few samples or a function of the user's."""
    if not (found.sums and isinstance(metric, SumMetric) and math.isfinite(found.value)):
        return None
    sums = found.sums[0]
    above, below = sums.joined()
    if len(above) < MIN_SAMPLES or not (np.isfinite(above).all() and below.sum() > 0):
        return None
    if metric.counts_events and not above.any():
        # Nothing happened, so nothing can be drawn: the exact binomial bound for no event.
        most = 1 - (_PERCENTILES[0] / 100) ** (1 / len(above))
        return (0.0 if metric.labels is None else -most), most
    ratios = _draw_ratios(metric, sums, above, below)
    ends = metric.to_value(np.percentile(ratios, _PERCENTILES), sums)
    return float(ends.min()), float(ends.max())


def _draw_ratios(metric: SumMetric, sums: OutputSums, above: Numbers, below: Numbers) -> Numbers:
    rng = np.random.default_rng(0)
    ratios = []
    below = below + _LEAST_BELOW * below.mean()
    for start in range(0, _N_DRAWS, _BATCH):
        rows = rng.integers(0, len(above), (min(_BATCH, _N_DRAWS - start), len(above)))
        ratios.append(metric.ratio_of(above[rows], below[rows], sums))
    return np.concatenate(ratios)


def n_to_settle(metric: Metric, value: float, interval: Interval | None, n_samples: int) -> int | None:
    """Return about how many samples would put the whole interval on one side of the limit.

    An interval shrinks with the root of the number of samples.

    Args:
        metric: has the limit.
        value: as measured.
        interval: around it.
        n_samples: that it was measured on.

    Returns:
        None where the interval lies on one side already, or where the value is the limit.
    """
    if interval is None or not math.isfinite(metric.limit):
        return None
    low, high = interval
    if not low < metric.limit < high or value == metric.limit:
        return None
    width = (high - value) if value < metric.limit else (value - low)
    return math.ceil(n_samples * (width / (metric.limit - value)) ** 2)
