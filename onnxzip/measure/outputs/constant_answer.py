"""What a model would score that always gives the same answer: the mean of its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.outputs.evidence import does_vary
from onnxzip.measure.outputs.output_statistics import OutputStatistics, output_statistics
from onnxzip.measure.outputs.running_sums import Runs
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs


def constant_score(
    metric: Metric, reference: Runs, statistics: Mapping[str, OutputStatistics] | None = None
) -> float | None:
    """Return the value of the mean answer; None for a user's function, and where not all are numbers.

    None as well where no output varies, be it that all of it is NaN: nothing would be lost by a constant
    that the model itself does not lose.

    Args:
        metric: what to measure in.
        reference: outputs of the original, run by run.
        statistics: of them, where they are known.
    """
    if not isinstance(metric, SumMetric):
        return None
    statistics = output_statistics(reference) if statistics is None else statistics
    if any(s.kind != "f" for s in statistics.values()) or not any(map(does_vary, statistics.values())):
        return None
    return metric.measure(reference, _constants(reference, statistics)).value


def _constants(reference: Runs, statistics: Mapping[str, OutputStatistics]) -> Iterator[Outputs]:
    for run in reference:
        yield {name: _constant_like(array, statistics[name].mean) for name, array in run.items()}


def _constant_like(array: Array, mean: Array) -> Array:
    """Return the mean in the shape of a run's output; NaN and Inf stay where they are."""
    return np.where(np.isfinite(array), np.broadcast_to(mean, array.shape), array)
