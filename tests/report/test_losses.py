"""What a loss consists of: outputs, kinds of inputs, samples, weights; and the second opinion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxzip.records.check import Check, SampleLosses
from onnxzip.report.html import export as to_html
from onnxzip.report.markdown import export as to_markdown
from onnxzip.report.numbers import format_loss, format_rounded
from onnxzip.report.record import LayerSensitivity
from onnxzip.report.tables.losses import (
    family_table,
    loss_lines,
    loss_table,
    opinion_lines,
    output_table,
    sensitivity_table,
)
from onnxzip.report.terminal import render_checks, render_report
from tests.report.test_html import parse
from tests.report.test_report import REPORT, text_of

SPREAD = SampleLosses(0.05, 0.1, 0.314)
OUTPUTS = {"a": 0.01, "scores": 0.0912, "boxes": 0.0974, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05}
DRIFT = Check(
    *("drift", "CPU", "nrmse", 0.0974, 0.1, True, 128, None, "held out: 128 of 512 samples"),
    constant=1.0,
    by_output=OUTPUTS,
    by_family={"noise": 0.05, "photographs": 0.0974},
    per_sample=SPREAD,
)
OPINION = Check(
    *("opinion", "CPU", "nrmse", 0.213, 0.1, False, 64, 0, "generated inputs; worst output 'boxes'"),
    by_family={"noise": 0.213, "ramps": 0.1},
)
PSNR = Check(
    "drift", "CPU", "psnr", 30.0, 20.0, True, 128, unit="dB", n_decimals=1, higher_is_better=True
)
DECIBELS = replace(PSNR, by_output={"good": 50.0, "bad": 30.0}, constant=12.0)
SENSITIVITIES = tuple(LayerSensitivity(f"w{i}", 0.1 + i / 100, 0.01 * (i + 1)) for i in range(12))


def test_values_keep_their_zeros() -> None:
    assert format_loss(DRIFT, 1.0) == "1.00"
    assert format_loss(DRIFT, 123.4) == "123"
    assert format_loss(DRIFT, float("inf")) == "inf"
    assert format_loss(DECIBELS, 12.0) == "12.0 dB"


@pytest.mark.parametrize(("count", "text"), [(8, "8"), (64, "64"), (391, "400"), (12345, "13,000")])
def test_estimated_counts_are_rounded_up(count: int, text: str) -> None:
    assert format_rounded(count) == text


def test_the_terminal_has_a_line_for_each_thing_known() -> None:
    assert loss_lines([OPINION, DRIFT]) == [
        "a constant answer scores 1.00",
        "by output: boxes 0.0974, scores 0.0912, e 0.0500, d 0.0400, c 0.0300, 2 more",
        "by kind of inputs: photographs 0.0974, noise 0.0500",
        "by sample: median 0.0500, 95 % within 0.100, worst 0.314",
    ]
    assert loss_lines([DECIBELS]) == [
        "a constant answer scores 12.0 dB",
        "by output: bad 30.0 dB, good 50.0 dB",
    ]
    bare = Check("drift", "CPU", "nrmse", 0.1, 0.1, True, 1, by_output={"y": 0.1}, by_family={"x": 0.1})
    assert loss_lines([bare]) == loss_lines([]) == loss_lines([OPINION]) == []


def test_the_worst_provider_is_named_where_there_are_several() -> None:
    worse = replace(DRIFT, provider="CUDA", value=0.098, constant=2.0)
    assert loss_lines([DRIFT, worse])[0] == "CUDA: a constant answer scores 2.00"


def test_a_second_opinion_is_a_line_and_no_verdict() -> None:
    line = "a second opinion, on generated inputs: nrmse 0.213"
    assert opinion_lines([DRIFT, OPINION, replace(OPINION, provider="CUDA")]) == [line]
    text = text_of(render_checks([DRIFT, OPINION]))
    assert line in text.splitlines()
    assert "opinion" not in text.replace(line, "")
    assert "FAILED" not in text
    told = replace(REPORT, checks=(DRIFT, OPINION))
    assert f"- {line}\n" in to_markdown(told)
    assert "| CPU | opinion | nrmse | 0.213 | 0.1 | - | 64 | 0 | - |" in to_markdown(told)
    blind = replace(OPINION, unproven="no output varies", note="")
    assert opinion_lines([blind]) == [
        "a second opinion, on other inputs: tell nothing: no output varies"
    ]


def test_files_have_everything() -> None:
    checks = [DRIFT, OPINION]
    opinion = "second opinion"
    assert loss_table(checks).columns == ("loss", "nrmse", opinion)
    assert loss_table(checks).rows == (
        ("worst output", "0.0974", "0.213"),
        ("a constant answer", "1.00", "-"),
        ("median sample", "0.0500", "-"),
        ("95 % of the samples within", "0.100", "-"),
        ("worst sample", "0.314", "-"),
    )
    assert [row[0] for row in output_table(checks).rows] == ["boxes", "scores", *"edcba"]
    assert family_table(checks).rows == (
        ("photographs", "0.0974", "-"),
        ("noise", "0.0500", "0.213"),
        ("ramps", "-", "0.100"),
    )
    report = replace(REPORT, checks=(DRIFT, OPINION), sensitivities=SENSITIVITIES)
    titles = [heading.text for heading in parse(to_html(report)).iter("h2")]
    assert titles[:3] == ["Evidence", "Verdict", "Summary"]
    assert titles[4:8] == ["Loss", "Loss by output", "Loss by kind of inputs", "Sensitivities"]


def test_outputs_are_compared_by_provider() -> None:
    table = output_table([DECIBELS, replace(DECIBELS, provider="CUDA", by_output={"good": 49.0})])
    assert table.columns == ("output", "CPU", "CUDA")
    assert table.rows == (("bad", "30.0 dB", "-"), ("good", "50.0 dB", "49.0 dB"))


def test_one_part_alone_is_no_table() -> None:
    bare = Check("drift", "CPU", "nrmse", 0.1, 0.1, True, 1, by_output={"y": 0.1}, by_family={"x": 0.1})
    for table in (loss_table, output_table, family_table):
        assert not table([bare]).rows
        assert not table([]).rows


def test_sensitivities_are_sorted_by_what_they_cost() -> None:
    rows = sensitivity_table(SENSITIVITIES).rows
    assert len(rows) == 12
    assert rows[0] == ("w11", "0.21", "0.12")
    undefined = LayerSensitivity("odd", 0.1, float("nan"))
    assert sensitivity_table((*SENSITIVITIES, undefined)).rows[0][0] == "odd"
    report = replace(REPORT, sensitivities=SENSITIVITIES)
    text = text_of(render_report(report, verbose=True))
    assert "\nw2 " in text
    assert "\nw1 " not in text  # the eleventh
    assert "Sensitivities" not in text_of(render_report(report))
    assert "| w0 | 0.1 | 0.01 |" in to_markdown(report)
