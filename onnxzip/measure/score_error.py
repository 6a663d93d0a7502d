"""The error of class scores, relative to what they vary by: the guide of what counts answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxzip.measure.margins import centred
from onnxzip.measure.metric import SumMetric
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums, Pair
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs


@dataclass(frozen=True, eq=False)
class ScoreError(SumMetric):
    """Root mean square error of one output's scores, centred over classes, relative to their deviation.

    Attributes:
        output: the one with the scores.
        axis: of its classes.
        deviation: of the original's centred scores.
        from_probabilities: whether it has probabilities.
    """

    name: ClassVar[str] = "score_error"
    default_limit: ClassVar[float] = 0.1
    summary: ClassVar[str] = "error of class scores, relative to what they vary by"
    is_proportional: ClassVar[bool] = True
    output: str = ""
    axis: int = 1
    deviation: float = 1.0
    from_probabilities: bool = False

    def compared(self, before: Outputs, after: Outputs) -> Iterable[str]:
        """Return the one output with the scores."""
        return (self.output,)

    def view(self, array: Array, n_rows_before: int) -> Array:
        """Return centred scores, the classes last."""
        scores = np.moveaxis(array, self.axis, -1)
        return centred(scores, from_probabilities=self.from_probabilities)

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        """Return the squared error, and the square of the deviation of each element."""
        return (pair.before - pair.after) ** 2, pair.is_used * self.deviation**2

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        """Return the root."""
        return np.sqrt(ratio)
