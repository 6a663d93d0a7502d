"""How long runs take, as every format shows it; and what is told where nothing is faster."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from onnxzip.choose.refusals import why_not_faster
from onnxzip.cli.arguments import flag_of
from onnxzip.errors import InputError, ToleranceError
from onnxzip.records.costs.latency import Latency, Processor, Ratio
from onnxzip.report.html import export as to_html
from onnxzip.report.json import export as to_json
from onnxzip.report.json import from_json
from onnxzip.report.markdown import export as to_markdown
from onnxzip.report.numbers import format_latency
from onnxzip.report.plots.drawing import draw
from onnxzip.report.plots.latency import latency_plot
from onnxzip.report.sections import title_of
from onnxzip.report.tables.latency import speed_line
from onnxzip.report.terminal import render_report
from tests.report.full import FULL, SPEED

LINE = "runs in 0.45 of the time (0.43 to 0.47; 1 thread, batch 16)"
FAST = replace(FULL, speed=SPEED)


def shown(*, verbose: bool) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(render_report(FAST, verbose=verbose))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_line_says_what_was_timed() -> None:
    assert speed_line(SPEED) == LINE
    others = replace(SPEED, n_threads=4, batch=None, provider="CUDA", ratio=Ratio(1.234, 1.2, 1.3))
    assert speed_line(others) == "takes 1.23 times as long (1.20 to 1.30; 4 threads, on CUDA)"
    sure = replace(SPEED, ratio=Ratio(0.4512, 0.4501, 0.4524))
    assert speed_line(sure).startswith("runs in 0.451 of the time (0.450 to 0.452;")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5.13e-5, "51.3 µs"),
        (8e-4, "800 µs"),
        (9.996e-4, "1.00 ms"),
        (0.0119, "11.9 ms"),
        (1.25, "1.25 s"),
    ],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert format_latency(seconds) == text


def test_the_terminal_ends_with_it() -> None:
    assert shown(verbose=False).splitlines()[-2:] == [LINE, shown(verbose=False).splitlines()[-1]]
    assert "original       1.10 ms  900 µs to 1.30 ms" in shown(verbose=True)
    assert "Latency" not in shown(verbose=False)


def test_markdown_and_html_have_table_and_processor() -> None:
    text = to_markdown(FAST)
    part = text.partition("## Latency\n\n")[2].partition("\n\n## ")[0]
    assert part.startswith(
        f"R{LINE[1:]}.\n\nHalf of the runs take at most 1.10 ms before and 500 µs after."
    )
    assert "| this file | 500 µs | 450 µs to 550 µs |" in part
    assert "- timed by turns on the same inputs, 64 runs each; 1 thread, batch 16" in part
    assert part.endswith("- processor: Some CPU 9, int8 instructions: AVX-512 VNNI")
    page = to_html(FAST)
    assert f"R{LINE[1:]}." in page
    assert "Time of a run" in page
    assert "## Latency" not in to_markdown(replace(FAST, speed=None))
    unknown = replace(SPEED, processor=Processor(""))
    assert "processor: unknown, int8 instructions: none that is known" in to_markdown(
        replace(FAST, speed=unknown)
    )


def test_the_title_tells_of_what_is_faster_only() -> None:
    assert title_of(FAST).endswith("smaller, runs in 0.45 of the time")
    doubtful = replace(SPEED, ratio=Ratio(0.99, 0.97, 1.01))
    for speed in (None, doubtful):
        assert title_of(replace(FAST, speed=speed)).endswith("smaller")


def test_the_plot_has_both_and_leaves_out_what_was_disturbed() -> None:
    disturbed = replace(SPEED, after=Latency((*SPEED.after.seconds[:-1], 5.0)))
    plot = latency_plot(disturbed)
    assert [group.role for group in plot.groups] == ["before", "after"]
    assert plot.x.label == "time of a run, ms"
    for group in plot.groups:
        assert [p.y for p in group.points] == sorted(p.y for p in group.points)
        assert max(p.x for p in group.points) < 2
    assert ET.fromstring(draw(plot)).tag == "svg"


def test_json_keeps_every_run() -> None:
    found = from_json(to_json(FAST))
    assert found.speed == SPEED
    assert found.speed is not None
    assert found.speed.is_faster
    record = json.loads(to_json(FAST))
    record["speed"]["before"]["seconds"] = [1.0]
    with pytest.raises(InputError, match="times of 1 runs"):
        from_json(json.dumps(record))


def test_what_is_not_faster_is_told_with_its_figures() -> None:
    slow = replace(SPEED, after=Latency((0.0012,) * 64), ratio=Ratio(1.09, 1.02, 1.2))
    text = ToleranceError(why_not_faster("m.onnx", slow)).worded(flag_of)
    assert text == (
        "m.onnx: the fastest model that was found is not faster: it takes 1.09 times as long (1.02 to "
        "1.20; 1 thread, batch 16), 1.20 ms at the median and the original 1.10 ms; ask for --objective "
        "size, or try another --batch, other --threads or a larger --tolerance"
    )
    even = replace(SPEED, ratio=Ratio(0.99, 0.97, 1.01), processor=Processor("Old CPU"))
    text = why_not_faster("m.onnx", even)
    assert "is not faster for certain: it runs in 0.99 of the time" in text
    assert "other `threads`, a processor with int8 instructions (this one has none known)" in text
    assert "int8" not in why_not_faster("m.onnx", replace(even, provider="CUDA"))
