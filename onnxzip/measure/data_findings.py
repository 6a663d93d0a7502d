"""What is odd about the user's data: by themselves, beside the graph, and by what the model answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxzip import graph
from onnxzip.graph import Model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.findings import look_at
from onnxzip.inputs.given.label_findings import look_at_labels
from onnxzip.inputs.given.response_findings import look_at_responses
from onnxzip.measure.metrics.top1 import Top1, answers, n_classes_of
from onnxzip.measure.subject import Sample
from onnxzip.records.finding import Finding


def data_findings(
    original: Model, feeds: FeedSet, given: Sample, own: Sequence[Sample], *, fits: bool
) -> list[Finding]:
    """Return what is odd about the user's data.

    Args:
        original: the model.
        feeds: all of the data.
        given: the part of it that the verdict is on.
        own: generated inputs to compare with.
        fits: whether something is going to be fitted to the data.
    """
    found = look_at(feeds, graph.first_scalings(original), fits=fits)
    found += _label_findings(given)
    if own:
        found += look_at_responses(given.feeds, given.reference, own[0].feeds, own[0].reference)
    return found


def _label_findings(given: Sample) -> list[Finding]:
    metric = given.metric
    if not isinstance(metric, Top1) or metric.labels is None:
        return []
    runs = [run[metric.output] for run in given.reference]
    found = np.concatenate([answers(scores) for scores in runs])
    if found.dtype.kind not in "iu" or found.shape != metric.labels.shape:
        return []
    return look_at_labels(metric.labels, found, n_classes_of(runs[0]))
