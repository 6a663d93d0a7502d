"""Relative error in the Euclidean norm: |y - y'| / |y| of each output over all samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxzip.measure.metric import Deviation, SumMetric
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums, Pair, Runs
from onnxzip.records.aliases import Array


@dataclass(frozen=True, eq=False)
class RelL2(SumMetric):
    """|y - y'| / |y|."""

    name: ClassVar[str] = "rel_l2"
    default_limit: ClassVar[float] = 0.1
    summary: ClassVar[str] = "|y - y'| / |y|"
    is_proportional: ClassVar[bool] = True

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return the squared error and the squared norm."""
        return (pair.before - pair.after) ** 2, pair.before**2

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the root."""
        return np.sqrt(ratio)


def exact_deviation(reference: Runs, outputs: Runs) -> Deviation:
    """Return the worst |a - b| / |a| over float outputs and share of differing elements over others."""
    return RelL2(limit=math.inf).measure(reference, outputs)
