"""The two sums a metric is made of, over the runs of two models, for each output and sample by sample.

Places where both models give the same NaN, or the same Inf, are left out and counted. NaN or Inf in one
model only is a finding, and so is an output that is missing or changes its shape; a finding is an
infinite loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs

Runs: TypeAlias = Iterable[Outputs]
Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pair:
    """The numbers that two models give in one output of one run.

    Attributes:
        output: its name.
        before: of the reference, any shape; 0 where not used.
        after: of the other model, of the same shape; 0 where not used.
        is_used: False where both are the same NaN or Inf, of the same shape.
    """

    output: str
    before: Numbers
    after: Numbers
    is_used: NDArray[np.bool_]


@dataclass(eq=False)
class OutputSums:
    """Sums over one output, and what else a metric may need to make a value of them.

    Attributes:
        output: its name.
        dtype: of the output.
        above: what each sample adds to the sum above the line, one array (n_samples,) a run; (1,) where
            the samples of a run cannot be told apart.
        below: the same for the sum below the line.
        is_number: whether numbers were compared; else elements that are equal or not.
        n_rows: length of the first axis, over all runs.
        n_ignored: elements left out.
        low: least number of the reference; Inf where there are none.
        high: its greatest number.
        finding: why the loss is infinite.
    """

    output: str
    dtype: np.dtype[np.generic]
    above: list[Numbers] = field(default_factory=list)
    below: list[Numbers] = field(default_factory=list)
    is_number: bool = False
    n_rows: int = 0
    n_ignored: int = 0
    low: float = math.inf
    high: float = -math.inf
    finding: str = ""

    def find_changed(self, before: Array | None, after: Array | None) -> None:
        """Note that a run's arrays differ in shape; None where a model did not give one."""
        shapes = " to ".join("none" if a is None else str(a.shape) for a in (before, after))
        self.finding = f"output {self.output!r} changes its shape from {shapes}"

    def pair(self, before: Array, after: Array) -> Pair | None:
        """Return the numbers of both, as float64; None, and a finding, for NaN or Inf in one only."""
        self.is_number = True
        x, y = before.astype(np.float64), after.astype(np.float64)
        is_used: NDArray[np.bool_] = np.isfinite(x)
        numbers = x
        if not is_used.all():
            is_used = ~((np.isnan(x) & np.isnan(y)) | (np.isinf(x) & (x == y)))
            numbers = x[is_used]
            self.n_ignored += x.size - numbers.size
            x, y = np.where(is_used, x, 0.0), np.where(is_used, y, 0.0)
        if not (np.isfinite(numbers).all() and np.isfinite(y).all()):
            self.finding = f"output {self.output!r} has NaN or Inf in one model only"
            return None
        self.low = min(self.low, float(numbers.min(initial=math.inf)))
        self.high = max(self.high, float(numbers.max(initial=-math.inf)))
        return Pair(self.output, x, y, is_used)

    def add(self, above: Array, below: Array, n_samples: int | None) -> None:
        """Add what each row of a run adds to the sums; axes after the first are summed up.

        Args:
            above: (n_rows, ...) or ().
            below: of the same shape.
            n_samples: samples of the run; rows are samples where there are as many. None: none apart.
        """
        self.above.append(_by_sample(above, n_samples))
        self.below.append(_by_sample(below, n_samples))

    def joined(self) -> tuple[Numbers, Numbers]:
        """Return what all samples add to the sum above the line and to that below it, (n_samples,)."""
        above, below = (np.concatenate(parts) for parts in (self.above, self.below))
        return above, below

    @property
    def note(self) -> str:
        """What a reader must know about the sums."""
        if self.finding or not self.n_ignored:
            return self.finding
        return f"output {self.output!r}: {self.n_ignored} NaN or Inf values, the same in both, left out"


def _by_sample(values: Array, n_samples: int | None) -> Numbers:
    rows = values if values.ndim and len(values) == n_samples else values[None]
    return np.asarray(rows.sum(axis=tuple(range(1, rows.ndim)), dtype=np.float64))
