"""Draws plots as SVG that stands inside a page: no scripts, no styles of its own, no ids.

pygal lays them out. Of its output only shapes and texts are kept: colours are those of the page
(page/style.css), so that they follow its light or dark scheme, and what it tells a script about each
mark is told to the reader as the mark's title.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pygal

from onnxzip.records.printable import printable
from onnxzip.report.plots.plot import BarPlot, Group, Plot, Point, XYPlot, has_place

# pygal adds a finder for plug-ins that has no find_spec, which others who ask all finders trip over.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

_WIDTH, _HEIGHT = 430, 280
"""Units of a drawing. A phone of 390 pixels shows them at 0.77, where page/style.css enlarges texts."""

_FONT_SIZE = 14
_BAR_ROOM = 13
"""Units of height for each bar, and as much between the bars of two names."""

_MAX_NAME = 22
"""Characters of a name beside its bars: a third of the width. The whole name is the bar's title."""

_PARTS = re.compile(r"([./:])")
"""What parts names: those of exporters are paths."""

_LEAST_OF_LAST = 5
"""Characters of a name's last part that are shown: less tells nothing."""

_DOT_RADIUS, _CHOSEN_RADIUS = 4.5, 7.0

_MOST_X_TICKS = 4
"""Steps between ticks below a plot: five of "16.62 MB" have room."""

_LETTER = 0.62
"""Width of a letter of a label, in heights: bold sans-serif on the average."""

_MARGIN = 0.06
"""Of the range of what is shown, on both sides: no mark is cut by the frame."""

_LEAST_ROOM, _LEAST = 1e-3, 1e-9
"""The least margin, of the greatest value and in itself: ticks of less have no digits that differ."""

_TEXT_ROOM = 0.4
"""Of what is above a line: where its text stands."""

_LEFT_OUT = frozenset({"defs", "desc", "script", "style", "tooltip-overlay"})
"""Tags and classes of what pygal adds for scripts, and of what pages have themselves."""

_COORDINATES = frozenset({"cx", "cy", "d", "height", "transform", "width", "x", "y"})
_LONG_DECIMAL = re.compile(r"\d+\.\d{2,}")


def draw(plot: Plot) -> str:
    """Return a plot as an SVG element."""
    chart = _bar_chart(plot) if isinstance(plot, BarPlot) else _xy_chart(plot)
    root = chart.render_tree()
    _strip(root)
    roles: list[str] = [group.role for group in plot.groups]
    if isinstance(plot, XYPlot) and plot.limit is not None:
        roles.append("limit")
    _name_groups(root, roles)
    _place_labels(root)
    _part_labels(root)
    for attribute in ("id", "xmlns"):
        root.attrib.pop(attribute, None)
    label = printable(f"{plot.title}. {plot.summary}")
    root.attrib.update({"class": "plot", "role": "img", "aria-label": label})
    return ET.tostring(root, encoding="unicode")


def _settings(height: int, **others: Any) -> dict[str, Any]:
    """Return the settings of all charts."""
    sizes = {
        f"{what}_font_size": _FONT_SIZE for what in ("label", "major_label", "value", "value_label")
    }
    return {
        "style": pygal.style.Style(title_font_size=_FONT_SIZE, **sizes),
        "no_prefix": True,  # or there are random ids
        "js": (),
        "css": (),
        "show_legend": False,
        "explicit_size": False,
        "width": _WIDTH,
        "height": height,
        "margin": 6,
        "margin_right": 24,
        **others,
    }


def _bar_chart(plot: BarPlot) -> pygal.HorizontalBar:
    n_bars = len(plot.names) * (len(plot.groups) + 1)
    chart = pygal.HorizontalBar(
        **_settings(
            45 + _BAR_ROOM * n_bars,
            truncate_label=-1,
            min_scale=2,
            max_scale=5,
            value_formatter=plot.axis.format,
            spacing=0,
        )
    )
    values = [v for group in plot.groups for v in group.values if has_place(v)]
    chart.range = (min(0.0, *values, 0.0), max(_LEAST, *values, _LEAST))
    # pygal draws from the bottom up.
    chart.x_labels = [shortened(printable(name)) for name in reversed(plot.names)]
    for group in plot.groups:
        told = zip(plot.names, group.values, group.texts, strict=True)
        bars = [
            {"value": value if has_place(value) else None, "tooltip": printable(f"{name}: {text}")}
            for name, value, text in told
        ]
        chart.add(group.name, bars[::-1])
    return chart


def _xy_chart(plot: XYPlot) -> pygal.XY:
    groups = [_shown(group, plot.is_logarithmic) for group in plot.groups]
    points = [point for group in groups for point in group.points]
    xs = [point.x for point in points] or [0.0, 1.0]
    ys = [point.y for point in points] + ([] if plot.limit is None else [plot.limit]) or [0.0, 1.0]
    chart = pygal.XY(
        **_settings(
            _HEIGHT,
            x_title=printable(plot.x.label),
            y_title=printable(plot.y.label),
            truncate_label=-1,
            xrange=_range(xs, plot.is_logarithmic),
            range=_range(ys, plot.is_logarithmic),
            x_value_formatter=plot.x.format,
            value_formatter=plot.y.format,
            logarithmic=plot.is_logarithmic,
            min_scale=2,
            max_scale=6,
            print_labels=True,
        )
    )
    for group in groups:
        chart.add(group.name, _dots(group), stroke=group.is_line, show_dots=not group.is_line)
    chart.x_labels = (_log_ticks if plot.is_logarithmic else _ticks)(*_range(xs, plot.is_logarithmic))
    if plot.limit is not None and points:
        ends = _range(xs, plot.is_logarithmic)
        line: list[dict[str, Any]] = [{"value": (end, plot.limit)} for end in ends]
        line[_emptier_end(points, plot.limit)]["label"] = printable(plot.limit_text)
        chart.add(plot.limit_text, line, stroke=True, show_dots=True, dots_size=0.1)
    return chart


