"""compress(): read -> measure -> propose -> choose -> rewrite -> prove -> write, and nothing else."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip import graph
from onnxzip.calibrate import load_calibration, load_labels
from onnxzip.errors import ModelError, OutputError, ProviderError, ToleranceError, UsageError
from onnxzip.evaluation import Sample, source_of
from onnxzip.feeds import FITTED_NOTE, FeedSet, runnable_feeds
from onnxzip.fitting import fit
from onnxzip.graph import Model, ModelProto
from onnxzip.metrics import Metric, make_metric, without_limit
from onnxzip.options import Options, Result
from onnxzip.proof import Subject
from onnxzip.proposal import propose
from onnxzip.report import SCHEMA
from onnxzip.runtime import Session, open_session, probe_provider, resolve_providers, survives
from onnxzip.types import Candidate, LayerReport, Report, Rewrite, Rounding, Scalar, Skip
from onnxzip.validate import collect_outputs, unstable_outputs

Source: TypeAlias = str | Path | bytes | ModelProto
ShowProgress: TypeAlias = Callable[[str, float], None]


def compress(
    source: Source,
    output: str | Path | None = None,
    *,
    options: Options | None = None,
    progress: ShowProgress | None = None,
    approve: Callable[[Report], None] | None = None,
) -> Result:
    """Compress a model within the loss allowed, prove it, and write it.

    Args:
        source: path, serialised model, or ModelProto (which is not changed).
        output: where to write; None only returns the model.
        options: what is allowed and wanted.
        progress: called with the stage and the fraction done, 0 ... 1.
        approve: called with the report when the model is complete but not in place yet; when it
            raises, nothing is written.

    Raises:
        InputError: the model, the calibration data or a provider cannot be used.
        ToleranceError: no smaller file stays within the tolerance.
        VerificationError: the compressed graph fails its exact check.
        OutputError: the output cannot be written; it is as it was.
    """
    started = time.perf_counter()
    options = options or Options()
    show = progress or (lambda stage, fraction: None)
    show("reading", 0.0)
    original = graph.read_model(Path(source) if isinstance(source, str) else source)
    _check_target_size(original, options)
    target = None if output is None else check_output(original, Path(output), options.overwrite)
    show("running the original", 0.02)
    subject, unusable = examine(original, options, fits=True)
    show("folding", 0.08)
    proposal = propose(original, subject, options, show)
    fitted = fit(original, proposal, subject, options, show)
    show("writing", 0.98)

    def report(n_bytes: int, digest: str) -> Report:
        _check_smaller(original, n_bytes)
        return Report(
            schema=SCHEMA,
            source=original.source,
            source_sha256=_digest(source),
            output_sha256=digest,
            layers=tuple(_layer_report(c) for c in fitted.plan.chosen.values()),
            rewrites=(*proposal.rewrites, *_rounding_rewrite(fitted.plan.rounding)),
            skips=(*proposal.skips, *fitted.skips, *unusable),
            checks=fitted.checks,
            bytes_before=original.n_bytes,
            bytes_after=n_bytes,
            seconds=time.perf_counter() - started,
            settings=_settings(options),
            versions={name: version(name) for name in ("onnxzip", "onnx", "onnxruntime", "numpy")},
        )

    return _write(fitted.emitted.model, target, report, approve or (lambda report: None))


def _check_target_size(original: Model, options: Options) -> None:
    if options.target_size is None:
        return
    if options.tolerance is not None:
        raise UsageError("--target-size stands instead of --tolerance; leave one of them out")
    if not 0 < options.target_size < original.n_bytes:
        raise UsageError(
            f"--target-size {options.target_size}: {original.source} has {original.n_bytes} bytes; "
            "ask for fewer, and more than none"
        )


def check_output(original: Model, output: Path, overwrite: bool) -> Path:
    """Refuse an output that must not be written, before any work is done.

    Raises:
        OutputError: it is the input, a directory, or exists without `overwrite`, or its folder does
            not exist.
    """
    if output.is_dir():
        raise OutputError(f"{output}: is a directory; name the file to write")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output}: is not a regular file (a device or pipe); name another output")
    if output.exists() and Path(original.source).exists() and output.samefile(original.source):
        raise OutputError(f"{output}: is the input itself; give the output another name")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; use -f (overwrite=True) to replace it")
    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output}: the folder {output.parent} does not exist; make it first")
    return output


def examine(original: Model, options: Options, *, fits: bool) -> tuple[Subject, list[Skip]]:
    """Run the original model: feeds, its outputs, the metric, and the providers to check on.

    Args:
        original: the model.
        options: what the user asked for.
        fits: whether something is going to be fitted to the data, so that some must be held out.

    Returns:
        The subject, and the accelerators that are installed but cannot start here.

    Raises:
        InputError: the model does not load or run, or data, metric or provider do not fit.
    """
    providers, unusable = _usable_providers(options.providers)
    session = open_session(source_of(original), custom_ops=options.custom_ops)
    feeds = make_feeds(session, original, options)
    if unstable := unstable_outputs(session, feeds.feeds[0]):
        raise ModelError(
            f"{original.source}: output '{unstable[0]}' differs between two runs on the same input "
            "(a random operator?), so no loss can be measured; export the model without it"
        )
    labels = None if options.labels is None else load_labels(options.labels, feeds.n_samples)
    parts = feeds.hold_out() if fits and options.calibration is not None else None
    if parts is None:
        is_fitted = fits and options.calibration is not None
        whole = replace(feeds, note=FITTED_NOTE) if is_fitted else feeds
        sets = [(whole, np.ones(feeds.n_samples, np.bool_))]
    else:
        fitted, held, is_held = parts
        sets = [(held, is_held), (fitted, ~is_held)]
    references = [collect_outputs(session, part) for part, _ in sets]
    if all(reference.is_complete for reference in references):
        session.close()
    samples = [
        Sample(part, reference, _metric(options, None if labels is None else labels[rows]))
        for (part, rows), reference in zip(sets, references, strict=True)
    ]
    return Subject(samples[0], samples[-1], providers, options.custom_ops), unusable


def _metric(options: Options, labels: NDArray[np.int64] | None) -> Metric:
    if options.target_size is None:
        return make_metric(options.metric, options.tolerance, labels)
    return without_limit(make_metric(options.metric, 1.0, labels))


def make_feeds(session: Session, model: Model, options: Options) -> FeedSet:
    """Return the user's calibration data, or generated inputs that the model accepts."""
    if options.calibration is not None:
        return load_calibration(options.calibration, session.inputs)
    return runnable_feeds(
        session,
        seed=options.seed,
        bounds=graph.index_bounds(model),
        survives=lambda feeds: survives(source_of(model), feeds, options.custom_ops),
    )


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


