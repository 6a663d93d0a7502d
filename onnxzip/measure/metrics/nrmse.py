"""Normalised root mean squared error: |y - y'| / |y - mean of y over samples| of each output.

A constant answer, the mean, scores 1: unlike with |y - y'| / |y|, outputs that hardly vary hide no loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from onnxzip.measure.metric import SumMetric
from onnxzip.measure.running_sums import Numbers, OutputSums, Pair, Runs
from onnxzip.records.aliases import Array

_MIN_ROWS = 8
"""Rows from which on their mean is subtracted, element by element. A mean of n rows takes 1/n of the
variance with it: with fewer than 8 the loss would be overstated by 7 % and more."""


@dataclass(frozen=True, eq=False)
class Nrmse(SumMetric):
    """|y - y'| / |y - mean of y|.

    Attributes:
        means: what is subtracted, by output: the mean of its rows, of a row's shape; one number, the
            mean of all elements, where there are few rows or where they differ in shape.
    """

    name: ClassVar[str] = "nrmse"
    default_limit: ClassVar[float] = 0.1
    summary: ClassVar[str] = "|y - y'| / |y - mean of y over samples|, a constant answer scores 1"
    is_proportional: ClassVar[bool] = True
    means: Mapping[str, Array] = field(default_factory=dict)

    def prepare(self, reference: Runs) -> Self:
        """Find the mean of each output; once is enough."""
        if self.means:
            return self
        rows: dict[str, _Mean] = {}
        for run in reference:
            for name, array in run.items():
                if array.dtype.kind in self.number_kinds:
                    rows.setdefault(name, _Mean()).add(array)
        return replace(self, means={name: found.value() for name, found in rows.items()})

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return the squared error and the squared distance from the mean."""
        distance = np.where(pair.is_used, pair.before - self.means.get(pair.output, 0.0), 0.0)
        return (pair.before - pair.after) ** 2, distance**2

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the root."""
        return np.sqrt(ratio)


class _Mean:
    """Sums over the finite numbers of one output, row by row while all rows have one shape."""

    def __init__(self) -> None:
        self._total: Array | None = None
        self._count: Array = np.zeros(())
        self._all = self._n_all = 0.0
        self._n_rows = 0
        self._is_regular = True

    def add(self, array: Array) -> None:
        """Add a run's array."""
        rows = np.atleast_1d(array).astype(np.float64)
        is_finite = np.isfinite(rows)
        rows = np.where(is_finite, rows, 0.0)
        self._all += float(rows.sum())
        self._n_all += float(np.count_nonzero(is_finite))
        self._n_rows += len(rows)
        total, count = rows.sum(axis=0), is_finite.sum(axis=0)
        if self._total is None:
            self._total, self._count = total, count
        elif self._total.shape == total.shape:
            self._total, self._count = self._total + total, self._count + count
        else:
            self._is_regular = False

    def value(self) -> Array:
        """Return the mean row, or the mean of all elements."""
        if self._total is not None and self._is_regular and self._n_rows >= _MIN_ROWS:
            return np.asarray(self._total / np.maximum(self._count, 1))
        return np.asarray(self._all / max(self._n_all, 1.0))
