"""A report as Markdown."""

from __future__ import annotations

from onnxzip.report.record import Report
from onnxzip.report.sections import Section, sections, title_of
from onnxzip.report.table import Table

SUFFIX = ".md"


def export(report: Report) -> str:
    """Return the whole report as Markdown."""
    parts = [f"# {title_of(report)}"]
    for section in sections(report):
        parts += _parts(section)
    return "\n\n".join(parts) + "\n"


def _parts(section: Section) -> list[str]:
    points = "\n".join(f"- {point}" for point in section.points)
    title = f"## {section.title}" if section.title else ""
    return [part for part in (title, _table(section.table), points) if part]


def _table(content: Table) -> str:
    if not content.rows:
        return ""
    rules = [":--" if column in content.left else "--:" for column in content.columns]
    lines = [content.columns, rules, *content.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