def _write(
    model: Model,
    output: Path | None,
    report_of: Callable[[int, str], Report],
    approve: Callable[[Report], None],
) -> Result:
    """Write the model, or only return it."""
    reports: list[Report] = []

    def finish(n_bytes: int, digest: str) -> None:
        reports.append(report_of(n_bytes, digest))
        approve(reports[0])

    proto = graph.to_proto(model) if graph.inline_bytes(model) <= graph.MAX_INLINE_BYTES else None
    if output is not None:
        graph.write_model(model, output, finish)
    elif proto is not None:
        data = proto.SerializeToString(deterministic=True)
        finish(len(data), hashlib.sha256(data).hexdigest())
    else:
        finish(graph.inline_bytes(model), "")
    return Result(proto, reports[0])


def _check_smaller(original: Model, n_bytes: int) -> None:
    """Refuse a file that is not smaller."""
    if n_bytes >= original.n_bytes:
        raise ToleranceError(
            f"{original.source}: the compressed model would take {n_bytes} bytes, the original has "
            f"{original.n_bytes}; nothing is written"
        )


def _digest(source: Source) -> str:
    """Return the SHA-256 of a file, of bytes, or of a serialised ModelProto."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    data = source if isinstance(source, bytes) else source.SerializeToString(deterministic=True)
    return hashlib.sha256(data).hexdigest()


def _layer_report(candidate: Candidate) -> LayerReport:
    layer = candidate.layer
    return LayerReport(
        name=layer.name,
        op_type=layer.op_type,
        shape=tuple(layer.weight.shape),
        dtype=layer.weight.dtype.name,
        pass_name=candidate.pass_name,
        form=candidate.form,
        settings=candidate.settings,
        bytes_before=layer.weight.nbytes,
        bytes_after=candidate.n_bytes,
        error=candidate.error,
        macs_before=layer.macs,
        macs_after=candidate.macs if candidate.form == "computed" else layer.macs,
    )


def _rounding_rewrite(rounding: Rounding) -> tuple[Rewrite, ...]:
    """Say what was rounded; nothing where nothing was."""
    if not rounding.layers:
        return ()
    n_numbers = sum(layer.weight.size for layer in rounding.layers)
    moved = f"alone it moves the outputs by {rounding.error:.2g}"
    text = f"{n_numbers} numbers in {rounding.n_bits} bits; {moved}"
    return (Rewrite("rounding", f"{len(rounding.layers)} small tensors", text),)


def _settings(options: Options) -> dict[str, Scalar]:
    """Return the options that shape the result, as scalars for the report."""
    settings: dict[str, Scalar] = {
        "metric": options.metric,
        "objective": options.objective,
        "passes": "all" if options.passes is None else ",".join(options.passes),
        "skip": ",".join(options.skip),
        "keep": ",".join(options.keep),
        "seed": options.seed,
        "calibration": _describe_calibration(options),
    }
    if options.tolerance is not None:
        settings["tolerance"] = options.tolerance
    if options.target_size is not None:
        settings["target_size"] = options.target_size
    for pass_name, values in options.pass_settings.items():
        settings.update({f"{pass_name}.{key}": _scalar(value) for key, value in values.items()})
    return settings


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _describe_calibration(options: Options) -> str:
    if options.calibration is None:
        return "generated inputs"
    if isinstance(options.calibration, str | Path):
        return str(options.calibration)
    return type(options.calibration).__name__
