"""A comparison as table, Markdown, HTML and JSON: what is said, and where it has room."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.console import Console

from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.report import html, markdown
from onnxzip.report.comparison.plot import comparison_plot
from onnxzip.report.comparison.record import (
    OWN_NAME,
    ComparedTool,
    Comparison,
    LoadCost,
    TriedSetting,
)
from onnxzip.report.comparison.table import comparison_table, doubts, remarks, setting_table
from onnxzip.report.json import export
from onnxzip.report.terminal import render_comparison


def lost(value: float, *, passed: bool = True) -> Check:
    return Check("drift", "CPU", "nrmse", value, 0.1, passed, 256)


def line(tool: str, n_bytes: int, loss: Check, **others: object) -> ComparedTool:
    costs = {"load": LoadCost(0.123, 12_345_678), "latency": 1.0, **others}
    return ComparedTool(tool, n_bytes=n_bytes, loss=loss, **costs)  # type: ignore[arg-type]


TOOLS = (
    line("float16", 512_345_678, lost(0.00126), latency=11.96),
    line("xz -9e", 500_000_000, lost(0.0), is_loaded=False, load=None, latency=None),
    line("NNCodec", 200_000_000, lost(0.0995), is_loaded=False, load=None, remark="a <bitstream>"),
    line(
        "onnxruntime dynamic int8",
        *(256_000_000, lost(0.31, passed=False)),
        setting="weight_type QInt8",
        tried=(TriedSetting("a"), TriedSetting("b")),
        seconds=65.0,
    ),
    line(OWN_NAME, 100_000_000, lost(0.0983), setting="level 6"),
    ComparedTool("onnxslim", problem="not installed: pip install onnxslim"),
)
COMPARISON = Comparison(
    schema=4,
    source="m.onnx",
    source_sha256="ab",
    bytes_before=1_024_691_356,
    metric="nrmse",
    inputs="256 samples: held out",
    plain=line("plain file", 1_024_691_356, lost(0.0)),
    tools=TOOLS,
    warnings=(Finding("copies", "half of the samples are copies"),),
    settings={"level": 6},
    versions={"onnxzip": "0.1.0"},
    command="onnxzip --bench m.onnx",
)


def shown(width: int, *, verbose: bool = False) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(render_comparison(COMPARISON, verbose))
    return capture.get()


def test_every_tool_has_a_row() -> None:
    rows = {row[0]: row[1:] for row in comparison_table(COMPARISON).rows}
    assert list(rows) == ["plain file", *(tool.tool for tool in TOOLS)]
    assert rows["float16"] == ("512,345,678", "2.00x", "0.00126", "123 ms", "12.3 MB", "11.96x")
    assert rows["onnxslim"] == ("-",) * 6


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_of_a_large_model_fits_a_terminal(width: int) -> None:
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    for tool in TOOLS:
        assert tool.n_bytes is None or f"{tool.n_bytes:,}" in text


def test_what_numbers_do_not_say_is_said_once() -> None:
    assert remarks(COMPARISON) == (
        "xz -9e, NNCodec: to be unpacked first, onnxruntime does not load it",
        "NNCodec: a <bitstream>",
        "onnxruntime dynamic int8: beyond the tolerance, 0.1",
        "onnxslim: not installed: pip install onnxslim",
    )
    text = " ".join(shown(80).split())
    assert all(remark in text for remark in remarks(COMPARISON))
    assert "256 samples: held out" in text


def test_settings_are_for_those_who_ask() -> None:
    assert "weight_type QInt8" not in shown(80)
    assert "weight_type QInt8" in shown(80, verbose=True)
    rows = {row[0]: row[1:] for row in setting_table(COMPARISON).rows}
    assert rows["onnxruntime dynamic int8"] == ("weight_type QInt8", "2 settings in 1 min 05 s")
    assert rows["float16"][0] == "default"
    assert "onnxslim" not in rows


def test_doubts_come_first() -> None:
    unproven = replace(COMPARISON, unproven=("output 'y' is constant",))
    assert doubts(unproven) == (
        "not proven: output 'y' is constant",
        "warning: half of the samples are copies",
    )
    assert doubts(unproven, warns=False) == doubts(unproven)[:1]
    text = markdown.export(unproven)
    assert text.index("is constant") < text.index("## Tools")


def test_a_page_holds_all_of_it_and_escapes_names() -> None:
    page = html.export(COMPARISON)
    assert "<svg" in page
    assert "a &lt;bitstream&gt;" in page
    assert "<bitstream>" not in page
    for tool in TOOLS:
        assert tool.tool in page
    assert "onnxzip --bench m.onnx" in page
    assert not re.search(r"(?:src|href)=", page)


def test_labels_of_a_plot_do_not_stand_on_each_other() -> None:
    near = tuple(line(f"tool {i}", 200_000_000 + i, lost(0.05 + i * 1e-5)) for i in range(4))
    page = html.export(replace(COMPARISON, tools=near))
    found = re.findall(r'<text[^>]*class="label[^>]*>tool \d', page)
    heights = sorted(float(re.search(r' y="([\d.]+)"', text)[1]) for text in found)  # type: ignore[index]
    assert len(heights) == 4
    assert min(b - a for a, b in pairwise(heights)) >= 12


def test_what_loses_nothing_has_a_place_in_the_plot() -> None:
    (plot,) = comparison_plot(COMPARISON)
    points = {point.text: point for group in plot.groups for point in group.points}
    assert points["xz -9e"].y == points["plain file"].y
    assert 0 < points["xz -9e"].y < points["float16"].y
    roles = {point.text: group.role for group in plot.groups for point in group.points}
    assert roles[OWN_NAME] == "chosen"
    assert (roles["dynamic int8"], roles["NNCodec"]) == ("failed", "passed")
    assert plot.limit == 0.1


def test_decibels_grow_upwards() -> None:
    def in_db(value: float) -> Check:
        return replace(lost(value), metric="psnr", unit="dB", higher_is_better=True, limit=40.0)

    tools = (line("float16", 500, in_db(62.0)), line(OWN_NAME, 100, in_db(41.0)))
    plain = line("plain file", 1000, in_db(math.inf))
    comparison = replace(COMPARISON, metric="psnr", plain=plain, tools=tools)
    (plot,) = comparison_plot(comparison)
    points = {point.text: point.y for group in plot.groups for point in group.points}
    assert points[OWN_NAME] == 41.0
    assert points["plain file"] > points["float16"] == 62.0
    assert "<svg" in html.export(comparison)
    assert '"inf"' in export(comparison)


def test_no_plot_where_nothing_is_lost() -> None:
    assert comparison_plot(replace(COMPARISON, tools=TOOLS[1:2])) == ()
    assert "<svg" not in html.export(replace(COMPARISON, tools=TOOLS[1:2]))


def test_json_holds_every_field() -> None:
    record = json.loads(export(COMPARISON))
    assert record["tools"][3]["tried"][1] == {
        **{"setting": "b", "n_bytes": None, "loss": None, "problem": ""}
    }
    assert record["tools"][0]["load"] == {"cpu_s": 0.123, "n_bytes": 12_345_678}
    assert record["warnings"][0]["kind"] == "copies"
