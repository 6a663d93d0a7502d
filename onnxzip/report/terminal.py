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
from onnxzip.report.tables.folding import folded_in_the_middle
from onnxzip.report.tables.latency import latency_table, speed_line
from onnxzip.report.tables.losses import loss_lines, opinion_lines, sensitivity_table
from onnxzip.report.tables.ports import data_hint, port_table
from onnxzip.report.tables.recalled import recalled_table
from onnxzip.report.tables.table import NO_TABLE, Table
from onnxzip.report.tables.verdicts import check_table, notes, summary_table, tone_of, verdict_table
from onnxzip.report.tables.weights import layer_table, methods, rewrite_table, skip_table, weight_table

_STYLES = {"passed": "green", "doubtful": "yellow", "failed": "bold red"}

_GAP = 2
"""Columns between the columns of a table."""

_LEAST_FOLDED = 10
"""Characters that a folded cell has at least on a line: less reads badly."""

_LEAST_NAME = 18
"""Likewise in a table that has columns to spare."""

_MOST_LINES = 3
"""That a name in such a table takes: longer ones are shortened in the middle."""


def render_report(report: Report, verbose: bool = False) -> RenderableType:
    """Return what the terminal shows of a report; `verbose` adds weights, rewrites, skips, checks."""
    latency = NO_TABLE if report.speed is None else latency_table(report.speed)
    details = (
        ("Latency", latency),
        ("Weights", layer_table(report)),
        ("Sensitivities", sensitivity_table(report.sensitivities, is_brief=True)),
        ("Rewrites", rewrite_table(report.rewrites)),
        ("Refusals", skip_table(report.skips)),
        ("Checks", check_table(report.checks, is_brief=True)),
        ("From the cache", recalled_table(report.recalled)),
    )
    parts: list[RenderableType] = []
    for title, content in details if verbose else ():
        if content.rows:
            parts += [Text(title, "bold"), _Fitted(content), ""]
    parts += [_Fitted(summary_table(report)), "", render_checks(report.checks, verbose), ""]
    speed = [] if report.speed is None else [Text(speed_line(report.speed))]
    return Group(*parts, *speed, Text(f"weights compressed: {methods(report)}"))


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
        content, left_out = _narrowed(content, options.max_width)
        if _least_width(content) <= options.max_width:
            yield _to_rich(content, options.max_width)
            if left_out:
                yield Text(
                    f"no room for: {', '.join(left_out)}; a wider terminal or a pipe has them", "dim"
                )
        else:
            for row in content.rows:
                cells = zip(content.columns, row, strict=True)
                yield Text(", ".join(f"{column} {cell}" for column, cell in cells if cell))
        for name, cell in moved:
            yield Text.assemble(f"{name}: ", (cell, _style(cell)))


def _narrowed(content: Table, width: int) -> tuple[Table, list[str]]:
    """Return a table without as many of its spare columns as it takes to fit, and what these are.

    Their last row is told, which sums up the others. The whole table, where even that does not help.
    """
    narrow, left_out = content, []
    for column in content.spare:
        if _least_width(narrow, _LEAST_NAME) <= width:
            break
        if column in narrow.columns:
            whole = narrow.rows[-1][narrow.columns.index(column)]
            narrow = narrow.without(column)
            left_out.append(f"{column} (in all {whole})" if whole else column)
    fits = _least_width(narrow) <= width
    return (narrow, left_out) if fits else (content, [])


def _least_width(content: Table, least: int = _LEAST_FOLDED) -> int:
    """Return the columns of the terminal that a table needs if one of its own folds, but to `least`."""
    widths = [
        max(cell_len(line[i]) for line in (content.columns, *content.rows))
        for i in range(len(content.columns))
    ]
    folded = (
        min(width, least) if column == content.folds else width
        for column, width in zip(content.columns, widths, strict=True)
    )
    return sum(folded) + _GAP * (len(widths) - 1)


def _to_rich(content: Table, max_width: int) -> table.Table:
    if content.spare:
        content = _with_shorter_names(content, max_width)
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


def _with_shorter_names(content: Table, max_width: int) -> Table:
    """Return a table whose names fold over few lines."""
    place = content.columns.index(content.folds)
    room = max_width - _least_width(content, 0)
    rows = (
        (*row[:place], folded_in_the_middle(row[place], _MOST_LINES * room), *row[place + 1 :])
        for row in content.rows
    )
    return replace(content, rows=tuple(rows))


def _style(verdict: str) -> str:
    tone = tone_of(verdict)
    return _STYLES[tone] if tone else ""
