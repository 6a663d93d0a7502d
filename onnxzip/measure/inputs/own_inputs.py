"""Inputs of our own beside the user's: what the model suggests, and what is like his data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.graph import Model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.agreement import agreeing_scalings, agrees
from onnxzip.measure.inputs.feeding import make_up
from onnxzip.measure.metric import Metric
from onnxzip.measure.metrics import make_metric, without_limit
from onnxzip.measure.outputs.telling_samples import find_evidence
from onnxzip.measure.subject import Sample
from onnxzip.options import Options
from onnxzip.runtime.session import Session

_log = logging.getLogger(__name__)

_N_SAMPLES = 16
"""Of each family of inputs: twice what an interval is stated from."""


@dataclass(frozen=True, eq=False)
class OwnInputs:
    """Inputs beside the user's, where some run and tell something.

    Attributes:
        likely: scaled as the model's first layers suggest: his data are compared with them.
        alike: scaled as his data are: the loss on them is a second opinion.
    """

    likely: tuple[Sample, ...] = ()
    alike: tuple[Sample, ...] = ()


def own_inputs(
    session: Session,
    original: Model,
    options: Options,
    given: FeedSet,
    record: Callable[[FeedSet, Metric], Sample],
) -> OwnInputs:
    """Make up inputs beside the user's.

    What a model is fed tells better how its inputs are scaled than how it answers does: no opinion is
    given on values that his data contradict.

    Args:
        session: the original model.
        original: the same.
        options: has the seed.
        given: the user's data.
        record: runs the model, and knows the metric.
    """
    metric = without_limit(make_metric(Options().metric))  # the user's may need labels, or his own data
    try:
        families = make_up(session, original, options, _N_SAMPLES)
        likely = [record(feeds, metric) for feeds in families]
        alike = [sample for sample in likely if agrees(given, sample.feeds)]
        if not alike:
            others = make_up(
                *(session, original, options, _N_SAMPLES),
                lambda name, runs, _: agreeing_scalings(given, name, runs),
            )
            alike = [record(feeds, metric) for feeds in others if agrees(given, feeds)]
    except (CalibrationError, ModelError) as error:
        _log.info("no second opinion on generated inputs: %s", error)
        return OwnInputs()
    if not alike:
        _log.info("no second opinion: no generated inputs have the range of the data")
    return OwnInputs(_telling(original, likely), _telling(original, alike))


def _telling(original: Model, samples: list[Sample]) -> tuple[Sample, ...]:
    """Return the samples that tell anything; none where an output says nothing on any of them."""
    if not samples:
        return ()
    telling, unproven = find_evidence(original, samples)
    return () if unproven else tuple(samples[i] for i in telling)
