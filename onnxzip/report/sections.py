"""What a written report says, section by section, before it is given a format."""

from __future__ import annotations

from onnxzip.report.numbers import format_ratio
from onnxzip.report.record import Report
from onnxzip.report.section import Section
from onnxzip.report.tables.losses import (
    family_table,
    loss_table,
    opinion_lines,
    output_table,
    sensitivity_table,
)
from onnxzip.report.tables.table import NO_TABLE
from onnxzip.report.tables.verdicts import (
    check_table,
    notes,
    summary_table,
    unproven_reasons,
    verdict_table,
)
from onnxzip.report.tables.weights import layer_table, rewrite_table, skip_table


def title_of(report: Report) -> str:
    """Return e.g. "resnet20.onnx: 7.19x smaller"."""
    return f"{report.source}: {format_ratio(report.bytes_before, report.bytes_after)} smaller"


def sections(report: Report) -> list[Section]:
    """Return the sections that have something to say, what a reader must not miss first."""
    checks = report.checks
    hashes = {"input SHA-256": report.source_sha256, "output SHA-256": report.output_sha256}
    made_with = {**report.settings, **report.versions, **hashes}
    every = (
        Section("Warnings and evidence", NO_TABLE, _doubts(report), has_doubts=True),
        Section("Summary", summary_table(report), is_tiles=True),
        Section(
            "Verdict", verdict_table(checks), (*opinion_lines(checks), *notes(checks, verbose=True))
        ),
        Section("Loss", loss_table(checks)),
        Section("Loss by output", output_table(checks)),
        Section("Loss by kind of inputs", family_table(checks)),
        Section("Checks", check_table(checks)),
        Section("Weights", layer_table(report)),
        Section("Sensitivities", sensitivity_table(report.sensitivities)),
        Section("Rewrites", rewrite_table(report.rewrites)),
        Section("Refusals", skip_table(report.skips)),
        Section("Made with", NO_TABLE, tuple(f"{name}: {value}" for name, value in made_with.items())),
    )
    return [section for section in every if not section.is_empty]


def _doubts(report: Report) -> tuple[str, ...]:
    """Return why the verdict may not hold: what is not proven, then what is odd about the inputs."""
    unproven = (f"not proven: {reason}" for reason in unproven_reasons(report.checks))
    return (*unproven, *(f"warning: {finding.text}" for finding in report.warnings))
