"""Records of results as the terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box, table
from rich.console import Group, RenderableType
from rich.text import Text

from onnxzip.records.check import Check
from onnxzip.report.record import Inspection, Report
from onnxzip.report.table import Table
from onnxzip.report.verdict_tables import check_table, notes, summary_table, verdict_table
from onnxzip.report.weight_tables import layer_table, methods, rewrite_table, skip_table, weight_table


def render_report(report: Report, verbose: bool = False) -> RenderableType:
    """Return what the terminal shows of a report; `verbose` adds weights, rewrites, skips, checks."""
    details = (
        ("Weights", layer_table(report)),
        ("Rewrites", rewrite_table(report.rewrites)),
        ("Refusals", skip_table(report.skips)),
        ("Checks", check_table(report.checks)),
    )
    parts: list[RenderableType] = []
    for title, content in details if verbose else ():
        if content.rows:
            parts += [Text(title, "bold"), _to_rich(content), ""]
    parts += [_to_rich(summary_table(report)), "", render_checks(report.checks, verbose), ""]
    return Group(*parts, Text(f"weights compressed: {methods(report)}"))


def render_checks(checks: Sequence[Check], verbose: bool = False) -> RenderableType:
    """Return the verdict per provider, and the notes a reader must know."""
    known = [Text(note) for note in notes(checks, verbose)]
    return Group(_to_rich(verdict_table(checks)), *known)


def render_inspection(inspection: Inspection) -> RenderableType:
    """Return the listing of a file."""
    return _to_rich(weight_table(inspection))


def _to_rich(content: Table) -> table.Table:
    rich_table = table.Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in content.columns:
        rich_table.add_column(
            column,
            justify="left" if column in content.left else "right",
            no_wrap=column != content.folds,
            overflow="fold",
        )
    for row in content.rows:
        rich_table.add_row(*(Text(cell, _style(cell)) for cell in row))
    return rich_table


def _style(cell: str) -> str:
    return {"passed": "green", "FAILED": "bold red"}.get(cell.partition(":")[0], "")
