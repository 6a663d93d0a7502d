"""Angle: 1 - cos(y, y') of each sample, mean over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxzip.measure.metric import SumMetric
from onnxzip.measure.outputs.running_sums import Pair
from onnxzip.records.aliases import Array


@dataclass(frozen=True, eq=False)
class Cosine(SumMetric):
    """1 - cos(y, y'), mean over samples."""

    name: ClassVar[str] = "cosine"
    default_limit: ClassVar[float] = 0.005
    summary: ClassVar[str] = "1 - cos, mean over samples"

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return 1 - cos of each row, and 1; a run of one number a sample is taken as one vector."""
        a = pair.before
        n_rows = len(a) if a.ndim > 1 and a.size > len(a) else 1
        x, y = pair.before.reshape(n_rows, -1), pair.after.reshape(n_rows, -1)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        is_same = (x == y).all(axis=1)
        cosines = np.divide(np.sum(x * y, axis=1), norms, out=np.zeros(n_rows), where=norms > 0)
        return np.where(is_same, 0.0, 1.0 - np.minimum(cosines, 1.0)), np.ones(n_rows)
