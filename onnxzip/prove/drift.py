"""Drift checks: the emitted graph against the original model, in the metric of the user."""

from __future__ import annotations

from onnxzip.graph import Model, loadable
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.confidence import interval_of
from onnxzip.measure.metric import Metric
from onnxzip.measure.recorded_outputs import run_all
from onnxzip.measure.running_sums import Runs
from onnxzip.measure.subject import Subject
from onnxzip.prove.notes import note_on
from onnxzip.records.check import Check
from onnxzip.runtime.session import Session, open_session


def check_drift(reference: Runs, candidate: Session, feeds: FeedSet, metric: Metric) -> Check:
    """Compare the emitted graph with the original model in the user's metric.

    Args:
        reference: outputs of the original on `feeds`, run by run.
        candidate: the emitted graph.
        feeds: what to run on.
        metric: unit and limit of the loss.

    Raises:
        CalibrationError: the metric does not apply to the outputs, or the user's function fails.
    """
    found = metric.measure(reference, run_all(candidate, feeds), feeds.sizes)
    return Check(
        kind="drift",
        provider=candidate.provider,
        metric=metric.name,
        value=found.value,
        limit=metric.limit,
        passed=metric.passes(found.value),
        n_samples=feeds.n_samples,
        seed=feeds.seed,
        note=note_on(candidate, feeds, found),
        interval=interval_of(metric, found),
        unit=metric.unit,
        scale=metric.scale,
        n_decimals=metric.n_decimals,
        higher_is_better=metric.higher_is_better,
    )


def measure_drift(emitted: Model, original: Model, subject: Subject) -> list[Check]:
    """Compare the emitted graph with the original model in the user's metric, on every provider."""
    checks = []
    sample = subject.sample
    for provider in subject.providers:
        runs: Runs = sample.reference
        if provider != "CPU":
            with open_session(
                loadable(original), provider=provider, custom_ops=subject.custom_ops
            ) as session:
                runs = list(run_all(session, sample.feeds))
        with open_session(
            loadable(emitted), provider=provider, custom_ops=subject.custom_ops
        ) as session:
            checks.append(check_drift(runs, session, sample.feeds, sample.metric))
    return checks
