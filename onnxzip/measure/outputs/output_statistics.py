"""What a model's outputs look like over all samples: their mean, and how far samples are from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnxzip.measure.outputs.running_sums import Runs
from onnxzip.records.aliases import Array

_MIN_ROWS = 8
"""Rows from which on their mean is taken element by element. A mean of n rows takes 1/n of the variance
with it: with fewer than 8 a loss that is relative to it would be overstated by 7 % and more."""


_FAR, _ALMOST = 2.0, 1.05
"""A few rows that are far larger than all others shift the mean of all of them, so that the others seem
to vary by it. The median row is taken for the mean where most rows are less than half as far from it,
and all together not 5 % farther."""

_MAX_KEPT = 1 << 22
"""Numbers of which a median is taken, 16 MB: larger outputs keep their mean."""


@dataclass(frozen=True, eq=False)
class OutputStatistics:
    """One output over all runs; numbers are those of its finite elements.

    Attributes:
        kind: numpy's kind of its elements.
        n_elements: how many there are.
        n_finite: of them no NaN or Inf.
        n_rows: length of the first axis, over all runs.
        mean: of its rows, of a row's shape; one number, the mean of all elements, where there are few
            rows or where they differ in shape; the median row where a few rows make up the mean.
        rms: root mean square.
        deviation: root mean square of the distance from `mean`.
        low, high: least and greatest element; Inf and -Inf where there are none.
        varies: whether any row differs from the first.
    """

    kind: str
    n_elements: int
    n_finite: int
    n_rows: int
    mean: Array
    rms: float
    deviation: float
    low: float
    high: float
    varies: bool


def output_statistics(reference: Runs) -> dict[str, OutputStatistics]:
    """Return the statistics of each output, by name.

    Args:
        reference: outputs of a model, run by run; gone through twice.
    """
    sums: dict[str, _Sums] = {}
    for run in reference:
        for name, array in run.items():
            sums.setdefault(name, _Sums(array.dtype.kind)).add(array)
    means = {name: found.mean() for name, found in sums.items() if found.is_number}
    peaks = {name: max(abs(found.low), abs(found.high)) or 1.0 for name, found in sums.items()}
    squares: dict[str, list[float]] = {name: [0.0, 0.0] for name in means}
    for run in reference:
        for name, array in run.items():
            if name in means and math.isfinite(peaks[name]):
                y = np.atleast_1d(array).astype(np.float64) / peaks[name]
                y = np.where(np.isfinite(y), y, np.nan)
                squares[name][0] += float(np.nansum(y**2))
                squares[name][1] += float(np.nansum((y - means[name] / peaks[name]) ** 2))
    return {
        name: found.statistics(means.get(name, np.zeros(())), squares.get(name, [0.0, 0.0]), peaks[name])
        for name, found in sums.items()
    }


class _Sums:
    """Sums over the finite numbers of one output, row by row while all rows have one shape."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.low, self.high = math.inf, -math.inf
        self._total: Array | None = None
        self._count: Array = np.zeros(())
        self._all = 0.0
        self._n_elements = self._n_finite = self._n_rows = 0
        self._first: Array | None = None
        self._is_regular, self._varies = True, False
        self._kept: list[Array] = []

    @property
    def is_number(self) -> bool:
        return self.kind == "f"

    def add(self, array: Array) -> None:
        """Add a run's array."""
        rows = np.atleast_1d(array)
        self._n_elements += rows.size
        self._n_rows += len(rows)
        self._look_for_changes(rows)
        if self.is_number:
            self._add_numbers(rows.astype(np.float64))

    def _look_for_changes(self, rows: Array) -> None:
        if self._first is None and len(rows):
            self._first = np.array(rows[0])
        if self._first is None or self._varies or not len(rows):
            return
        self._varies = rows.shape[1:] != self._first.shape or bool(
            (~(rows == self._first) & ~_are_both_nan(rows, self._first)).any()
        )

    def _add_numbers(self, rows: Array) -> None:
        is_finite = np.isfinite(rows)
        self.low = min(self.low, float(rows.min(initial=math.inf, where=is_finite)))
        self.high = max(self.high, float(rows.max(initial=-math.inf, where=is_finite)))
        rows = np.where(is_finite, rows, 0.0)
        self._all += float(rows.sum())
        self._n_finite += int(np.count_nonzero(is_finite))
        total, count = rows.sum(axis=0), is_finite.sum(axis=0)
        if self._total is None:
            self._total, self._count = total, count
        elif self._total.shape == total.shape:
            self._total, self._count = self._total + total, self._count + count
        else:
            self._is_regular = False
        if self._n_elements <= _MAX_KEPT:
            self._kept.append(rows)

    def mean(self) -> Array:
        """Return the mean row, or the mean of all elements."""
        if self._total is not None and self._is_regular and self._n_rows >= _MIN_ROWS:
            mean = np.asarray(self._total / np.maximum(self._count, 1))
            is_kept = self._n_elements <= _MAX_KEPT and self._n_finite == self._n_elements
            return _robust(np.concatenate(self._kept), mean) if is_kept and mean.size else mean
        return np.asarray(self._all / max(self._n_finite, 1))

    def statistics(self, mean: Array, squares: list[float], peak: float) -> OutputStatistics:
        """Return the record; `squares` are the sums about 0 and about the mean, relative to the peak."""
        n = max(self._n_finite, 1)
        rms, deviation = (peak * math.sqrt(total / n) if total else 0.0 for total in squares)
        n_finite = self._n_finite if self.is_number else self._n_elements
        return OutputStatistics(
            *(self.kind, self._n_elements, n_finite, self._n_rows, mean, rms, deviation),
            *(self.low, self.high, self._varies),
        )


def _robust(rows: Array, mean: Array) -> Array:
    """Return the median row where a few rows make up the mean, else the mean; see _FAR."""
    median = np.median(rows, axis=0)
    peak = np.abs(rows).max() or 1.0
    from_mean, from_median = (
        np.linalg.norm(((rows - centre) / peak).reshape(len(rows), -1), axis=1)
        for centre in (mean, median)
    )
    is_far = np.median(from_mean) > _FAR * np.median(from_median)
    is_as_good = np.linalg.norm(from_median) <= _ALMOST * np.linalg.norm(from_mean)
    return median if is_far and is_as_good else mean


def _are_both_nan(rows: Array, first: Array) -> Array:
    if rows.dtype.kind != "f":
        return np.zeros(rows.shape, np.bool_)
    return np.asarray(np.isnan(rows) & np.isnan(first))
