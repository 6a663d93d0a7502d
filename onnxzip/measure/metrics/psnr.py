"""Peak signal-to-noise ratio: 10 log10(peak² / mean((y - y')²)) in dB, for images.

The peak is 255 for uint8, else max(y) - min(y) over all samples. Integers and booleans are numbers here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxzip.measure.metric import SumMetric
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums, Pair
from onnxzip.records.aliases import Array

_UINT8_PEAK = 255.0
"""The largest uint8."""


@dataclass(frozen=True, eq=False)
class Psnr(SumMetric):
    """10 log10(peak² / mean((y - y')²)) in dB."""

    name: ClassVar[str] = "psnr"
    default_limit: ClassVar[float] = 30.0
    summary: ClassVar[str] = "peak signal to noise in dB"
    higher_is_better: ClassVar[bool] = True
    number_kinds: ClassVar[str] = "fiub"
    unit: ClassVar[str] = "dB"
    n_decimals: ClassVar[int | None] = 1

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return the squared error and the number of elements."""
        return (pair.before - pair.after) ** 2, pair.is_used

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the decibels; -inf for a reference that never varies."""
        peak = _UINT8_PEAK if sums.dtype == np.uint8 else sums.high - sums.low
        if not peak > 0:
            return np.full_like(ratio, -math.inf)
        with np.errstate(divide="ignore"):  # no error at all is inf dB
            return np.asarray(20 * np.log10(peak) - 10 * np.log10(ratio))

    def value_of_share(self, share: Numbers) -> Numbers:
        """Return -inf where any element differs that is no number."""
        return np.where(share > 0, -math.inf, math.inf)
