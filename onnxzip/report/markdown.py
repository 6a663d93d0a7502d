"""A report as Markdown."""

from __future__ import annotations

from onnxzip.records.printable import printable
from onnxzip.report.record import Reported
from onnxzip.report.section import Section
from onnxzip.report.sections import sections, title_of
from onnxzip.report.tables.table import Table

SUFFIX = ".md"


def export(report: Reported) -> str:
    """Return the whole report as Markdown."""
    parts = [f"# {_inline(title_of(report))}"]
    for section in sections(report):
        parts += _parts(section)
    return "\n\n".join(parts) + "\n"


def _parts(section: Section) -> list[str]:
    """Return a section's parts; of plots and pictures what they say in words."""
    points = "\n".join(f"- {_inline(point)}" for point in section.points)
    parts = [f"## {section.title}", _inline(section.lead)]
    parts += [_inline(plot.summary) for plot in section.plots]
    parts += [_table(section.table), points, _code(section.code)]
    for block in section.blocks:
        plots = [_inline(plot.summary) for plot in block.plots]
        parts += [f"### {_inline(block.title)}", _inline(block.note), *plots, _table(block.table)]
    return [part for part in parts if part]


def _code(text: str) -> str:
    return "\n".join(["```", *map(printable, text.splitlines()), "```"]) if text else ""


def _table(content: Table) -> str:
    if not content.rows:
        return ""
    rules = [":--" if column in content.left else "--:" for column in content.columns]
    lines = [content.columns, rules, *content.rows]
    return "\n".join(
        "| " + " | ".join(_inline(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _inline(text: str) -> str:
    """Return a text that stays on its line, and in which names are no HTML."""
    return printable(" ".join(text.splitlines())).replace("<", "&lt;")
