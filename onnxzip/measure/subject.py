"""What a run is about: the original model as all checks see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxzip.graph import Judgement
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metric import Metric
from onnxzip.measure.metrics import make_metric, metrics
from onnxzip.measure.recorded_outputs import RecordedOutputs
from onnxzip.options import Options
from onnxzip.records.finding import Finding


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs, what the original model answers to them, and how the loss on them is measured."""

    feeds: FeedSet
    reference: RecordedOutputs
    metric: Metric


_N_EXACT_RUNS = 8
"""64 samples where the batch is free (inputs/from_files.py)."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The original model as all checks see it.

    Attributes:
        sample: what every check runs on, and how loss is measured and limited.
        fitted: what is fitted to; other inputs where there are enough, else the same sample.
        providers: execution providers to check on.
        custom_ops: shared library of custom operators.
        findings: what is odd about the data that all this rests on.
    """

    sample: Sample
    fitted: Sample
    providers: Sequence[str]
    custom_ops: Path | None
    findings: Sequence[Finding] = ()

    @property
    def exact_feeds(self) -> FeedSet:
        """What exact checks run on: wrong surgery shows on any sample, and outputs take memory."""
        return self.sample.feeds.head(_N_EXACT_RUNS)


def judgement_of(subject: Subject) -> Judgement | None:
    """Return what a file is judged by, None where that are the defaults."""
    metric, on_data = subject.sample.metric, subject.sample.feeds.seed is None
    default = make_metric(Options().metric)
    is_default = (metric.name, metric.limit) == (default.name, default.limit)
    if is_default and not on_data:
        return None
    limit = metric.limit if 0 < metric.limit < math.inf else None
    return Judgement(metric.name if metric.name in metrics() else "", limit, on_data)
