"""Assembles the report of a compressed model from the records of the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

from onnxzip.records.aliases import Scalar
from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Candidate, Plan, Rewrite, Rounding, Skip
from onnxzip.records.shares import apportion_at_most
from onnxzip.report.json import SCHEMA
from onnxzip.report.record import (
    Inspection,
    LayerReport,
    LayerSensitivity,
    Report,
    StoredWeight,
    TrialReport,
)
from onnxzip.report.tables.verdicts import worst_of

_PACKAGES = ("onnxzip", "onnx", "onnxruntime", "numpy")
"""Packages whose versions decide what a file looks like."""


def assemble(
    *,
    source: str,
    digests: tuple[str, str],
    n_bytes: tuple[int, int],
    plan: Plan,
    sizes: Mapping[str, int],
    n_small_bytes: tuple[int, int],
    rewrites: Sequence[Rewrite],
    skips: Sequence[Skip],
    checks: Sequence[Check],
    warnings: Sequence[Finding],
    seconds: float,
    settings: Mapping[str, Scalar],
    sensitivities: Sequence[LayerSensitivity] = (),
    trials: Sequence[TrialReport] = (),
) -> Report:
    """Return the report.

    Args:
        source: what the model is called.
        digests: SHA-256 of the original and of the compressed file.
        n_bytes: sizes of both.
        plan: how weights are stored.
        sizes: bytes of the compressed file that are each layer's, by name.
        n_small_bytes: what small tensors take in both files.
        rewrites: structural changes.
        skips: refusals.
        checks: the proof.
        warnings: what is odd about what the proof rests on.
        seconds: wall time of it all.
        settings: what was asked for.
        sensitivities: what each weight's error does alone; none where that was not measured.
        trials: what the search tried; the file itself is added as the last one.
    """
    *plain, small_before = _plain_bytes(plan, n_small_bytes[0], n_bytes[0])
    after = [sizes[candidate.layer.name] for candidate in plan.chosen.values()]
    return Report(
        SCHEMA,
        source,
        *digests,
        layers=tuple(map(_layer_report, plan.chosen.values(), plain, after)),
        rewrites=(*rewrites, *_rounding_rewrite(plan.rounding)),
        skips=tuple(skips),
        checks=tuple(checks),
        bytes_before=n_bytes[0],
        bytes_after=n_bytes[1],
        small_before=small_before,
        small_after=n_small_bytes[1],
        rest_before=n_bytes[0] - sum(plain) - small_before,
        rest_after=n_bytes[1] - sum(after) - n_small_bytes[1],
        seconds=seconds,
        warnings=tuple(warnings),
        sensitivities=tuple(sensitivities),
        settings=settings,
        versions=versions(),
        trials=(*trials, *_proved_trial(checks, n_bytes[1])),
    )


def assemble_test(
    listed: Inspection,
    *,
    digests: tuple[str, str],
    checks: Sequence[Check],
    warnings: Sequence[Finding],
    settings: Mapping[str, Scalar],
    seconds: float,
) -> Report:
    """Return the report on a test of a file; see `assemble`.

    Args:
        listed: what the file holds, and what it takes with plain weights.
        digests: SHA-256 of the original, "" where it was not there, and of the file.
        checks: what was tested.
        warnings: what is odd about what was fed.
        settings: what was asked for.
        seconds: wall time of it all.
    """
    packed = [weight for weight in listed.weights if weight.pass_name != "plain"]
    small = [weight for weight in packed if weight.pass_name == "rounding"]
    layers = [weight for weight in packed if weight.pass_name != "rounding"]
    before, after = (sum(w.bytes_before for w in packed), sum(w.n_bytes for w in packed))
    return Report(
        schema=SCHEMA,
        source=listed.source,
        source_sha256=digests[0],
        output_sha256=digests[1],
        layers=tuple(map(_listed_layer, layers)),
        rewrites=(),
        skips=(),
        checks=tuple(checks),
        bytes_before=listed.bytes_before,
        bytes_after=listed.n_bytes,
        small_before=sum(weight.bytes_before for weight in small),
        small_after=sum(weight.n_bytes for weight in small),
        rest_before=listed.bytes_before - before,
        rest_after=listed.n_bytes - after,
        seconds=seconds,
        warnings=tuple(warnings),
        settings=settings,
        versions=versions(),
        load_bytes=listed.load_bytes if packed else None,
        task="test",
    )


def _listed_layer(weight: StoredWeight) -> LayerReport:
    name, _, form = weight.pass_name.partition(" ")
    return LayerReport(
        name=weight.name,
        op_type="",
        shape=weight.shape,
        dtype=weight.dtype,
        pass_name=name,
        form="computed" if form else "stored",
        settings={},
        bytes_before=weight.bytes_before,
        bytes_after=weight.n_bytes,
        error=weight.error,
        load_bytes=weight.load_bytes,
    )


def versions() -> dict[str, str]:
    """Return the versions of what decides what a file looks like."""
    return {name: version(name) for name in _PACKAGES}


def with_load_bytes(report: Report, of_layers: Mapping[str, int], n_bytes: int) -> Report:
    """Return a report with the bytes that decode nodes put out for each layer, by name, and in all."""
    layers = (replace(layer, load_bytes=of_layers[layer.name]) for layer in report.layers)
    return replace(report, layers=tuple(layers), load_bytes=n_bytes)


def _proved_trial(checks: Sequence[Check], n_bytes: int) -> tuple[TrialReport, ...]:
    """Return the file that was made as the last trial; none where no loss was measured."""
    worst = worst_of([check for check in checks if check.kind == "drift"])
    if worst is None:
        return ()
    return (TrialReport("proved", n_bytes, worst.value, not worst.failed, is_chosen=True),)


def _plain_bytes(plan: Plan, n_small_bytes: int, n_file_bytes: int) -> list[int]:
    """Return what each chosen weight takes of the original file, last what small tensors take."""
    n_layer_bytes = (candidate.layer.n_bytes for candidate in plan.chosen.values())
    return apportion_at_most(n_file_bytes, [*n_layer_bytes, n_small_bytes])


def _layer_report(candidate: Candidate, bytes_before: int, bytes_after: int) -> LayerReport:
    layer = candidate.layer
    return LayerReport(
        name=layer.name,
        op_type=layer.op_type,
        shape=tuple(layer.weight.shape),
        dtype=layer.weight.dtype.name,
        pass_name=candidate.pass_name,
        form="stored",
        settings=candidate.settings,
        bytes_before=bytes_before,
        bytes_after=bytes_after,
        error=candidate.error,
    )


def _rounding_rewrite(rounding: Rounding) -> tuple[Rewrite, ...]:
    """Say what was rounded; nothing where nothing was."""
    if not rounding.layers:
        return ()
    n_numbers = sum(layer.weight.size for layer in rounding.layers)
    moved = f"alone it moves the outputs by {rounding.error:.2g}"
    text = f"{n_numbers} numbers in {rounding.n_bits} bits; {moved}"
    return (Rewrite("rounding", f"{len(rounding.layers)} small tensors", text),)
