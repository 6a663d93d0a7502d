"""The figures: pictures as a person and the network see them, and two charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import numpy as np
import pygal
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pygal.style import Style

from models.clothing.archive import read_examples, read_test
from models.clothing.comparison import Outcome
from models.clothing.images import N_PIXELS, coded_bytes, restore
from models.clothing.pictures import CLASSES
from onnxzip.report.plots import drawing  # noqa: F401  (takes pygal's finder of plug-ins off again)

SCALE = 3
"""Screen pixels for one of a picture: 28 are an inch across, as a thumbnail is."""
CELL = SCALE * N_PIXELS
GAP = 10
LINE = 16
PAPER, INK, RIGHT, WRONG = "#ffffff", "#1f2328", "#1a7f37", "#cf222e"
FONT = ImageFont.load_default(12)
SHOWN = (14, 12, 10, 8, 6, 4, 3, 2)
"""Coefficients kept, a side, of the pictures that are shown."""
N_OF_EACH = 8
MARGIN = 0.5
"""Percent above and below what a chart shows: the standard error of a share of 2,000 images."""


def seen(n_kept: int) -> Image.Image:
    """Return pictures of each class beside what is left of them, fewer coefficients in each row."""
    pixels, places = read_examples()
    test = read_test()
    kept = [k for k in SHOWN if k <= n_kept]
    rows = [("28 x 28 pixels", f"{N_PIXELS**2} bytes", pixels)]
    for k in kept:
        steps = test.steps[:, :k, :k]
        name = f"{k} x {k}" + (" <- network" if k == n_kept else "")
        rows.append((name, f"{coded_bytes(steps):.0f} bytes", restore(steps[places] * test.step)))
    margin, pitch = 122, CELL + GAP
    sheet = Image.new("RGB", (margin + len(CLASSES) * pitch, LINE + 4 + len(rows) * pitch), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(CLASSES):
        draw.text((margin + column * pitch, 2), name, INK, FONT)
    for row, (name, size, pictures) in enumerate(rows):
        top = LINE + 4 + row * pitch
        draw.multiline_text((4, top + CELL // 2 - LINE), f"{name}\n{size}", INK, FONT)
        for column, picture in enumerate(pictures):
            sheet.paste(_enlarged(picture), (margin + column * pitch, top))
    return sheet


def answered(before: Outcome, after: Outcome) -> Image.Image:
    """Return test images with what they are, and what both networks name: first where the two disagree.

    Args:
        before: the original.
        after: what compression made of it.
    """
    test = read_test()
    is_right = [outcome.answers == test.labels for outcome in (before, after)]
    groups = [
        ("The answer changed", before.answers != after.answers),
        ("Both wrong", ~is_right[0] & (before.answers == after.answers)),
        ("Both right", is_right[0] & is_right[1]),
    ]
    height = CELL + 3 * LINE + GAP
    width = N_OF_EACH * (CELL + 2 * GAP) + GAP
    sheet = Image.new("RGB", (width, len(groups) * (height + LINE + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (title, belongs) in enumerate(groups):
        top = row * (height + LINE + GAP) + 4
        draw.text((GAP, top), f"{title}: {np.count_nonzero(belongs)} of {len(belongs):,}", INK, FONT)
        for column, place in enumerate(np.flatnonzero(belongs)[:N_OF_EACH]):
            corner = GAP + column * (CELL + 2 * GAP), top + LINE + 4
            sheet.paste(_enlarged(restore(test.steps[place] * test.step)), corner)
            label = test.labels[place]
            lines = [(CLASSES[label], INK)]
            lines += [
                (f"{name} {CLASSES[answer]}", RIGHT if answer == label else WRONG)
                for name, answer in (("<", before.answers[place]), (">", after.answers[place]))
            ]
            for number, (text, colour) in enumerate(lines):
                draw.text((corner[0], corner[1] + CELL + number * LINE), text, colour, FONT)
    return sheet


def curve(title: str, x_title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return an SVG chart of percentages against x.

    Args:
        title: of the chart.
        x_title: of its axis.
        lines: (x, y) by name, in percent. A line of one point is a dot.
    """
    heights = [y for points in lines.values() for _, y in points]
    style = Style(background=PAPER, plot_background=PAPER, font_family="sans-serif", title_font_size=18)
    chart = pygal.XY(
        title=title,
        x_title=x_title,
        y_title="% right",
        style=style,
        js=(),
        no_prefix=True,
        width=760,
        height=420,
        legend_at_bottom=True,
        dots_size=4,
        truncate_legend=-1,
        range=(min(heights) - MARGIN, min(100, max(heights) + MARGIN)),
    )
    for name, points in lines.items():
        chart.add(name, points)
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    root = ElementTree.fromstring(chart.render())  # leaves out comments, among them today's date
    for holder in list(root.iter()):
        for script in holder.findall("{*}script"):
            holder.remove(script)  # settings of pygal's tooltips, which pictures in a page do not have
    return ElementTree.tostring(root, encoding="unicode")


def _enlarged(picture: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.NEAREST)
