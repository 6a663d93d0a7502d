"""Drawn plots: all in them is named, nothing is cut or left to a script, any numbers are taken."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.report.plots.drawing import draw, shortened
from onnxzip.report.plots.plot import Axis, BarPlot, Bars, Group, Point, XYPlot

EVIL = "<script>alert('&\"')</script>\x1b"
PLOT = XYPlot(
    *("Loss", "All of it.", Axis("bytes", lambda value: f"{value:g} B"), Axis("loss")),
    (
        Group("tried", "passed", (Point(34_000, 0.083, "a"), Point(36_000, 0.07, "b"))),
        Group("beyond", "failed", (Point(32_000, 0.12, "c"),)),
        Group("chosen", "chosen", (Point(34_200, 0.098, EVIL),), is_labelled=True),
    ),
    *(0.1, "at most 0.1"),
)
BARS = BarPlot(
    *("Bytes", "Before and after.", Axis("bytes"), ("first", "second")),
    (
        Bars("before", "before", (100.0, 50.0), ("100 B", "50 B")),
        Bars("after", "after", (10.0, math.nan), ("10 B", "-")),
    ),
)


def texts(svg: str, tag: str = "text") -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(tag)]


def test_a_plot_is_all_there_is() -> None:
    svg = draw(PLOT)
    root = ET.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", "Loss. All of it.")
    tags = {element.tag for element in root.iter()}
    assert tags <= {"svg", "g", "rect", "path", "circle", "text", "title"}
    assert not any({"style", "id", "onclick", "fill"} & set(element.attrib) for element in root.iter())
    assert draw(PLOT) == svg


def test_marks_have_titles_and_roles() -> None:
    root = ET.fromstring(draw(PLOT))
    circles = {
        series.get("class", "").split()[-1]: len(series.findall(".//circle"))
        for series in root.iter("g")
        if "series" in series.get("class", "").split() and series.findall(".//circle")
    }
    assert circles == {"passed": 2, "failed": 1, "chosen": 1, "limit": 2}
    assert texts(draw(PLOT), "title") == ["a", "b", "c", EVIL.replace("\x1b", "\\x1b")]
    assert set(texts(draw(BARS), "title")) == {"first: 100 B", "second: 50 B", "first: 10 B"}


def test_labels_are_those_of_labelled_points_and_of_the_limit() -> None:
    labels = [e for e in ET.fromstring(draw(PLOT)).iter("text") if "label" in e.get("class", "")]
    assert [label.text for label in labels] == [EVIL.replace("\x1b", "\\x1b"), "at most 0.1"]
    assert "leftward" in labels[1].get("class", "")


def test_labels_do_not_stand_on_each_other() -> None:
    points = tuple(Point(10, 1 + i / 1000, f"tool {i}") for i in range(3))
    far = Group("far", "passed", (Point(1000, 100),))
    svg = draw(replace(PLOT, groups=(Group("g", "chosen", points, is_labelled=True), far), limit=None))
    labels = [e for e in ET.fromstring(svg).iter("text") if "label" in e.get("class", "")]
    heights = sorted(float(label.get("y", "0")) for label in labels)
    assert all(after - before >= 13 for before, after in pairwise(heights))


def test_ticks_are_round_and_tell_apart() -> None:
    assert [text for text in texts(draw(PLOT)) if text.endswith(" B")] == [
        *("32000 B", "34000 B", "36000 B")
    ]
    points = tuple(Point(x, x) for x in (3, 40, 700))
    svg = draw(replace(PLOT, groups=(Group("g", "passed", points),), limit=None, is_logarithmic=True))
    assert [text for text in texts(svg) if text.endswith(" B")] == [
        "3 B",
        "10 B",
        "30 B",
        "100 B",
        "300 B",
    ]


def test_what_is_not_above_0_has_no_place_on_a_logarithmic_axis() -> None:
    points = (Point(0, 1), Point(1, 0), Point(-1, 1), Point(5, 5, "in"))
    svg = draw(replace(PLOT, groups=(Group("g", "passed", points),), limit=None, is_logarithmic=True))
    assert len(ET.fromstring(svg).findall(".//circle")) == 1


VALUES = st.floats() | st.sampled_from([0.0, 5e-324, 1e308, -1e308, 1e15, 1.0, 1.0000000000000002])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=4), st.none() | st.floats(-1e9, 1e9), st.booleans())
def test_any_numbers_are_drawn(pairs: list[tuple[float, float]], limit: float, is_line: bool) -> None:
    points = tuple(Point(x, y, "p") for x, y in pairs)
    group = Group("g", "passed", points, is_line=is_line, is_labelled=True)
    ET.fromstring(draw(replace(PLOT, groups=(group,), limit=limit)))
    values = tuple(y for _, y in pairs)
    names = tuple(f"n{i}" for i in range(len(values)))
    bars = Bars("g", "after", values, ("t",) * len(values))
    ET.fromstring(draw(replace(BARS, names=names, groups=(bars,))))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("conv1.weight", "conv1.weight"),
        ("model.encoder.0.reparam_conv.weight", "mod.enc.0.rep.weight"),
        ("encoder.layer.11.attention.self.query.weight", "e.l.11.a.s.q.weight"),
        ("/encoder/layer.11/attention/dense/MatMul.weight_transposed", "/e/l.11/a/d/M.weight_…"),
        ("a_very_long_name_without_parts_12", "a_very_…thout_parts_12"),
        ("x/" * 30 + "w", "x/x/x/x…/x/x/x/x/x/x/w"),
        ("", ""),
    ],
)
def test_names_are_cut_where_that_tells_least(name: str, shown: str) -> None:
    assert shortened(name) == shown
    assert len(shown) <= 22
