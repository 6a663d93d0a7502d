"""What a verdict says: how sure it is, what it rests on, and what is not proven."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from onnxzip.records.check import Check
from onnxzip.records.finding import Finding
from onnxzip.report.html import export as to_html
from onnxzip.report.markdown import export as to_markdown
from onnxzip.report.tables.verdicts import tone_of, unproven_reasons, verdict_table
from onnxzip.report.terminal import render_checks, render_report
from tests.report.test_html import parse
from tests.report.test_report import CHECKS, REPORT, row_of, text_of

SURE = Check("drift", "CPU", "nrmse", 0.08, 0.1, True, 128, interval=(0.07, 0.09))
UNSURE = replace(SURE, value=0.0974, interval=(0.087, 0.1124), n_to_settle=391)
PSNR = replace(SURE, metric="psnr", unit="dB", n_decimals=1, higher_is_better=True)
DECIBELS = replace(PSNR, value=31.0, limit=30.0, interval=(29.14, 33.0))
TOP1 = replace(SURE, metric="top1", unit="pt", scale=100.0, n_decimals=2)
POINTS = replace(TOP1, value=0.0078, limit=0.01, interval=(-0.0023, 0.0156))
UNPROVEN = replace(SURE, passed=False, value=0.0, interval=None, unproven="output 'y' is NaN")
OPINION = replace(
    SURE, kind="opinion", value=0.213, passed=False, n_samples=999, note="generated inputs"
)


@pytest.mark.parametrize(
    ("checks", "verdict", "tone"),
    [
        ([SURE], "passed", "passed"),
        ([replace(SURE, interval=None)], "passed", "passed"),
        (
            [UNSURE],
            "passed, may be up to 0.112 (95 %); about 400 samples would settle it",
            "doubtful",
        ),
        ([replace(UNSURE, n_to_settle=None)], "passed, may be up to 0.112 (95 %)", "doubtful"),
        (
            [replace(UNSURE, interval=(0.09, 0.10004), n_to_settle=12345)],
            "passed, may be just beyond the limit (95 %); about 13,000 samples would settle it",
            "doubtful",
        ),
        ([replace(SURE, interval=None, n_samples=1)], "passed, on 1 sample only", "doubtful"),
        ([replace(SURE, interval=None, n_samples=7)], "passed, on 7 samples only", "doubtful"),
        ([DECIBELS], "passed, may be down to 29.1 dB (95 %)", "doubtful"),
        ([replace(DECIBELS, interval=(30.0, 33.0))], "passed", "passed"),
        ([POINTS], "passed, may be up to 1.56 pt (95 %)", "doubtful"),
        ([replace(UNSURE, limit=math.inf)], "passed, loss not judged", "doubtful"),
        ([UNPROVEN], "not proven", "doubtful"),
        ([replace(UNPROVEN, limit=math.inf)], "not proven", "doubtful"),
        ([UNPROVEN, replace(SURE, kind="exact", passed=False)], "FAILED: exact", "failed"),
        ([replace(SURE, passed=False)], "FAILED: drift", "failed"),
        ([SURE, OPINION], "passed", "passed"),
        ([replace(SURE, value=0.0, interval=(0.0, 0.0))], "equal", "passed"),
        ([replace(SURE, value=0.0, n_samples=7)], "passed, on 7 samples only", "doubtful"),
        ([replace(TOP1, value=0.0, interval=(0.0, 0.0))], "passed", "passed"),
    ],
)
def test_verdicts(checks: list[Check], verdict: str, tone: str) -> None:
    (row,) = verdict_table(checks).rows
    assert row[-1] == verdict
    assert row[-2] == f"{checks[0].n_samples}"
    assert tone_of(verdict) == tone


def test_only_what_is_beyond_its_limit_has_failed() -> None:
    assert [check.failed for check in (SURE, UNPROVEN, OPINION)] == [False] * 3
    assert replace(SURE, passed=False).failed


def test_each_provider_has_its_own_verdict() -> None:
    checks = (UNSURE, replace(SURE, provider="CUDA"), replace(UNPROVEN, provider="DML"))
    rows = verdict_table(checks).rows
    assert [(row[0], row[-1].partition(",")[0]) for row in rows] == [
        *(("CPU", "passed"), ("CUDA", "passed"), ("DML", "not proven"))
    ]


def test_a_narrow_terminal_has_the_verdict_below_the_table() -> None:
    text = text_of(render_checks((*CHECKS[:2], UNSURE)))
    line = "CPU: passed, may be up to 0.112 (95 %); about 400 samples would settle it"
    assert line in text.splitlines()
    assert row_of(text, "CPU ") == "CPU 4.4e-06 0.0974 0.087 to 0.112 128"
    assert "verdict" not in text
    wide = text_of(render_checks((*CHECKS[:2], UNSURE)), width=300)
    assert row_of(wide, "CPU ").endswith("128 " + line.removeprefix("CPU: "))


def test_a_short_verdict_stays_in_the_table() -> None:
    text = text_of(render_checks((*CHECKS[:2], SURE)))
    assert row_of(text, "CPU ").endswith("128 passed")


@pytest.mark.parametrize("width", [20, 40, 60, 72, 80, 100, 160])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_digit_is_cut_at_any_width(width: int, verbose: bool) -> None:
    """Where a table is too narrow, its rows are written out, broken between words."""
    far = replace(UNSURE, provider="TensorRT", metric="my_metrics.speech:word_error_rate")
    report = replace(REPORT, checks=(*CHECKS[:2], UNSURE, OPINION, far, POINTS), layers=())
    words = set(" ".join(text_of(render_report(report, verbose), 300).split()).split())
    shown = set(" ".join(text_of(render_report(report, verbose), width).split()).split())
    numbers = {word for word in words if re.fullmatch(r"-?[\d,.e-]*\d[\d,.e-]*[);,]?", word)}
    stripped = {word.rstrip(",;)") for word in shown}
    assert {number.rstrip(",;)") for number in numbers} <= stripped
    assert max(map(len, text_of(render_report(report, verbose), width).splitlines())) <= width


def test_colours_are_for_verdicts_alone() -> None:
    assert "\x1b[33m" in text_of(render_checks([UNPROVEN]), is_terminal=True)
    assert "\x1b[33m" in text_of(render_checks([UNSURE]), is_terminal=True)
    named = replace(REPORT, checks=(), layers=(replace(REPORT.layers[0], name="passed"),))
    assert "\x1b[32m" not in text_of(render_report(named, verbose=True), is_terminal=True)
    cells = parse(to_html(replace(named, checks=(UNSURE, UNPROVEN)))).iter("td")
    assert {cell.get("class") for cell in cells} >= {"text doubtful"}


def test_reasons_come_first_in_files_and_once() -> None:
    """Before any figure, and before what is odd about the inputs."""
    checks = (UNPROVEN, replace(UNPROVEN, provider="CUDA"), replace(OPINION, unproven="no"))
    assert unproven_reasons(checks) == ["output 'y' is NaN"]
    report = replace(REPORT, checks=checks, warnings=(Finding("range", "0 to 255"),))
    text = to_markdown(report)
    first = "## Warnings and evidence\n\n- not proven: output 'y' is NaN\n- warning: 0 to 255\n- the "
    assert text.partition("\n\n")[2].startswith(first)
    root = parse(to_html(report))
    assert next(iter(root.iter("h2"))).text == "Warnings and evidence"
    assert next(iter(root.iter("li"))).text == "not proven: output 'y' is NaN"
    assert unproven_reasons((SURE, OPINION)) == []


def test_the_summary_has_the_worst_drift() -> None:
    better = replace(SURE, provider="CUDA", value=0.01)
    for checks in ((better, SURE, OPINION), (UNPROVEN, SURE)):
        assert "    0.08    0.1  " in text_of(render_report(replace(REPORT, checks=checks)))
    undefined = replace(UNPROVEN, value=math.nan)
    assert "     nan    0.1  " in text_of(render_report(replace(REPORT, checks=(undefined, SURE))))
