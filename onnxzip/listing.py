"""Compressed files after the fact: list them, test them, turn them back into plain weights.

A file may come from anybody: it is decoded and run in another process (`prove.decoded_files`). What only
a comparison needs is loaded for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxzip import graph
from onnxzip.errors import ModelError, ProviderError, VerificationError
from onnxzip.graph import Model, ModelLike, check_output
from onnxzip.options import USED_BY_VERIFY, Options
from onnxzip.prove.decoded_files import Apart, decode_apart, try_apart
from onnxzip.records.check import Check
from onnxzip.records.shares import apportion, apportion_at_most
from onnxzip.report.assembly import assemble_test
from onnxzip.report.record import Inspection, Report, StoredWeight
from onnxzip.runtime.own_path import load_by_path
from onnxzip.trust.delivery import check_no_signature

if TYPE_CHECKING:
    from onnxzip.measure.subject import Subject


def inspect(source: ModelLike) -> Inspection:
    """Say what a model takes and gives, and how it stores each large weight; any model may be listed.

    Raises:
        ModelError: the model cannot be read.
    """
    return _inspection(_read(source))


def _inspection(model: Model) -> Inspection:
    n_nodes, values = graph.read_mark(model) if graph.is_marked(model) else (0, [])
    types = graph.decoded_types(model, n_nodes)
    # Of the size that the file says, which may be any, without the memory.
    zeros = {v.name: np.broadcast_to(np.zeros((), types[v.name]), v.shape) for v in values}
    plain = graph.with_plain_weights(model, n_nodes, zeros) if values else model
    n_plain_bytes = model.n_bytes - graph.inline_bytes(model) + graph.inline_bytes(plain)
    n_decoder_bytes = min(graph.decoder_bytes(model, n_nodes), model.n_bytes)
    sizes = apportion(n_decoder_bytes, [value.n_bytes for value in values])
    at_load = graph.load_bytes(model, n_nodes)
    stored = [
        StoredWeight(
            value.name,
            value.pass_name if value.form == "stored" else f"{value.pass_name} (computed)",
            value.shape,
            types[value.name].name,
            zeros[value.name].nbytes,
            size,
            value.error,
            at_load[value.name],
        )
        for value, size in zip(values, sizes, strict=True)
        if value.pass_name != graph.STEPS
    ]
    weights = [*stored, *_plain_weights(model, n_nodes, model.n_bytes - sum(sizes))]
    weights = _with_uses(model, n_nodes, weights)
    inputs, outputs = graph.read_ports(model)
    return Inspection(model.source, model.n_bytes, n_plain_bytes, tuple(weights), inputs, outputs)


def _with_uses(model: Model, n_nodes: int, weights: Sequence[StoredWeight]) -> list[StoredWeight]:
    """Return the weights with the nodes that use them, which tell more than shortened names."""
    uses = graph.uses_of(model, n_nodes, {weight.name for weight in weights})
    is_marked = graph.is_marked(model)
    return [
        replace(
            weight,
            used_by=uses.get(weight.name, ""),
            is_renamed=is_marked and graph.is_short_name(model, weight.name),
        )
        for weight in weights
    ]


def _plain_weights(model: Model, n_nodes: int, n_bytes: int) -> list[StoredWeight]:
    """Return the weights that are stored as they are.

    Together they take `n_bytes` at most: several may lie at the same place of an external file.
    """
    decoder = graph.decoder_inputs(model, n_nodes)
    found = {n: w for n, w in graph.large_constants(model).items() if n not in decoder}
    sizes = apportion_at_most(n_bytes, [n_own_bytes for _, _, n_own_bytes in found.values()])
    return [
        StoredWeight(name, "plain", shape, kind, n_own_bytes, size, 0.0)
        for (name, (kind, shape, n_own_bytes)), size in zip(found.items(), sizes, strict=True)
    ]


def decompress(
    source: ModelLike,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    approve: Callable[[], None] = lambda: None,
) -> Model:
    """Replace the decode nodes by the weights that onnxruntime makes of them.

    Few weights are in memory at once: those of the model that is returned lie in a temporary file.

    Args:
        source: the compressed model.
        output: where to write; None only returns the model.
        overwrite: whether `output` may exist.
        approve: called when the plain model is complete but not in place yet; when it raises, nothing
            is written.

    Returns:
        The plain model.

    Raises:
        ModelError: the file was not written by onnxzip, or is damaged.
        OutputError: `output` cannot be written.
    """
    model = _read(source)
    place = None
    if output is not None:
        check_no_signature(Path(output))
        place = check_output(Path(output), overwrite, model)
    n_nodes, _ = graph.read_mark(model)
    if not graph.is_intact(model):
        raise ModelError(f"{model.source}: is damaged, its checksum does not fit; fetch it again")
    plain = graph.with_plain_weights(model, n_nodes, decode_apart(model, n_nodes))
    if place is not None:
        _write(plain, place, model, overwrite, approve)
    return plain


def _write(plain: Model, place: Path, read: Model, overwrite: bool, approve: Callable[[], None]) -> None:
    """Write a model that loads by its path, as far as its operators are known here."""

    def check(path: Path) -> None:
        try:
            load_by_path(path, str(place), packs=False)  # which would take the largest weights twice
        except ProviderError:
            return  # the library of its operators is not asked for, nor needed
        except VerificationError as error:  # its decoder is sound, so that the rest of its graph is not
            finding = str(error).removeprefix(f"{place}: ").partition("; ")[0]
            raise ModelError(
                f"{read.source}: was changed after it was compressed: {finding}; "
                "get the file from where it was made"
            ) from error

    graph.write_model(
        plain, place, lambda *_: approve(), overwrite=overwrite, check=check, kept=read.files
    )


def verify(
    source: ModelLike | Model,
    against: ModelLike | None = None,
    *,
    options: Options | None = None,
    tell: Callable[[Report], None] | None = None,
    command: str = "",
) -> tuple[Check, ...]:
    """Test a compressed model, and compare it with the original when that is given.

    Without the original: every weight decodes to finite numbers, nothing of the decoder is left
    after BASIC optimisation, and the model runs.

    Args:
        source: the compressed model, which may have been read already.
        against: the original.
        options: what to compare on, and how.
        tell: called with the report on the test, which takes a little longer to make.
        command: what repeats it, for the report.

    Raises:
        ModelError: the file was not written by onnxzip (and there is nothing to compare it with), or
            does not load.
    """
    started = time.perf_counter()
    options, model = options or Options(), source if isinstance(source, Model) else _read(source)
    original = None if against is None else _read(against)
    checks, compared = _tested(model, original, options)
    if tell is not None:
        tell(_test_report(model, original, compared, checks, options, command, started))
    return checks


def _tested(
    model: Model, original: Model | None, options: Options
) -> tuple[tuple[Check, ...], tuple[Subject, Apart] | None]:
    """Return the checks; what models were compared on and what ran the file, None without that."""
    checks: list[Check] = []
    if graph.is_marked(model) or original is None:
        checks += _check_decoder(model, options, runs=original is None)
    if any(check.metric == "damage" and check.failed for check in checks):
        return tuple(checks), None
    from onnxzip.prove.origin import doubted, doubts_since, held_to_a_constant, note_on_original

    made_from = graph.read_origin(model) if graph.is_marked(model) else graph.UNKNOWN_ORIGIN
    if original is None:
        return doubted(checks, made_from.unproven), None
    from onnxzip.measure.examination import examine
    from onnxzip.prove.drift import measure_drift

    notes = []
    if graph.is_marked(model):
        has_tolerance = options.tolerance is not None
        notes = [note_on_original(model, original, made_from, has_tolerance=has_tolerance)]
    options, advice = _as_written(model, options) if graph.is_marked(model) else (options, "")
    began = time.process_time()
    subject, _ = examine(original, options, fits=False, is_limited=not advice)
    apart = Apart(model, subject, time.process_time() - began)
    drifts = measure_drift(model, original, subject, doubts_since(made_from, subject), apart.answer)
    if made_from.checksum is None:
        drifts = [held_to_a_constant(check) for check in drifts]
    told = ((check, "; ".join(filter(None, (check.note, advice, *notes)))) for check in drifts)
    return (*checks, *(replace(check, note=note) for check, note in told)), (subject, apart)


def _test_report(
    model: Model,
    original: Model | None,
    compared: tuple[Subject, Apart] | None,
    checks: Sequence[Check],
    options: Options,
    command: str,
    started: float,
) -> Report:
    """Return the report on a test."""
    from onnxzip.prove.demonstration import Demonstration, demonstrate

    listed, shown = _inspection(model), Demonstration()
    if original is not None and compared is not None:
        shown = demonstrate(original, model, compared[0], checks, compared[1])
        if not graph.is_marked(model):
            listed = replace(listed, weights=(), bytes_before=original.n_bytes)
    settings = {name: value for name, value in options.described().items() if name in USED_BY_VERIFY}
    report = assemble_test(
        listed,
        digests=("" if original is None else original.digest, model.digest),
        checks=checks,
        warnings=() if compared is None else compared[0].findings,
        settings=settings,
        seconds=time.perf_counter() - started,
    )
    return shown.added_to(report, command)


def _as_written(model: Model, options: Options) -> tuple[Options, str]:
    """Take metric and limit from the mark where the user names none; return what to tell him as well."""
    from onnxzip.measure.metrics import metrics

    judged = graph.read_judgement(model)
    is_named = options.metric not in (Options().metric, judged.metric if judged else "")
    if judged is None or options.tolerance is not None or is_named:
        return options, ""
    if judged.on_data and options.calibration is None:
        return options, "the file was fitted to real inputs: pass some to have it judged"
    # A mark is no more to be trusted than its file: it must not name a function to import.
    known = metrics().get(judged.metric)
    if known is None or judged.limit is None:
        return options, ""
    if known.takes_labels and options.labels is None:
        return options, f"the file was judged by {judged.metric}: pass labels to have it judged again"
    return replace(options, metric=judged.metric, tolerance=judged.limit), ""


def _check_decoder(model: Model, options: Options, *, runs: bool) -> list[Check]:
    """Check the payload, then what it decodes to, and that the model `runs` where this is asked for."""
    n_nodes, _ = graph.read_mark(model)
    is_intact = graph.is_intact(model)
    note = "checksum of the payload"
    damage = Check("exact", "CPU", "damage", int(not is_intact), 0, is_intact, 0, None, note)
    if not is_intact:
        return [damage]
    found = try_apart(model, n_nodes, options, runs=runs)
    n_bad, n_different = found.n_not_finite, found.n_different
    note = f"{found.n_decoded} values decoded"
    return [
        damage,
        Check("exact", "CPU", "non-finite weights", n_bad, 0, n_bad == 0, 0, None, note),
        Check("structure", "CPU", "nodes", n_different, 0, n_different == 0, 0, None, "after BASIC"),
    ]


def _read(source: ModelLike) -> Model:
    return graph.read_model(source)
