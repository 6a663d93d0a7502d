"""Drift checks: the emitted graph against the original model, in the metric of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from onnxzip.graph import Model, loadable
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.confidence import MIN_SAMPLES, interval_of, n_to_settle
from onnxzip.measure.metric import Deviation, Metric, SumMetric
from onnxzip.measure.outputs.constant_answer import constant_score
from onnxzip.measure.outputs.output_statistics import OutputStatistics
from onnxzip.measure.outputs.recorded_outputs import run_all
from onnxzip.measure.outputs.running_sums import Runs
from onnxzip.measure.subject import Sample, Subject
from onnxzip.prove.notes import joined, note_of, share_of
from onnxzip.records.check import Check, SampleLosses
from onnxzip.runtime.session import Session, open_session

_N_RANKED = 41
"""Samples whose losses are told: every 2.5 %."""


Answers: TypeAlias = Iterator[tuple[str, Runs]]
"""For sets of feeds, one after the other: what is known of where they ran, and what was answered."""

Answer: TypeAlias = Callable[[str, Sequence[FeedSet]], Answers]
"""Runs the emitted graph on a provider, on sets of feeds."""


def check_drift(
    reference: Runs,
    candidate: Session,
    feeds: FeedSet,
    metric: Metric,
    statistics: Mapping[str, OutputStatistics] | None = None,
) -> Check:
    """Compare the emitted graph with the original model in the user's metric.

    Args:
        reference: outputs of the original on `feeds`, run by run.
        candidate: the emitted graph.
        feeds: what to run on.
        metric: unit and limit of the loss.
        statistics: of the reference, where they are known.

    Raises:
        CalibrationError: the metric does not apply to the outputs, or the user's function fails.
    """
    outputs, share = run_all(candidate, feeds), share_of(candidate)
    check = check_outputs(reference, outputs, feeds, metric, statistics, provider=candidate.provider)
    return replace(check, note=joined(check.note, share))


def check_outputs(
    reference: Runs,
    outputs: Runs,
    feeds: FeedSet,
    metric: Metric,
    statistics: Mapping[str, OutputStatistics] | None = None,
    *,
    provider: str = "CPU",
) -> Check:
    """Compare what another model answered to `feeds` with what the original did; see `check_drift`."""
    found = metric.measure(reference, outputs, feeds.sizes)
    interval = interval_of(metric, found)
    return Check(
        kind="drift",
        provider=provider,
        metric=metric.name,
        value=found.value,
        limit=metric.limit,
        passed=metric.passes(found.value),
        n_samples=feeds.n_samples,
        seed=feeds.seed,
        note=note_of(feeds, found),
        interval=interval,
        unit=metric.unit,
        scale=metric.scale,
        n_decimals=metric.n_decimals,
        higher_is_better=metric.higher_is_better,
        constant=constant_score(metric, reference, statistics),
        by_output=found.by_output if len(found.by_output) > 1 else {},
        per_sample=_spread(metric, found, feeds),
        n_to_settle=None
        if feeds.seed is not None
        else n_to_settle(metric, found.value, interval, feeds.n_samples),
    )


def _spread(metric: Metric, found: Deviation, feeds: FeedSet) -> SampleLosses | None:
    """Return how the worst output's loss is spread over samples, where these can be told apart."""
    if not (found.sums and isinstance(metric, SumMetric)) or found.sums[0].finding:
        return None
    losses = metric.sample_values(found.sums[0])
    if len(losses) < MIN_SAMPLES or np.isnan(losses).any():
        return None
    order = np.argsort(-losses if metric.higher_is_better else losses, kind="stable")
    ranked, last = losses[order], len(losses) - 1
    ranks = (int(0.5 * last), int(0.95 * last), last)
    median, high, worst = (float(ranked[rank]) for rank in ranks)
    shown = np.linspace(0, last, min(len(losses), _N_RANKED)).astype(int)
    places = (_sample_at(int(order[rank]), len(losses), feeds) for rank in ranks)
    return SampleLosses(median, high, worst, tuple(map(float, ranked[shown])), tuple(places))


def _sample_at(index: int, n_losses: int, feeds: FeedSet) -> int:
    """Return the sample that a loss is of, the first one of a run whose samples are not told apart."""
    return index if n_losses == feeds.n_samples else sum(feeds.sizes[:index])


def measure_drift(
    emitted: Model,
    original: Model,
    subject: Subject,
    unproven: Sequence[str] = (),
    answer: Answer | None = None,
) -> list[Check]:
    """Compare the emitted graph with the original model, on every provider; the worst family counts.

    Args:
        emitted: the compressed model.
        original: the model as it was read.
        subject: what to run on.
        unproven: what else the outputs say nothing about.
        answer: runs the emitted graph; by default in this process.
    """
    answer = answer or answering(emitted, subject.custom_ops)
    reason = "; ".join(dict.fromkeys((*subject.doubts, *unproven)))
    checks: list[Check] = []
    for provider in subject.providers:
        found = _check_samples(original, subject, provider, answer)
        worst = worst_of(found, subject.samples)
        if reason and not worst.failed:
            worst = replace(worst, passed=False, unproven=reason)
        checks.append(worst)
    return checks


def answering(model: Model, custom_ops: Path | None) -> Answer:
    """Return what runs a model in this process."""

    def answer(provider: str, sets: Sequence[FeedSet]) -> Answers:
        with open_session(loadable(model), provider=provider, custom_ops=custom_ops) as session:
            for feeds in sets:
                yield share_of(session), run_all(session, feeds)

    return answer


def _check_samples(original: Model, subject: Subject, provider: str, answer: Answer) -> list[Check]:
    samples = subject.samples
    references: list[Runs] = [sample.reference for sample in samples]
    if provider != "CPU":
        with open_session(
            loadable(original), provider=provider, custom_ops=subject.custom_ops
        ) as session:
            references = [list(run_all(session, sample.feeds)) for sample in samples]
    checks = []
    answers = answer(provider, [sample.feeds for sample in samples])
    for (share, outputs), reference, sample in zip(answers, references, samples, strict=True):
        statistics = sample.statistics if reference is sample.reference else None
        check = check_outputs(
            reference, outputs, sample.feeds, sample.metric, statistics, provider=provider
        )
        checks.append(replace(check, note=joined(check.note, share)))
    return checks


def worst_of(checks: Sequence[Check], samples: Sequence[Sample]) -> Check:
    """Return the check with the largest loss, knowing those on other families of inputs."""
    badness = [s.metric.badness(check.value) for s, check in zip(samples, checks, strict=True)]
    worst = checks[int(np.argmax(badness))]
    if len(checks) == 1:
        return worst
    losses = {s.feeds.family: check.value for s, check in zip(samples, checks, strict=True)}
    n_samples = sum(check.n_samples for check in checks)
    return replace(worst, by_family=losses, n_samples=n_samples)
