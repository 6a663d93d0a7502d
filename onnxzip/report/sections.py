"""What a written report says, section by section, before it is given a format."""

from __future__ import annotations

from dataclasses import dataclass

from onnxzip.report.numbers import format_ratio
from onnxzip.report.record import Report
from onnxzip.report.table import Table
from onnxzip.report.verdict_tables import check_table, notes, summary_table, verdict_table
from onnxzip.report.weight_tables import layer_table, rewrite_table, skip_table


@dataclass(frozen=True)
class Section:
    """A table and, below it, a list; the first section of a report has no title of its own."""

    title: str
    table: Table
    points: tuple[str, ...] = ()


_NO_TABLE = Table((), (), frozenset())


def title_of(report: Report) -> str:
    """Return e.g. "resnet20.onnx: 7.19x smaller"."""
    return f"{report.source}: {format_ratio(report.bytes_before, report.bytes_after)} smaller"


def sections(report: Report) -> list[Section]:
    """Return the sections that have something to say."""
    hashes = {"input SHA-256": report.source_sha256, "output SHA-256": report.output_sha256}
    made_with = {**report.settings, **report.versions, **hashes}
    every = (
        Section("", summary_table(report)),
        Section("Warnings", _NO_TABLE, tuple(finding.text for finding in report.warnings)),
        Section("Verdict", verdict_table(report.checks), tuple(notes(report.checks, verbose=True))),
        Section("Checks", check_table(report.checks)),
        Section("Weights", layer_table(report)),
        Section("Rewrites", rewrite_table(report.rewrites)),
        Section("Refusals", skip_table(report.skips)),
        Section("Made with", _NO_TABLE, tuple(f"{name}: {value}" for name, value in made_with.items())),
    )
    return [section for section in every if section.table.rows or section.points]
