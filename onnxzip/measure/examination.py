"""Runs the original model: its inputs, its outputs, the metric, and the providers to check on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxzip import graph
from onnxzip.errors import ModelError, ProviderError
from onnxzip.graph import Model, loadable
from onnxzip.inputs.feedset import FITTED_NOTE, FeedSet
from onnxzip.inputs.generated.runnable import runnable_feeds
from onnxzip.inputs.given.arrays import ArrayLike
from onnxzip.inputs.given.findings import look_at
from onnxzip.inputs.given.from_files import join_labels, load_calibration, load_labels
from onnxzip.measure.metric import Metric
from onnxzip.measure.metrics import make_metric, without_limit
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.recorded_outputs import RecordedOutputs
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

    session = open_original()
    feeds, given_labels = make_feeds(session, original, options)
    if unstable := unstable_outputs(session, feeds.feeds[0]):
        raise ModelError(
            f"{original.source}: output '{unstable[0]}' differs between two runs on the same input "
            "(a random operator?), so no loss can be measured; export the model without it"
        )
    names = ", ".join(spec.name for spec in session.inputs)
    _log.info("examined inputs %s: %d samples, on %s", names, feeds.n_samples, ", ".join(providers))
    labels = _labels(options, given_labels, feeds.n_samples)
    parts = feeds.hold_out() if fits and options.calibration is not None else None
    if parts is None:
        is_fitted = fits and options.calibration is not None
        whole = replace(feeds, note=FITTED_NOTE) if is_fitted else feeds
        sets = [(whole, np.ones(feeds.n_samples, np.bool_))]
    else:
        fitted, held, is_held = parts
        sets = [(held, is_held), (fitted, ~is_held)]
    references = [RecordedOutputs(part, open_original) for part, _ in sets]
    for reference in references:
        reference.record(session)
    session.close()
    samples = [
        Sample(part, reference, metric_of(options, None if labels is None else labels[rows], is_limited))
        for (part, rows), reference in zip(sets, references, strict=True)
    ]
    findings = [] if options.calibration is None else look_at(feeds)
    return Subject(samples[0], samples[-1], providers, options.custom_ops, findings), unusable


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


def make_feeds(session: Session, model: Model, options: Options) -> tuple[FeedSet, Sequence[ArrayLike]]:
    """Return the user's data and the labels that came with it, or generated inputs that run."""
    if options.calibration is not None:
        return load_calibration(options.calibration, session.inputs)
    generated = runnable_feeds(
        session,
        seed=options.seed,
        bounds=graph.index_ranges(model),
        survives=lambda feeds: survives(loadable(model), feeds, options.custom_ops),
    )
    return generated, ()


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
