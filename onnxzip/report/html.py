"""A report as one HTML page that needs nothing else, and as a fragment that a notebook shows.

No scripts and no network. jinja2 fills the templates of page/ and escapes every text, for names come
from files; pygal draws the plots. Tables and code scroll sideways where a screen is narrow, and are
regions that a keyboard reaches; colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzip.records.printable import printable
from onnxzip.report.record import Inspection, Report, Reported
from onnxzip.report.section import Section
from onnxzip.report.sections import sections, title_of
from onnxzip.report.tables.ports import port_table
from onnxzip.report.tables.verdicts import overall_verdict, tone_of
from onnxzip.report.tables.weights import weight_table

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from onnxzip.report.plots.plot import Plot

SUFFIX = ".html"

_LONGEST_OPEN = 24
"""Rows of a table that a page shows unasked: a screen full."""

_MANY_POINTS = 9
"""Points of a list that is set in columns, for it is looked up, not read."""

_MOST_ROWS = 400
"""Rows of a table that a page holds: about 100 kB."""


def export(report: Reported) -> str:
    """Return the whole report as a page."""
    verdict = overall_verdict(report.checks) if isinstance(report, Report) else ""
    return page(title_of(report), sections(report), verdict)


def page(title: str, parts: Sequence[Section], verdict: str = "") -> str:
    """Return a page that needs nothing else.

    Args:
        title: what heads it.
        parts: what it says, what a reader must not miss first.
        verdict: what stands below the title, coloured by what it says.
    """
    return _render("page.html.jinja", title, parts, verdict, 1)


def report_fragment(report: Report) -> str:
    """Return the report without a page around it."""
    verdict = overall_verdict(report.checks)
    return _render("fragment.html.jinja", title_of(report), sections(report), verdict, 3)


def inspection_fragment(inspection: Inspection) -> str:
    """Return the listing of a file, without a page around it."""
    parts = (
        Section("Inputs", port_table(inspection.inputs, "input")),
        Section("Outputs", port_table(inspection.outputs, "output")),
        Section("Weights", weight_table(inspection)),
    )
    return _render("fragment.html.jinja", inspection.source, parts, "", 3)


def _render(template: str, title: str, parts: Sequence[Section], verdict: str, level: int) -> str:
    """Fill a template, whose first heading has the given level."""
    shown = [section for section in parts if not section.is_empty]
    return (
        _templates()
        .get_template(template)
        .render(title=title, sections=_laid_out(shown), verdict=verdict, level=level)
    )


def _laid_out(parts: Sequence[Section]) -> list[tuple[Section, bool]]:
    """Return whether each section takes the whole width; none of the others stands alone in a row."""
    found: list[tuple[Section, bool]] = []
    for is_wide, run in groupby(parts, key=lambda section: section.is_wide):
        row = list(run)
        n_paired = 0 if is_wide else len(row) // 2 * 2
        found += [(section, i >= n_paired) for i, section in enumerate(row)]
    return found


@cache
def _templates() -> Environment:
    """Return what fills templates; jinja2 and what draws are imported for it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("page")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.globals.update(
        draw=_drawn,
        breakable=_breakable,
        tone=tone_of,
        longest_open=_LONGEST_OPEN,
        most_rows=_MOST_ROWS,
        many_points=_MANY_POINTS,
    )
    return templates


def _shown(value: object) -> object:
    """Return what stands in a page for a value: of a text what may be shown to people."""
    from markupsafe import Markup

    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(name: str) -> Markup:
    """Return a name that goes to its next line behind a dot or a slash, if it has to."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=\w)([./:]+)(?=\w)", r"\1<wbr/>", str(escape(printable(name)))))


def _drawn(plot: Plot) -> Markup:
    from markupsafe import Markup

    from onnxzip.report.plots.drawing import draw

    return Markup(draw(plot))  # an SVG, whose texts ElementTree has escaped
