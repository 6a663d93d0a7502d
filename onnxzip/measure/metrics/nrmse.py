"""Normalised root mean squared error: |y - y'| / |y - mean of y over samples| of each output.

A constant answer, the mean, scores 1: unlike with |y - y'| / |y|, outputs that hardly vary hide no loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from onnxzip.measure.confidence import MIN_SAMPLES
from onnxzip.measure.metric import SumMetric
from onnxzip.measure.outputs.evidence import does_vary
from onnxzip.measure.outputs.output_statistics import OutputStatistics, output_statistics
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums, Pair, Runs
from onnxzip.records.aliases import Array

_MEDIAN_FACTOR = 2.0
"""How much more the median sample may lose than all together. Of samples that differ by luck it loses
less, by all means not twice as much; where 2 % of them are 300 times larger, ten times."""


@dataclass(frozen=True, eq=False)
class Nrmse(SumMetric):
    """|y - y'| / |y - mean of y| over all samples, or half of the median sample's, whichever is larger.

    Some samples may be so much larger than all others that these hardly count in a sum; so the sample in
    the middle may lose twice the limit at most. Its distance from the mean counts as that of the sample
    which is in the middle by distance, at least: a sample that happens to be the mean loses nothing.

    Attributes:
        means: what is subtracted, by output; 0 for one that does not vary: it is held to its own size.
    """

    name: ClassVar[str] = "nrmse"
    default_limit: ClassVar[float] = 0.1
    summary: ClassVar[str] = "|y - y'| / |y - mean of y over samples|, a constant answer scores 1"
    is_proportional: ClassVar[bool] = True
    means: Mapping[str, Array] = field(default_factory=dict)

    def prepare(self, reference: Runs) -> Self:
        """Find the mean of each output; once is enough."""
        return self if self.means else self.prepared(output_statistics(reference))

    def prepared(self, statistics: Mapping[str, OutputStatistics]) -> Self:
        """Return the metric knowing the mean of each output."""
        means = {name: s.mean if does_vary(s) else np.zeros(()) for name, s in statistics.items()}
        return replace(self, means=means)

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return the squared error and the squared distance from the mean."""
        distance = np.where(pair.is_used, pair.before - self.means.get(pair.output, 0.0), 0.0)
        return (pair.before - pair.after) ** 2, distance**2

    def ratio(self, above: Numbers, below: Numbers) -> Numbers:
        """Return that of all samples or what half the median one's loss comes to, if that is larger."""
        whole = super().ratio(above, below)
        if above.shape[-1] < MIN_SAMPLES:
            return whole
        middle = np.median(self.sample_ratios(above, below), axis=-1)
        return np.maximum(whole, middle / _MEDIAN_FACTOR**2)

    def sample_ratios(self, above: Numbers, below: Numbers) -> Numbers:
        """Return each sample's own, whose distance counts as the median distance at least."""
        floor = np.median(below, axis=-1, keepdims=True)
        floor = np.where(floor > 0, floor, below.mean(axis=-1, keepdims=True))
        return super().sample_ratios(above, np.maximum(below, floor))

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the root."""
        return np.sqrt(ratio)
