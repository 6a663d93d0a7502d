"""A report as one HTML page that needs nothing else, and as a fragment that a notebook shows.

No scripts and no network. Tables scroll sideways where a screen is narrow, and are regions that a
keyboard reaches; colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

from html import escape
from string import Template

from onnxzip.report.record import Inspection, Report
from onnxzip.report.sections import Section, sections, title_of
from onnxzip.report.tables.ports import port_table
from onnxzip.report.tables.table import Table
from onnxzip.report.tables.verdicts import tone_of
from onnxzip.report.tables.weights import weight_table

SUFFIX = ".html"

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --ink: #1c1c1c; --paper: #fff; --line: #c4c4c4; --good: #106b2d;
    --doubt: #7a5200; --bad: #a8071a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #161616; --line: #4d4d4d; --good: #6fd68b;
    --doubt: #e8c15a; --bad: #ff8f8f; }
}
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1, li, tbody th { overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.75rem 0.25rem 0; }
tbody th { font-weight: normal; min-width: 10rem; }
.text { text-align: left; }
.number { text-align: right; white-space: nowrap; }
.passed { color: var(--good); }
.doubtful { color: var(--doubt); font-weight: bold; }
.failed { color: var(--bad); font-weight: bold; }
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def export(report: Report) -> str:
    """Return the whole report as a page."""
    return _PAGE.substitute(title=escape(title_of(report)), body=_body(report, 1))


def report_fragment(report: Report) -> str:
    """Return the report without a page around it, in the style of the page that shows it."""
    return f"<div>\n{_body(report, 3)}\n</div>"


def inspection_fragment(inspection: Inspection) -> str:
    """Return the listing of a file, without a page around it."""
    source = inspection.source
    tables = {
        f"{source}: inputs": port_table(inspection.inputs, "input"),
        f"{source}: outputs": port_table(inspection.outputs, "output"),
        f"{source}: weights": weight_table(inspection),
    }
    shown = (_table(content, label) for label, content in tables.items() if content.rows)
    return "\n".join(["<div>", *shown, "</div>"])


def _body(report: Report, level: int) -> str:
    """Return title and sections, the title a heading of the given level."""
    parts = [f"<h{level}>{escape(title_of(report))}</h{level}>"]
    for section in sections(report):
        parts += _parts(section, level + 1)
    return "\n".join(parts)


def _parts(section: Section, level: int) -> list[str]:
    parts = [f"<h{level}>{escape(section.title)}</h{level}>"]
    if section.table.rows:
        parts.append(_table(section.table, section.title))
    if section.points:
        parts += ["<ul>", *(f"<li>{escape(point)}</li>" for point in section.points), "</ul>"]
    return parts


def _table(content: Table, label: str) -> str:
    kinds = ["text" if column in content.left else "number" for column in content.columns]
    heads = [
        f'<th scope="col" class="{kind}">{escape(column)}</th>'
        for column, kind in zip(content.columns, kinds, strict=True)
    ]
    rows = ["".join(_cells(row, content.columns, kinds)) for row in content.rows]
    lines = [
        f'<div class="table" role="region" aria-label="{escape(label)}" tabindex="0">',
        "<table>",
        f"<thead><tr>{''.join(heads)}</tr></thead>",
        "<tbody>",
        *(f"<tr>{row}</tr>" for row in rows),
        "</tbody>",
        "</table>",
        "</div>",
    ]
    return "\n".join(lines)


def _cells(row: tuple[str, ...], columns: tuple[str, ...], kinds: list[str]) -> list[str]:
    """Return the cells of a row; the first one is its heading."""
    cells = []
    for i, (cell, column, kind) in enumerate(zip(row, columns, kinds, strict=True)):
        tag, scope = ("th", ' scope="row"') if i == 0 else ("td", "")
        tone = tone_of(cell) if column == "verdict" else None
        names = f"{kind} {tone}" if tone else kind
        cells.append(f'<{tag}{scope} class="{names}">{escape(cell)}</{tag}>')
    return cells