def _dots(group: Group) -> list[dict[str, Any]]:
    """Return a group's points as pygal takes them."""
    radius = _CHOSEN_RADIUS if group.role == "chosen" else _DOT_RADIUS
    return [
        {
            "value": (point.x, point.y),
            "tooltip": printable(point.text),
            "label": printable(point.text) if group.is_labelled else "",
            "node": {"r": radius},
        }
        for point in group.points
    ]


def _shown(group: Group, is_logarithmic: bool) -> Group:
    """Return a group without the points that have no place."""
    points = tuple(
        p for p in group.points if p.has_place and not (is_logarithmic and min(p.x, p.y) <= 0)
    )
    return Group(group.name, group.role, points, group.is_line, group.is_labelled)


def _range(values: Sequence[float], is_logarithmic: bool) -> tuple[float, float]:
    """Return what an axis shows: all values and a margin."""
    low, high = min(values), max(values)
    if is_logarithmic:
        room = max((high / low) ** _MARGIN, 1.1)
        return low / room, high * room
    room = max((high - low) * _MARGIN, _LEAST_ROOM * max(abs(low), abs(high)), _LEAST)
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers in a range, as many as have room below a plot."""
    step = 10.0 ** math.floor(math.log10((high - low) / _MOST_X_TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= _MOST_X_TICKS)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis, no more than have room: 1, 2, 5, 10 or fewer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        every = [step * 10.0**decade for decade in decades for step in steps]
        every = [tick for tick in every if low <= tick <= high]
        if len(every) <= _MOST_X_TICKS + 1:
            break
    return every


def shortened(name: str) -> str:
    """Return a name that fits beside its bars: its parts cut to a few letters, numbers left whole."""
    *parts, last = _PARTS.split(name)
    head = ""
    for n_letters in range(max(map(len, parts), default=1), 0, -1):
        head = "".join(part if part.isdecimal() else part[:n_letters] for part in parts)
        if len(head) + len(last) <= _MAX_NAME:
            return head + last
    if parts and len(head) <= _MAX_NAME - _LEAST_OF_LAST:
        return f"{head}{last[: _MAX_NAME - 1 - len(head)]}…"
    n_first = (_MAX_NAME - 1) // 3
    return f"{name[:n_first]}…{name[-(_MAX_NAME - 1 - n_first) :]}"


def _emptier_end(points: Sequence[Point], limit: float) -> int:
    """Return at which end of a line across a plot a text has room above it: 0, the left one, or 1."""
    left, right = min(p.x for p in points), max(p.x for p in points)
    top = max(p.y for p in points)
    above = [p.x for p in points if limit <= p.y <= limit + _TEXT_ROOM * (top - limit)]
    n_left = sum(x < (left + right) / 2 for x in above)
    return int(n_left >= len(above) - n_left)


def _strip(element: ET.Element) -> None:
    """Take out comments, scripts, styles, titles but those of marks, and long decimals, at any depth."""
    is_mark = bool({"dots", "bar"} & set(element.get("class", "").split()))
    for name in _COORDINATES & element.attrib.keys():
        element.set(
            name, _LONG_DECIMAL.sub(lambda found: f"{round(float(found[0]), 2):g}", element.attrib[name])
        )
    for child in list(element):
        is_for_scripts = bool(_LEFT_OUT & {child.tag, *child.get("class", "").split()})
        is_left_out = not isinstance(child.tag, str) or is_for_scripts
        if is_left_out or (child.tag == "title" and not is_mark):
            element.remove(child)
        else:
            _strip(child)


def _name_groups(root: ET.Element, roles: Sequence[str]) -> None:
    """Add to each group of marks the class of its role."""
    for element in root.iter("g"):
        classes = element.get("class", "").split()
        for name in classes:
            if name.startswith("serie-"):
                element.set("class", " ".join((*classes, roles[int(name.removeprefix("serie-"))])))


def _place_labels(root: ET.Element) -> None:
    """Move texts beside their points, to the side where there is room; that of a limit onto its line."""
    for series in root.iter("g"):
        for text in [child for child in series if "label" in child.get("class", "").split()]:
            # pygal writes them a line to the right of their points and below them.
            x = float(text.attrib["x"]) - _FONT_SIZE
            y = float(text.attrib["y"]) - _FONT_SIZE * 4 / 3
            is_limit = "limit" in series.get("class", "").split()
            is_left = x > _WIDTH / 2
            across, down = (0.0, -6.0) if is_limit else (-10.0 if is_left else 10.0, 4.5)
            text.attrib.update({"x": f"{x + across:g}", "y": f"{y + down:g}"})
            text.set("class", "label leftward" if is_left else "label")


def _part_labels(root: ET.Element) -> None:
    """Move labels down that would stand on another one."""
    texts = [t for t in root.iter("text") if "label" in t.get("class", "").split() and t.text]
    placed: list[tuple[float, float, float]] = []
    for text in sorted(texts, key=lambda t: float(t.get("y", "0"))):
        x, y, width = float(text.get("x", "0")), float(text.get("y", "0")), _LETTER * _FONT_SIZE
        width *= len(text.text or "")
        left = x - width if "leftward" in text.get("class", "").split() else x
        for other_left, other_right, other_y in placed:
            if left < other_right and other_left < left + width and y < other_y + _FONT_SIZE:
                y = other_y + _FONT_SIZE
        text.set("y", f"{y:g}")
        placed.append((left, left + width, y))
