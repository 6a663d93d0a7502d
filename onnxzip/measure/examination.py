"""Runs the original model: its inputs, its outputs, the metric, and the providers to check on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import ProviderError
from onnxzip.graph import Model, loadable, unsized_outputs
from onnxzip.inputs.feedset import FITTED_NOTE, FeedSet
from onnxzip.inputs.given.arrays import ArrayLike
from onnxzip.inputs.given.from_files import join_labels, load_labels
from onnxzip.measure.data_findings import data_findings
from onnxzip.measure.inputs.feeding import make_feeds
from onnxzip.measure.inputs.own_inputs import OwnInputs, own_inputs
from onnxzip.measure.metric import Metric, SumMetric
from onnxzip.measure.metrics import make_metric, without_limit
from onnxzip.measure.outputs.random_answers import random_answers
from onnxzip.measure.outputs.recorded_outputs import RecordedOutputs
from onnxzip.measure.outputs.telling_samples import find_evidence
from onnxzip.measure.subject import Sample, Subject
from onnxzip.options import Options
from onnxzip.records.plan import Skip
from onnxzip.runtime.providers import resolve_providers
from onnxzip.runtime.session import Session, open_session, probe_provider

_log = logging.getLogger(__name__)


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
        random = random_answers(original, session, families[0], options.custom_ops)
        n_samples = sum(feeds.n_samples for feeds in families)
        names = ", ".join(spec.name for spec in session.inputs)
        _log.info("examined inputs %s: %d samples, on %s", names, n_samples, ", ".join(providers))
        labels = _labels(options, given_labels, families[0].n_samples)

        def record(feeds: FeedSet, metric: Metric) -> Sample:
            asked = replace(feeds, unasked=frozenset(random))
            return _recorded(session, asked, open_original, metric, unsized_outputs(original))

        def sample(feeds: FeedSet, labels: NDArray[np.int64] | None) -> Sample:
            return record(feeds, metric_of(options, labels, is_limited))

        parts = [_divided(feeds, labels, sample, fits=fits) for feeds in families]
        own = OwnInputs()
        if fits and options.calibration is not None:
            own = own_inputs(session, original, options, families[0], record)
    telling, unproven = find_evidence(original, [part.judged for part in parts])
    return Subject(
        *_by_use([parts[i] for i in telling]),
        providers=providers,
        custom_ops=options.custom_ops,
        findings=[]
        if options.calibration is None
        else data_findings(original, families[0], parts[0].judged, own.likely, fits=fits),
        unproven={**random, **unproven},
        opinions=own.alike,
    ), unusable


_Samples: TypeAlias = tuple[Sample, ...]


class _Parts(NamedTuple):
    """A family of inputs, by what they are for: one and the same where they are too few."""

    judged: Sample
    searched: Sample
    fitted: Sample


def _by_use(families: Sequence[_Parts]) -> tuple[_Samples, _Samples, _Samples]:
    """Return what is judged, searched on and fitted to; where that is the same, one tuple."""
    judged, searched, fitted = zip(*families, strict=True)
    searched = judged if searched == judged else searched
    return judged, searched, searched if fitted == searched else fitted


def _divided(
    feeds: FeedSet,
    labels: NDArray[np.int64] | None,
    sample: Callable[[FeedSet, NDArray[np.int64] | None], Sample],
    *,
    fits: bool,
) -> _Parts:
    """Return what the verdict is on, what is searched on, and what is fitted to.

    Of made-up inputs the first two are one: a verdict apart from the search would say no more about the
    user's, and costs resnet20 two refits and 7 % of its bytes.
    """
    parts = feeds.hold_out() if fits and feeds.is_like_real else None
    if parts is None:
        is_fitted_to = fits and feeds.is_like_real
        whole = sample(replace(feeds, note=FITTED_NOTE) if is_fitted_to else feeds, labels)
        return _Parts(whole, whole, whole)
    rest, held, is_held = parts
    judged = sample(held, _rows(labels, is_held))
    labels = _rows(labels, ~is_held)
    if feeds.seed is not None:
        return _Parts(judged, judged, sample(rest, labels))
    inner = rest.set_aside()
    if inner is None:
        fitted = sample(rest, labels)
        return _Parts(judged, fitted, fitted)
    fitted_feeds, tried, is_tried = inner
    return _Parts(
        judged, sample(tried, _rows(labels, is_tried)), sample(fitted_feeds, _rows(labels, ~is_tried))
    )


def _rows(labels: NDArray[np.int64] | None, is_wanted: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    return None if labels is None else labels[is_wanted]


def _recorded(
    session: Session,
    feeds: FeedSet,
    open_original: Callable[[], Session],
    metric: Metric,
    sets: Mapping[str, int],
) -> Sample:
    """Return a sample with the original's outputs, and a metric that knows them."""
    answered, feeds = feeds.answered, replace(feeds, answered=())
    reference = RecordedOutputs(feeds, open_original)
    reference.record(session, [feeds.asked(outputs) for outputs in answered])
    if isinstance(metric, SumMetric):
        metric = replace(metric, ignored=feeds.states, sets=sets).prepare(reference)
    return Sample(feeds, reference, metric)


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
