"""Runs the original model: its inputs, its outputs, the metric, and the providers to check on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from onnxzip import graph
from onnxzip.errors import CalibrationError, ModelError, ProviderError
from onnxzip.graph import Model, loadable
from onnxzip.inputs.feedset import FITTED_NOTE, FeedSet
from onnxzip.inputs.generated.attempts import Helpers, run_on_any
from onnxzip.inputs.generated.readings import Hints
from onnxzip.inputs.generated.runnable import runnable_families
from onnxzip.inputs.given.arrays import ArrayLike
from onnxzip.inputs.given.from_files import join_labels, load_calibration, load_labels
from onnxzip.measure.data_findings import data_findings
from onnxzip.measure.first_answers import fitting_scalings
from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.metrics import make_metric, without_limit
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.outputs.evidence import is_quiet, why_no_evidence
from onnxzip.measure.outputs.recorded_outputs import RecordedOutputs
from onnxzip.measure.subject import Sample, Subject
from onnxzip.options import Options
from onnxzip.records.aliases import Feeds
from onnxzip.records.plan import Skip
from onnxzip.runtime.providers import resolve_providers
from onnxzip.runtime.session import Session, open_session, probe_provider
from onnxzip.runtime.survival import survives

_log = logging.getLogger(__name__)

STABLE_LIMIT = 1e-6
"""Largest relative deviation between two runs of the same model on the same inputs."""

_N_OPINION_SAMPLES = 16
"""Of each family of inputs that a second opinion is taken on: twice what an interval is stated from."""


def unstable_outputs(session: Session, feeds: Feeds) -> tuple[str, ...]:
    """Return the outputs that differ between two runs on the same inputs (random operators)."""
    first, second = session.run(feeds), session.run(feeds)
    return tuple(
        name
        for name in {**first, **second}
        if exact_deviation(
            [{key: a for key, a in first.items() if key == name}],
            [{key: a for key, a in second.items() if key == name}],
        ).value
        > STABLE_LIMIT
    )


def examine(
    original: Model, options: Options, *, fits: bool, is_limited: bool = True
) -> tuple[Subject, list[Skip]]:
    """Run the original model: feeds, its outputs, the metric, and the providers to check on.

    Args:
        original: the model.
        options: what the user asked for.
        fits: whether something is going to be fitted to the data, so that some must be held out.
        is_limited: whether losses are held to a limit, or only measured.

    Returns:
        The subject, and the accelerators that are installed but cannot start here.

    Raises:
        InputError: the model does not load or run, or data, metric or provider do not fit.
    """
    providers, unusable = _usable_providers(options.providers)

    def open_original() -> Session:
        return open_session(loadable(original), custom_ops=options.custom_ops)

    with open_original() as session:
        families, given_labels = make_feeds(session, original, options)
        if unstable := unstable_outputs(session, families[0].feeds[0]):
            raise ModelError(
                f"{original.source}: output '{unstable[0]}' differs between two runs on the same input "
                "(a random operator?), so no loss can be measured; export the model without it"
            )
        n_samples = sum(feeds.n_samples for feeds in families)
        names = ", ".join(spec.name for spec in session.inputs)
        _log.info("examined inputs %s: %d samples, on %s", names, n_samples, ", ".join(providers))
        labels = _labels(options, given_labels, families[0].n_samples)

        def sample(feeds: FeedSet, labels: NDArray[np.int64] | None) -> Sample:
            return _recorded(session, feeds, open_original, metric_of(options, labels, is_limited))

        pairs = [_split(feeds, labels, sample, fits=fits) for feeds in families]
        opinions = _opinions(session, original, options, open_original) if fits else ()
    telling, unproven = _find_evidence(original, [held for held, _ in pairs])
    samples, fitted = (tuple(pairs[i][side] for i in telling) for side in (0, 1))
    return Subject(
        samples=samples,
        fitted=samples if fitted == samples else fitted,
        providers=providers,
        custom_ops=options.custom_ops,
        findings=[]
        if options.calibration is None
        else data_findings(original, families[0], pairs[0][0], opinions, fits=fits),
        unproven=unproven,
        opinions=opinions,
    ), unusable


def _split(
    feeds: FeedSet,
    labels: NDArray[np.int64] | None,
    sample: Callable[[FeedSet, NDArray[np.int64] | None], Sample],
    *,
    fits: bool,
) -> tuple[Sample, Sample]:
    """Return what the verdict is on, and what is fitted to: other samples where there are enough."""
    parts = feeds.hold_out() if fits and feeds.is_like_real else None
    if parts is None:
        is_fitted_to = fits and feeds.is_like_real
        whole = sample(replace(feeds, note=FITTED_NOTE) if is_fitted_to else feeds, labels)
        return whole, whole
    fitted, held, is_held = parts
    rows = (None, None) if labels is None else (labels[is_held], labels[~is_held])
    return sample(held, rows[0]), sample(fitted, rows[1])


def _recorded(
    session: Session, feeds: FeedSet, open_original: Callable[[], Session], metric: Metric
) -> Sample:
    """Return a sample with the original's outputs, and a metric that knows them."""
    reference = RecordedOutputs(feeds, open_original)
    reference.record(session)
    if isinstance(metric, SumMetric):
        metric = replace(metric, ignored=feeds.states).prepare(reference)
    return Sample(feeds, reference, metric)


