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
from onnxzip.report.record import LayerReport, LayerSensitivity, Report

_PACKAGES = ("onnxzip", "onnx", "onnxruntime", "numpy")
"""Packages whose versions decide what a file looks like."""


def assemble(
    *,
    source: str,
    digests: tuple[str, str],
    n_bytes: tuple[int, int],
    plan: Plan,
    sizes: Mapping[str, int],
    n_small_bytes: int,
    rewrites: Sequence[Rewrite],
    skips: Sequence[Skip],
    checks: Sequence[Check],
    warnings: Sequence[Finding],
    seconds: float,
    settings: Mapping[str, Scalar],
    sensitivities: Sequence[LayerSensitivity] = (),
) -> Report:
    """Return the report.

    Args:
        source: what the model is called.
        digests: SHA-256 of the original and of the compressed file.
        n_bytes: sizes of both.
        plan: how weights are stored.
        sizes: bytes of the compressed file that are each layer's, by name.
        n_small_bytes: those of the small tensors.
        rewrites: structural changes.
        skips: refusals.
        checks: the proof.
        warnings: what is odd about what the proof rests on.
        seconds: wall time of it all.
        settings: what was asked for.
        sensitivities: what each weight's error does alone; none where that was not measured.
    """
    *plain, small_before = _plain_bytes(plan, n_bytes[0])
    after = [sizes[candidate.layer.name] for candidate in plan.chosen.values()]
    return Report(
        schema=SCHEMA,
        source=source,
        source_sha256=digests[0],
        output_sha256=digests[1],
        layers=tuple(map(_layer_report, plan.chosen.values(), plain, after)),
        rewrites=(*rewrites, *_rounding_rewrite(plan.rounding)),
        skips=tuple(skips),
        checks=tuple(checks),
        bytes_before=n_bytes[0],
        bytes_after=n_bytes[1],
        small_before=small_before,
        small_after=n_small_bytes,
        rest_before=n_bytes[0] - sum(plain) - small_before,
        rest_after=n_bytes[1] - sum(after) - n_small_bytes,
        seconds=seconds,
        warnings=tuple(warnings),
        sensitivities=tuple(sensitivities),
        settings=settings,
        versions={name: version(name) for name in _PACKAGES},
    )


def with_load_bytes(report: Report, of_layers: Mapping[str, int], n_bytes: int) -> Report:
    """Return a report with the bytes that decode nodes put out for each layer, by name, and in all."""
    layers = (replace(layer, load_bytes=of_layers[layer.name]) for layer in report.layers)
    return replace(report, layers=tuple(layers), load_bytes=n_bytes)


def _plain_bytes(plan: Plan, n_file_bytes: int) -> list[int]:
    """Return what each chosen weight takes of the original file, last what small tensors take."""
    n_small_bytes = sum(layer.weight.nbytes for layer in plan.rounding.layers)
    n_layer_bytes = (candidate.layer.weight.nbytes for candidate in plan.chosen.values())
    return apportion_at_most(n_file_bytes, [*n_layer_bytes, n_small_bytes])


def _layer_report(candidate: Candidate, bytes_before: int, bytes_after: int) -> LayerReport:
    layer = candidate.layer
    return LayerReport(
        name=layer.name,
        op_type=layer.op_type,
        shape=tuple(layer.weight.shape),
        dtype=layer.weight.dtype.name,
        pass_name=candidate.pass_name,
        form=candidate.form,
        settings=candidate.settings,
        bytes_before=bytes_before,
        bytes_after=bytes_after,
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
