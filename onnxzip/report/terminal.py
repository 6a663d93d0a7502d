"""Records of results as the terminal shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich import box, table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

from onnxzip.records.check import Check
from onnxzip.records.printable import printable
from onnxzip.report.comparison.record import Comparison
from onnxzip.report.comparison.table import comparison_table, explanations, remarks, setting_table
from onnxzip.report.record import Inspection, Report
from onnxzip.report.tables.losses import loss_lines, opinion_lines, sensitivity_table
from onnxzip.report.tables.ports import data_hint, port_table
from onnxzip.report.tables.table import Table
from onnxzip.report.tables.verdicts import check_table, notes, summary_table, tone_of, verdict_table
from onnxzip.report.tables.weights import layer_table, methods, rewrite_table, skip_table, weight_table

_STYLES = {"passed": "green", "doubtful": "yellow", "failed": "bold red"}

_GAP = 2
"""Columns between the columns of a table."""

_LEAST_FOLDED = 10
"""Characters that a folded cell has at least on a line: less reads badly."""


def render_report(report: Report, verbose: bool = False) -> RenderableType:
    """Return what the terminal shows of a report; `verbose` adds weights, rewrites, skips, checks."""
    details = (
        ("Weights", layer_table(report)),
        ("Sensitivities", sensitivity_table(report.sensitivities, is_brief=True)),
        ("Rewrites", rewrite_table(report.rewrites)),
        ("Refusals", skip_table(report.skips)),
        ("Checks", check_table(report.checks, is_brief=True)),
    )
    parts: list[RenderableType] = []
    for title, content in details if verbose else ():
        if content.rows:
            parts += [Text(title, "bold"), _Fitted(content), ""]
    parts += [_Fitted(summary_table(report)), "", render_checks(report.checks, verbose), ""]
    return Group(*parts, Text(f"weights compressed: {methods(report)}"))


def render_checks(checks: Sequence[Check], verbose: bool = False) -> RenderableType:
    """Return the verdict per provider, what the loss consists of, the notes a reader must know."""
    lines = (*loss_lines(checks), *opinion_lines(checks), *notes(checks, verbose))
    return Group(_Fitted(verdict_table(checks)), *map(Text, map(printable, lines)))


def render_inspection(inspection: Inspection) -> RenderableType:
    """Return the listing of a file: what goes in, what comes out, how its weights are stored."""
    parts: list[RenderableType] = []
    for content in (port_table(inspection.inputs, "input"), port_table(inspection.outputs, "output")):
        if content.rows:
            parts += [_Fitted(content), ""]
    parts.append(_Fitted(weight_table(inspection)))
    hint = data_hint(inspection.inputs)
    parts += ["", Text(hint)] if hint else []
    return Group(*parts)


def render_comparison(comparison: Comparison, verbose: bool = False) -> RenderableType:
    """Return a comparison with other tools; `verbose` adds the settings that they were called with."""
    parts: list[RenderableType] = [_Fitted(comparison_table(comparison)), ""]
    if verbose:
        parts += [_Fitted(setting_table(comparison)), ""]
    lines = (*remarks(comparison), *explanations(comparison))
    return Group(*parts, *map(Text, map(printable, lines)))


@dataclass(frozen=True)
class _Fitted:
    """A table as wide as the terminal allows, of which no character is lost where that is too narrow."""

    content: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        """Yield the table; without the column that may move, that one below it; or a line a row."""
        content, moved = self.content, []
        if content.moves and _least_width(content) > options.max_width:
            moved = [(row[0], row[-1]) for row in content.rows]
            shown = tuple(row[:-1] for row in content.rows)
            content = replace(content, columns=content.columns[:-1], rows=shown)
        if _least_width(content) <= options.max_width:
            yield _to_rich(content)
        else:
            for row in content.rows:
                cells = zip(content.columns, row, strict=True)
                yield Text(", ".join(f"{column} {cell}" for column, cell in cells if cell))
        for name, cell in moved:
            yield Text.assemble(f"{name}: ", (cell, _style(cell)))


def _least_width(content: Table) -> int:
    """Return the columns of the terminal that a table needs if one of its own folds."""
    widths = [
        max(cell_len(line[i]) for line in (content.columns, *content.rows))
        for i in range(len(content.columns))
    ]
    folded = (
        min(width, _LEAST_FOLDED) if column == content.folds else width
        for column, width in zip(content.columns, widths, strict=True)
    )
    return sum(folded) + _GAP * (len(widths) - 1)


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
        cells = zip(content.columns, row, strict=True)
        rich_table.add_row(*(Text(cell, _style(cell) if c == "verdict" else "") for c, cell in cells))
    return rich_table


def _style(verdict: str) -> str:
    tone = tone_of(verdict)
    return _STYLES[tone] if tone else ""
