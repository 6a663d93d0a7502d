"""Draws the picture of the README from the table of the guide: bytes against points lost, by tool.

    python -m tests.bench.picture

The figures are those of `python -m tests.bench.peers`, as onnxzip/guide/comparison.md has them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "onnxzip" / "guide"
TABLE, PICTURE = GUIDE / "comparison.md", GUIDE / "figures" / "losses.svg"
ORIGINAL = re.compile(r"^\| (\w+), CIFAR-10 \| [\d.]+ \| ([\d,]+) \|", re.MULTILINE)
"""Rows with the bytes of a model before."""

_PANEL, _HEIGHT, _LEFT, _TOP, _BOTTOM = 250, 250, 46, 44, 46
_WIDTH = _LEFT + 3 * (_PANEL + 14)
"""Pixels."""

_LINE, _ROOM = 13, 60
"""Pixels of a line of text, and of a tool's name."""

_LEFT_SIDE, _RIGHT_SIDE = 0.2, 0.4
"""Shares where names change sides."""

_SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
_POINTS = (-0.5, 0.0, 0.5, 1.0)
"""Where the grid's lines are: shares of the original's bytes, points of top-1 lost."""

_OURS, _THEIRS, _GRID, _INK = "#c2410c", "#475569", "#e2e8f0", "#0f172a"
_SHORT = {
    "float16": "float16",
    "onnxruntime dynamic int8": "dynamic int8",
    "onnxruntime static int8 (QDQ, per channel)": "static int8",
    "onnx_shrink_ray": "shrink_ray",
    "NNCodec 2": "NNCodec*",
}


@dataclass(frozen=True)
class Dot:
    """A tool's file of a model: its share of the original's bytes, and what it loses in points."""

    tool: str
    share: float
    points: float

    @property
    def is_ours(self) -> bool:
        """Whether onnxzip made the file."""
        return self.tool.startswith("onnxzip")


def read_table(text: str) -> dict[str, list[Dot]]:
    """Return the dots of each model, in the order of the table."""
    before = {name: int(size.replace(",", "")) for name, size in ORIGINAL.findall(text)}
    head, *rows = re.search(r"^(\| \| resnet20 \|.*?)\n\n", text, re.MULTILINE | re.DOTALL)[1].split(
        "\n"
    )
    models = [cell.strip() for cell in head.split("|")[2:-1:2]]
    found: dict[str, list[Dot]] = {model: [] for model in models}
    for row in rows[1:]:
        tool, *cells = (cell.strip(" *") for cell in row.strip("|").split("|"))
        for model, size, points in zip(models, cells[::2], cells[1::2], strict=True):
            share = int(size.replace(",", "")) / before[model]
            found[model].append(Dot(_SHORT.get(tool, "onnxzip"), share, float(points)))
    return found


def draw(models: dict[str, list[Dot]]) -> str:
    """Return the picture as SVG, with a background of its own: pages are light or dark."""
    height = _TOP + _HEIGHT + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11" role="img">',
        f"<title>{escape(describe(models))}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        _text(
            _LEFT,
            18,
            "CIFAR-10 classifiers: points of top-1 lost against bytes; down and left is better",
        ),
    ]
    for index, (model, dots) in enumerate(models.items()):
        parts += _panel(_LEFT + index * (_PANEL + 14), model, dots, has_points=index == 0)
    note = "bytes, % of the original file, logarithmic; * no ONNX file: onnxruntime does not load it"
    parts.append(_text(_LEFT, height - 10, note, colour=_THEIRS))
    return "\n".join([*parts, "</svg>", ""])


def describe(models: dict[str, list[Dot]]) -> str:
    """Return the picture in words."""
    return "; ".join(
        f"{model}: " + ", ".join(f"{d.tool} {100 * d.share:.1f} % ({d.points:+.2f})" for d in dots)
        for model, dots in models.items()
    )


def _panel(left: float, model: str, dots: Sequence[Dot], *, has_points: bool) -> Iterator[str]:
    yield _text(left + 4, _TOP - 6, model, weight="bold")
    for share in _SHARES:
        x = left + _x(share)
        yield _line(x, _TOP, x, _TOP + _HEIGHT)
        yield _text(x, _TOP + _HEIGHT + 16, f"{100 * share:g}", anchor="middle", colour=_THEIRS)
    for points in _POINTS:
        y = _y(points)
        yield _line(left, y, left + _PANEL, y)
        if has_points:
            yield _text(left - 6, y + 4, f"{points:g}", anchor="end", colour=_THEIRS)
    placed = -math.inf
    for dot in sorted(dots, key=lambda dot: -dot.points):
        x, y = left + _x(dot.share), _y(dot.points)
        colour = _OURS if dot.is_ours else _THEIRS
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if dot.is_ours else 4}" fill="{colour}"/>'
        if dot.is_ours:
            place = (x - 10, y + 4, "end") if x - left > _ROOM else (x - 6, y + 20, "start")
        elif dot.share < _LEFT_SIDE:
            place = (x + 9, y + 4, "start")
        elif dot.share > _RIGHT_SIDE:
            place = (x, y - 9, "middle")
        else:  # those of int8, which lie one below the other
            placed = max(y + 4, placed + _LINE)
            place = (x - 9, placed, "end")
        weight = "bold" if dot.is_ours else "normal"
        yield _text(place[0], place[1], dot.tool, anchor=place[2], colour=colour, weight=weight)


def _x(share: float) -> float:
    low, high = math.log(0.008), math.log(1.25)
    return _PANEL * (math.log(share) - low) / (high - low)


def _y(points: float) -> float:
    low, high = -0.75, 1.25
    return _TOP + _HEIGHT * (high - points) / (high - low)


def _line(x: float, y: float, other_x: float, other_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{other_x:.1f}" y2="{other_y:.1f}" stroke="{_GRID}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(read_table(TABLE.read_text("utf-8"))), "utf-8")