def _opinions(
    session: Session, original: Model, options: Options, open_original: Callable[[], Session]
) -> tuple[Sample, ...]:
    """Return inputs of ours beside the user's, where some run: the loss on them is a second opinion."""
    if options.calibration is None:
        return ()
    metric = without_limit(make_metric(Options().metric))  # the user's may need labels, or his own data
    try:
        families = _generated(session, original, options, n_samples=_N_OPINION_SAMPLES)
        samples = [_recorded(session, feeds, open_original, metric) for feeds in families]
    except (CalibrationError, ModelError) as error:
        _log.info("no second opinion on generated inputs: %s", error)
        return ()
    telling, unproven = _find_evidence(original, samples)
    return () if unproven else tuple(samples[i] for i in telling)


def _find_evidence(original: Model, samples: Sequence[Sample]) -> tuple[list[int], dict[str, str]]:
    """Return which samples tell anything, all where none does, and why outputs tell nothing on any.

    An output that depends on no value of an input (a table of anchors) tells nothing by nature, and is
    not asked.
    """
    asked, squashed = graph.varying_outputs(original), graph.squashed_outputs(original)
    reasons = [
        {
            name: why
            for name, found in sample.statistics.items()
            if name in asked and (why := why_no_evidence(found, is_squashed=name in squashed))
        }
        for sample in samples
    ]
    telling = [
        i
        for i, silent in enumerate(reasons)
        if asked.intersection(samples[i].statistics) - silent.keys()
    ]
    unproven = {name: why for name, why in reasons[0].items() if all(name in r for r in reasons)}
    return _lively(samples, asked, telling) or list(range(len(samples))), unproven


def _lively(samples: Sequence[Sample], asked: Collection[str], telling: Sequence[int]) -> list[int]:
    """Leave out the families on which scores stay near 0 or 1, though they move on the likeliest one.

    What is left out is noise, or a scaling that is not the model's.
    """
    if not telling:
        return []
    likeliest = samples[telling[0]].statistics
    return [
        i
        for i in telling
        if not any(
            is_quiet(found, likeliest[name])
            for name, found in samples[i].statistics.items()
            if name in asked
        )
    ]


def metric_of(
    options: Options, labels: NDArray[np.int64] | None = None, is_limited: bool = True
) -> Metric:
    """Return the metric that was asked for, and the limit that losses are held to.

    Raises:
        UsageError: there is no metric of this name.
        CalibrationError: the user's function cannot be imported.
    """
    if is_limited and options.target_size is None:
        return make_metric(options.metric, options.tolerance, labels)
    return without_limit(make_metric(options.metric, 1.0, labels))


def _labels(options: Options, given: Sequence[ArrayLike], n_samples: int) -> NDArray[np.int64] | None:
    """Return the labels for top1: the user's, else those that came with the batches of data."""
    if options.labels is not None:
        return load_labels(options.labels, n_samples)
    if options.metric == "top1" and given:
        return load_labels(join_labels(given), n_samples)
    return None


def make_feeds(
    session: Session, model: Model, options: Options
) -> tuple[tuple[FeedSet, ...], Sequence[ArrayLike]]:
    """Return the user's data and the labels that came with it, or families of generated inputs."""
    if options.calibration is None:
        return _generated(session, model, options), ()
    feeds, labels = load_calibration(options.calibration, session.inputs)
    return (replace(feeds, is_like_real=True),), labels


def _generated(
    session: Session, model: Model, options: Options, n_samples: int | None = None
) -> tuple[FeedSet, ...]:
    helpers = _helpers(model, options)
    return runnable_families(session, seed=options.seed, n_samples=n_samples, helpers=helpers)


def _helpers(model: Model, options: Options) -> Helpers:
    return Helpers(
        Hints(graph.index_ranges(model), graph.part_ranges(model)),
        lambda feeds: survives(loadable(model), feeds, options.custom_ops),
        partial(fitting_scalings, model, options.custom_ops),
        partial(graph.run_cost, model),
    )


def run_alone(model: Model, options: Options) -> None:
    """Run a model once, on the first inputs of ours that it accepts.

    Raises:
        InputError: it does not load, or accepts none.
    """
    with open_session(loadable(model), custom_ops=options.custom_ops) as session:
        run_on_any(session, seed=options.seed, helpers=_helpers(model, options))


def _usable_providers(requested: Sequence[str] | None) -> tuple[list[str], list[Skip]]:
    """Drop accelerators that cannot start, unless the user asked for them."""
    usable: list[str] = []
    skips: list[Skip] = []
    for provider in resolve_providers(requested):
        reason = "" if provider == "CPU" else probe_provider(provider)
        if reason and requested is not None:
            raise ProviderError(reason)
        if reason:
            skips.append(Skip(provider, "provider", reason))
        else:
            usable.append(provider)
    return usable, skips
