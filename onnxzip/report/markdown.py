"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from onnxzip.records.aliases import Scalar
from onnxzip.report.numbers import format_ratio
from onnxzip.report.record import Report
from onnxzip.report.table import Table
from onnxzip.report.verdict_tables import check_table, notes, summary_table, verdict_table
from onnxzip.report.weight_tables import layer_table, rewrite_table, skip_table


def to_markdown(report: Report) -> str:
    """Return the whole report as Markdown."""
    ratio = format_ratio(report.bytes_before, report.bytes_after)
    hashes = {"input SHA-256": report.source_sha256, "output SHA-256": report.output_sha256}
    sections = (
        (f"# {report.source}: {ratio} smaller", _markdown_table(summary_table(report))),
        ("## Verdict", _markdown_table(verdict_table(report.checks))),
        ("", "\n".join(f"- {note}" for note in notes(report.checks, verbose=True))),
        ("## Checks", _markdown_table(check_table(report.checks))),
        ("## Weights", _markdown_table(layer_table(report.layers))),
        ("## Rewrites", _markdown_table(rewrite_table(report.rewrites))),
        ("## Refusals", _markdown_table(skip_table(report.skips))),
        ("## Made with", _markdown_list({**report.settings, **report.versions, **hashes})),
    )
    shown = [part for title, body in sections if body for part in (title, body) if part]
    return "\n\n".join(shown) + "\n"


def _markdown_table(content: Table) -> str:
    if not content.rows:
        return ""
    rules = [":--" if column in content.left else "--:" for column in content.columns]
    lines = [content.columns, rules, *content.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _markdown_list(values: Mapping[str, Scalar]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())
