"""The Python interface: the command line's jobs as functions with keyword arguments.

The heavy modules are imported in the functions, so that `import onnxzip` answers at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from onnxzip.errors import InputError, UsageError, did_you_mean
from onnxzip.options import (
    Options,
    Result,
    check_for_verify,
    described_call,
    for_verify,
    read_path,
)
from onnxzip.options.delivered import read_delivery, read_identity
from onnxzip.options.typed import AnyPath, Settings, VerifySettings
from onnxzip.records.check import Check

if TYPE_CHECKING:
    from onnxzip.graph import ModelLike, ModelProto, PlainModel
    from onnxzip.report.record import Inspection, Report
    from onnxzip.runtime.loadable import SessionOptions, UsersSession

_log = logging.getLogger(__name__)


def compress(
    source: ModelLike,
    output: AnyPath | None = None,
    *,
    progress: Callable[[str, float], None] | None = None,
    sign: AnyPath | None = None,
    key_password: str | bytes | None = None,
    seal: AnyPath | Sequence[AnyPath] = (),
    bom: AnyPath | None = None,
    **settings: Unpack[Settings],
) -> Result:
    """Compress a model within the loss allowed.

    Args:
        source: path, serialised model, ModelProto (which is not changed), or an object with one as
            `.model_proto`, such as the ONNXProgram of torch.onnx.export.
        output: where to write; None only returns the model.
        progress: called with what is going on, and the fraction of the work done, 0 ... 1.
        sign: PEM file of a private key (P-256, P-384, P-521): the signature of `output`, of `bom` and of
            the original's digest is written beside `output`, as `output`.sig; needs onnxzip[sign].
        key_password: that of the key, where it has one.
        seal: whom `output` is encrypted for, with age: public keys (age1..., ssh-ed25519, ssh-rsa),
            and files with one on each line; one or several; needs onnxzip[seal].
        bom: where to write a CycloneDX bill of materials, a .json file; needs onnxzip[bom].
        **settings: the fields of `onnxzip.Options`, which says more about each:
            calibration: data for one input as an array or tensor, for several as a dict of them; an
                iterable of batches (arrays, (x, y) as a torch DataLoader yields, dicts); an onnxruntime
                CalibrationDataReader; a .npz or .npy file or a folder of them.
            labels: class labels for the metric "top1"; by default the y of batches (x, y).
            metric: "nrmse", "rel_l2", "cosine", "psnr", "top1", "module:function", or a callable that
                takes the outputs of the original and of the compressed model, as dicts, and returns the
                loss.
            tolerance: largest loss allowed, in the metric's unit.
            best_effort: whether to return the model that loses least where none meets the tolerance.
            target_size: bytes the file may take, or a text such as "4MB"; instead of a tolerance.
            load_memory: bytes that decoding may add while a session is created, or a text: "60MB".
            max_memory: bytes that the run may hold, likewise; a run that holds more is ended.
            objective: "size" or "speed".
            threads, batch: threads and samples of the runs that "speed" times.
            freeze_inputs: whether initializers that are also graph inputs become constants.
            passes, skip, keep: names of passes to use, of passes to leave out, patterns of the names of
                weights to leave alone; one or several.
            pass_settings: settings of passes by name, {"dct": {"block": 8}}.
            level: 1 (fast) to 9 (smallest).
            keep_names: whether internal names stay.
            custom_ops, providers: a library of custom operators; execution providers to validate on.
            n_jobs, seed: processes; seed of generated inputs and of randomised passes.
            overwrite: whether `output` may exist.
            cache, cache_size: a folder where what is worked out is kept for later runs, and the bytes
                that it may take, or a text such as "5GB".
            cluster: address of a Dask scheduler whose workers do the work on weights, such as
                "tcp://host:8786"; needs onnxzip[cluster].

    Returns:
        `.model`, a ModelProto, and `.report`, the record that `read_report` reads; what is not proven,
        and `report.warnings`, are logged as warnings under "onnxzip", which Python prints by default;
        `result.report.write("report.html")` writes it as a page with plots, or as .md or .json.

    Raises:
        OnnxzipError: see `onnxzip.errors`; `output` is as it was.
    """
    options = _options(settings)
    if progress is not None and not callable(progress):
        raise UsageError(
            f"`progress` of type {type(progress).__name__} is not a callable; pass a function"
        )
    from onnxzip import pipeline
    from onnxzip.trust.papers import papers_of

    named = {"source": source, **({} if output is None else {"output": output})}
    asked = {"sign": sign, "seal": seal, "bom": bom}
    written = {**named, **{name: value for name, value in asked.items() if value}, **settings}
    with papers_of(read_delivery(sign, key_password, seal, bom), _path(output)) as papers:
        result = pipeline.compress(
            _model(source),
            _path(output),
            options=options,
            progress=progress,
            papers=papers,
            command=described_call("compress", written, len(named)),
        )
        papers.put_in_place()
    _warn(result.report)
    return result


def _warn(report: Report) -> None:
    """Log why a verdict may not hold."""
    from onnxzip.report.tables.verdicts import unproven_reasons

    for reason in unproven_reasons(report.checks):
        _log.warning("%s: not proven: %s", report.source, reason)
    for finding in report.warnings:
        _log.warning("%s: %s", report.source, finding.text)


def verify(
    source: ModelLike,
    against: ModelLike | None = None,
    *,
    report: AnyPath | None = None,
    public_key: AnyPath | None = None,
    identity: AnyPath | None = None,
    **settings: Unpack[VerifySettings],
) -> tuple[Check, ...]:
    """Test a compressed model: it loads, decodes and folds; with `against`, what it loses.

    Args:
        source: the compressed model, as `compress` takes it.
        against: the original.
        report: where to write a report on the test, a .html, .md or .json file.
        public_key: PEM file of the public key that the signature beside `source` has to fit.
        identity: what opens a sealed `source`, see `load`.
        **settings: calibration, custom_ops, seed; with `against` also labels, metric, tolerance,
            providers. See `compress`.

    Returns:
        The checks, passed or not.

    Raises:
        OnnxzipError: see `onnxzip.errors`; a setting that is not used is a UsageError.
    """
    options = _options(for_verify(settings))
    given = [name for name, value in settings.items() if value is not None]
    check_for_verify(given, has_original=against is not None)
    from onnxzip import listing
    from onnxzip.graph import plain_model
    from onnxzip.report.writing import report_path
    from onnxzip.trust.receiving import received

    original = None if against is None else _model(against)
    named = {"source": source, **({} if against is None else {"against": against})}
    told: list[Report] = []
    place = None if report is None else report_path(read_path("report", report))
    key = None if public_key is None else read_path("public_key", public_key)
    model, _ = received(plain_model(_model(source)), read_identity(identity), key)
    checks = listing.verify(
        model,
        original,
        options=options,
        tell=None if place is None else told.append,
        command=described_call("verify", {**named, **settings}, len(named)),
    )
    for found in told:
        found.write(place or "")
    return checks


def inspect(source: ModelLike, *, identity: AnyPath | None = None) -> Inspection:
    """Say what a model takes and gives, and how it stores each weight.

    Args:
        source: the model, as `compress` takes it.
        identity: what opens a sealed one, see `load`.
    """
    from onnxzip import listing

    return listing.inspect(_opened(source, identity))


def load(
    source: AnyPath,
    identity: AnyPath | None = None,
    *,
    public_key: AnyPath | None = None,
    sess_options: SessionOptions | None = None,
    providers: Sequence[str | tuple[str, Mapping[str, Any]]] | None = None,
) -> UsersSession:
    """Load a model that is sealed, or signed, into an onnxruntime session, in memory alone.

    Nothing is written to a disk, but for what onnxruntime's own telemetry keeps where that was imported
    before and is on (`onnxzip --guide serving`). The signature is checked on the bytes that are loaded.

    Args:
        source: the file.
        identity: the secret key that opens a sealed file: AGE-SECRET-KEY-1..., a file that age-keygen
            made, or a private key of ssh without a password; None for a file that is not sealed.
        public_key: PEM file of the public key that the signature beside the file has to fit; without it
            none is asked for.
        sess_options: options of onnxruntime.
        providers: execution providers, as onnxruntime.InferenceSession takes them.

    Returns:
        An onnxruntime.InferenceSession.

    Raises:
        TrustError: no key fits, or the file was changed or cut short.
        ModelError: it is no model, or one that takes several files.
    """
    from onnxzip.trust.receiving import load as load_received

    key = None if public_key is None else read_path("public_key", public_key)
    path = read_path("source", source)
    return load_received(path, read_identity(identity), key, sess_options, providers)


def decompress(
    source: ModelLike,
    output: AnyPath | None = None,
    *,
    overwrite: bool = False,
    identity: AnyPath | None = None,
) -> ModelProto | None:
    """Return (and write) the model with plain weights, bit for bit what the runtime decodes.

    A model that is too large for a ModelProto is only written: then None is returned. `identity` opens
    a sealed one, see `load`.
    """
    options = _options({"overwrite": overwrite})
    from onnxzip import graph, listing

    plain = listing.decompress(_opened(source, identity), _path(output), overwrite=options.overwrite)
    is_small = graph.inline_bytes(plain) <= graph.MAX_INLINE_BYTES
    return graph.to_proto(plain) if is_small else None


def read_report(source: AnyPath) -> Report:
    """Return the report that a JSON file, or the text of one, holds.

    Raises:
        InputError: it cannot be read, or is no report of this version.
    """
    from onnxzip.report.json import from_json

    if isinstance(source, str) and source.lstrip().startswith("{"):
        return from_json(source)
    path = read_path("source", source)
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}; check the path") from error
    try:
        return from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _model(source: ModelLike) -> ModelLike:
    """Return what a model is given as; of a path one that can be opened."""
    return read_path("source", source) if isinstance(source, str | PathLike) else source


def _opened(source: ModelLike, identity: AnyPath | None) -> PlainModel:
    """Return a model as the stages take it, opened where it is sealed."""
    from onnxzip.graph import plain_model
    from onnxzip.trust.receiving import opened

    return opened(plain_model(_model(source)), read_identity(identity))


def _path(output: AnyPath | None) -> Path | None:
    return None if output is None else read_path("output", output)


def _options(settings: Mapping[str, object]) -> Options:
    """Return checked options."""
    known = [field.name for field in fields(Options)]
    for name in settings:
        if name not in known:
            meant = did_you_mean(name, known, f"there are {', '.join(known)}")
            raise UsageError(f"there is no setting '{name}'; {meant}")
    given: dict[str, Any] = {**settings}  # of any type: Options says which it takes
    return Options(**given)
