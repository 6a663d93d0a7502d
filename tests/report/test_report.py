"""Exports of a report: what they say, that JSON reads back, that 80 columns are enough."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from types import MappingProxyType
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from onnxzip.errors import InputError
from onnxzip.records.check import Check, SampleLosses
from onnxzip.records.costs.latency import Latency, Processor, Ratio, Speed
from onnxzip.records.finding import Finding
from onnxzip.records.plan import Rewrite, Skip
from onnxzip.report.example import Example, Shown
from onnxzip.report.html import export as to_html
from onnxzip.report.json import SCHEMA, from_json
from onnxzip.report.json import export as to_json
from onnxzip.report.markdown import export as to_markdown
from onnxzip.report.numbers import (
    format_bytes,
    format_limit,
    format_memory,
    format_metric,
    format_ratio,
    format_seconds,
    format_shape,
)
from onnxzip.report.record import (
    Inspection,
    LayerReport,
    LayerSensitivity,
    LoadSeconds,
    Port,
    Report,
    StoredWeight,
    TrialReport,
)
from onnxzip.report.terminal import render_checks, render_inspection, render_report

LAYERS = (
    LayerReport(
        "layer1.conv.weight",
        "Conv",
        (16, 16, 3, 3),
        "float32",
        "dct",
        "stored",
        {"rate": 0.5},
        9216,
        1024,
        0.0412,
    ),
    LayerReport(
        "encoder.layer.11.attention.output.dense.weight_transposed",
        *(
            "MatMul",
            (384, 1536),
            "float32",
            "lowrank",
            "computed",
            {},
            2359296,
            301555,
            0.093,
        ),
    ),
)
CHECKS = (
    Check("exact", "CPU", "rel_l2", 3.1e-7, 1e-5, True, 16, 0),
    Check("exact", "CPU", "rel_l2", 4.4e-6, 1e-5, True, 16, 0, "optimisation off and all"),
    Check("drift", "CPU", "rel_l2", 0.0523, 0.1, True, 16, 0, "generated inputs"),
    Check("exact", "CUDA", "rel_l2", 3.1e-4, 1e-5, False, 8, 0),
    Check("drift", "CUDA", "rel_l2", 0.0524, 0.1, True, 16, 0, "generated inputs"),
)
SKIPS = (
    *(
        Skip(f"bias{i}", name, f"{9 + i} elements; needs at least 256")
        for i in range(37)
        for name in ("dct", "wavelet")
    ),
    Skip("layer1.conv.weight", "wavelet", "no gain"),
)
REWRITES = (Rewrite("fold", "bn1", "batch norm folded"), Rewrite("fold", "bn2", "batch norm folded"))
REPORT = Report(
    *(
        SCHEMA,
        "resnet20.onnx",
        "ab" * 32,
        "cd" * 32,
        LAYERS,
        REWRITES,
        SKIPS,
        CHECKS,
        1094689,
        152340,
        9000,
        2500,
        200000,
        100000,
        12.31,
    ),
    settings={"metric": "rel_l2", "seed": 0},
    versions={"onnxzip": "0.1.0"},
    load_bytes=1_234_567,
)


def text_of(content: RenderableType, width: int = 80, is_terminal: bool = False) -> str:
    file = io.StringIO()
    colours = "standard" if is_terminal else None
    Console(file=file, width=width, force_terminal=is_terminal, color_system=colours).print(content)
    return file.getvalue()


def row_of(text: str, start: str) -> str:
    return next(" ".join(line.split()) for line in text.splitlines() if line.strip().startswith(start))


# Numbers


def test_numbers_have_units() -> None:
    assert format_bytes(1094689) == "1,094,689 B"
    assert format_ratio(1094689, 152340) == "7.19x"
    assert format_ratio(5, 0) == "-"
    sizes = {0: "-", None: "-", 999: "999 B", 1000: "1 kB", 999_499: "999 kB", 999_500: "1 MB"}
    sizes |= {8_388_608: "8.39 MB", 1_676_400_336: "1.68 GB", 10**16: "1e+04 TB"}
    assert {n_bytes: format_memory(n_bytes) for n_bytes in sizes} == sizes
    in_decibels = replace(CHECKS[2], unit="dB", n_decimals=1, higher_is_better=True, limit=-math.inf)
    in_points = replace(CHECKS[2], unit="pt", scale=100.0, n_decimals=2, limit=math.inf)
    assert format_metric(in_decibels, 35.24) == "35.2 dB"
    assert format_metric(in_decibels, math.inf) == "inf dB"
    assert format_limit(in_decibels) == format_limit(in_points) == "none"
    assert format_limit(replace(in_points, limit=0.01)) == "1.00 pt"
    assert format_metric(in_points, 0.004) == "0.40 pt"
    assert format_metric(CHECKS[2], 0.05234) == "0.0523"
    assert format_shape((64, 3, 3, 3)) == "64x3x3x3"
    assert format_shape(()) == "scalar"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.4, "59.4 s"),
        (59.97, "1 min 00 s"),
        (65, "1 min 05 s"),
        (3600, "60 min 00 s"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


# Terminal


def test_final_table_has_bytes_ratio_error_verdicts_and_time() -> None:
    text = text_of(render_report(REPORT))
    assert "1,094,689 B    152,340 B  7.19x        0.0524    0.1  12.3 s" in text
    assert row_of(text, "CPU") == "CPU 4.4e-06 0.0523 16 passed"
    assert row_of(text, "CUDA") == "CUDA 0.00031 0.0524 16 FAILED: exact"
    assert text.count("drift: generated inputs") == 1
    assert "optimisation" not in text
    assert "1 dct, 1 lowrank; 37 left as they were" in text
    assert "layer1.conv.weight" not in text


def test_verbose_adds_layers_rewrites_and_grouped_reasons() -> None:
    text = text_of(render_report(REPORT, verbose=True), width=100)
    assert row_of(text, "layer1.conv.weight").startswith("layer1.conv.weight dct 16x16x3x3 3.56 ")
    assert "exact: optimisation off and all" in text
    assert row_of(text, "37 x") == "37 x 9 to 45 elements; needs at least 256 dct, wavelet"
    assert row_of(text, "1 x") == "1 x no gain wavelet"
    assert row_of(text, "2 x") == "2 x batch norm folded fold"
    assert row_of(text, "small tensors") == "small tensors rounding 2,500 B 3.60x"
    assert row_of(text, "graph and") == "graph and all else 100,000 B 2.00x"
    assert row_of(text, "whole file") == "whole file 152,340 B 1.23 MB 7.19x"


def test_80_columns_are_enough_and_names_stay_whole() -> None:
    text = text_of(render_report(REPORT, verbose=True))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    first_column = "".join(line.split(" ")[0] for line in text.splitlines())
    assert LAYERS[1].name in first_column


def test_colour_on_terminals_only() -> None:
    assert "\x1b[" in text_of(render_report(REPORT), is_terminal=True)
    assert "\x1b[" not in text_of(render_report(REPORT))


def test_names_are_not_markup() -> None:
    layer = replace(LAYERS[0], name="[bold]w[/bold]")
    assert "[bold]w[/bold]" in text_of(render_report(replace(REPORT, layers=(layer,)), verbose=True))


def test_worst_check_counts_in_the_metrics_direction() -> None:
    psnr = Check(
        "drift", "CPU", "psnr", 50.0, 30, True, 4, unit="dB", n_decimals=1, higher_is_better=True
    )
    better, worse = psnr, replace(psnr, value=31.0)
    assert "31.0 dB" in text_of(render_checks((better, worse)))
    failed = replace(better, passed=False, value=29.0)
    assert "29.0 dB" in text_of(render_checks((worse, failed)))


def test_a_report_without_checks_says_so() -> None:
    assert "not measured" in text_of(render_report(replace(REPORT, checks=())))


def test_listing_says_what_goes_in_and_comes_out() -> None:
    inputs = (
        Port("pixels", "float32", ("batch", 3, 32, 32)),
        Port("[bold]past[/bold]", "seq(float[n])", None),
        Port("rank", "float16", None),
        Port("rate", "int64", ()),
    )
    outputs = (Port("logits", "float32", ("batch", 10)),)
    text = text_of(render_inspection(Inspection("x.onnx", 10, 10, (), inputs, outputs)))
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split() == ["input", "type", "shape"]
    assert lines[2] == "pixels             float32        batch x 3 x 32 x 32"
    assert lines[3] == "[bold]past[/bold]  seq(float[n])  -"
    assert row_of(text, "rank") == "rank float16 any"
    assert row_of(text, "rate") == "rate int64 scalar"
    assert row_of(text, "output") == "output type shape"
    assert row_of(text, "logits") == "logits float32 batch x 10"
    assert text.index("logits") < text.index("whole file")
    assert lines[-1] == "data for -c: .npz, an array for each input; first axis = samples"
    alone = text_of(render_inspection(Inspection("x.onnx", 10, 10, (), inputs[:1])))
    hint = "data for -c: .npy, or .npz with an array 'pixels'; first axis = samples"
    assert alone.splitlines()[-1] == hint


def test_listing() -> None:
    weights = (
        StoredWeight("conv.weight", "dct", (16, 16, 3, 3), "float32", 9216, 576, 0.05, 110_592),
        StoredWeight("fc.weight", "plain", (10, 64), "float32", 2560, 2560),
    )
    text = text_of(render_inspection(Inspection("x.onnx", 4000, 12000, weights)))
    assert row_of(text, "conv.weight") == "conv.weight dct 16x16x3x3 2.00 576 B 111 kB 16.00x 0.05"
    assert row_of(text, "fc.weight") == "fc.weight plain 10x64 32.00 2,560 B - 1.00x -"
    assert row_of(text, "graph and") == "graph and all else 864 B 0.26x"
    assert row_of(text, "whole file") == "whole file 4,000 B 111 kB 3.00x"


# Markdown


def test_markdown_tables_are_well_formed() -> None:
    name = "a|b"
    report = replace(REPORT, layers=(replace(LAYERS[0], name=name), *LAYERS[1:]))
    text = to_markdown(report)
    for block in text.split("\n\n"):
        if block.startswith("|"):
            bars = {line.replace(r"\|", "").count("|") for line in block.splitlines()}
            assert len(bars) == 1
    assert r"| a\|b | dct | 16x16x3x3 |" in text
    assert "| 1,094,689 B | 152,340 B | 7.19x | 0.0524 | 0.1 | 12.3 s |" in text
    assert text.startswith("# resnet20.onnx: 7.19x smaller\n")
    assert text.endswith("\n")
    assert "ab" * 32 in text


def test_markdown_leaves_empty_sections_out() -> None:
    text = to_markdown(replace(REPORT, layers=(), small_before=0, skips=(), rewrites=()))
    assert "## Weights" not in text
    assert "## Refusals" not in text
    assert "\n\n\n" not in text


# JSON


def test_json_reads_back() -> None:
    assert from_json(to_json(REPORT)) == REPORT


def test_json_without_load_memory_is_read() -> None:
    """Reports of before it was counted do not say that there is none, nor what was tried and shown."""
    record = json.loads(to_json(REPORT))
    later = ("load_bytes", "trials", "examples", "load_seconds", "command", "config", "task", "speed")
    for name in later:
        del record[name]
    for layer in record["layers"]:
        del layer["load_bytes"]
    found = from_json(json.dumps(record))
    assert found == replace(REPORT, load_bytes=None)
    assert found.layers[0].load_bytes is None
    assert (
        row_of(text_of(render_report(found, verbose=True), 100), "whole")
        == "whole file 152,340 B - 7.19x"
    )


def test_json_has_the_schema_first_and_the_order_of_the_record() -> None:
    keys = list(json.loads(to_json(REPORT)))
    assert keys[0] == "schema"
    assert keys == list(Report.__dataclass_fields__)


def test_json_is_standard_also_for_infinite_and_undefined_values() -> None:
    checks = tuple(replace(CHECKS[0], value=value) for value in (math.inf, -math.inf, math.nan))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = to_json(replace(REPORT, checks=checks))
    json.loads(text, parse_constant=refuse)
    values = [check.value for check in from_json(text).checks]
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])


def test_json_takes_numpy_scalars_and_read_only_mappings() -> None:
    check = Check(
        "drift", "CPU", "rel_l2", np.float32(0.5), np.float64(1.0), np.bool_(True), np.int64(3)
    )  # type: ignore[arg-type]
    report = replace(REPORT, checks=(check,), settings=MappingProxyType({"seed": 0}))
    plain = replace(check, value=0.5, limit=1.0, passed=True, n_samples=3)
    assert from_json(to_json(report)) == replace(report, checks=(plain,), settings={"seed": 0})


NAMES = st.text(max_size=8)
FLOATS = st.floats(allow_nan=False)
ERRORS = st.floats(0, allow_nan=False)
RANGES = st.tuples(FLOATS, FLOATS).map(sorted).map(tuple)
COUNTS = st.integers(0, 2**40)
SETTINGS = st.dictionaries(
    NAMES, st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(0, 1) | NAMES, max_size=3
)
SPREADS = st.builds(
    *(SampleLosses, FLOATS, FLOATS, FLOATS),
    ranked=st.lists(FLOATS, max_size=4).map(tuple),
    places=st.lists(COUNTS, min_size=3, max_size=3).map(tuple),
)
NUMBERS = st.lists(FLOATS, min_size=2, max_size=2).map(tuple)
SHOWN = st.one_of(
    st.builds(
        *(Shown, NAMES, st.just("float16"), st.just((2,)), st.sampled_from(["scores", "curve"]), NAMES),
        *(st.just((0, 1)), NUMBERS, st.just(()) | NUMBERS),
    ),
    st.builds(
        *(Shown, NAMES, st.just("float32"), st.just((2,)), st.just("values"), NAMES, st.just((0, 1))),
        st.tuples(COUNTS | st.booleans(), FLOATS),
    ),
    st.builds(
        *(Shown, NAMES, st.just("string"), st.just((2,)), st.just("values"), NAMES, st.just((0, 1))),
        st.tuples(NAMES | st.sampled_from(["inf", "nan"]), NAMES),
    ),
    st.builds(
        *(Shown, NAMES, NAMES, st.just((8, 8)), st.just("picture"), NAMES),
        **{"original_png": st.just("iVBORw0KGgo="), "size": st.just((8, 8))},
    ),
)
EXAMPLES = st.builds(
    *(Example, COUNTS, NAMES, st.none() | FLOATS),
    st.lists(SHOWN, max_size=2).map(tuple),
    st.lists(SHOWN, max_size=2).map(tuple),
    COUNTS,
)
SECONDS = st.floats(0, 1e9)
LATENCIES = st.builds(Latency, st.lists(SECONDS, min_size=2, max_size=9).map(tuple))
RATIOS = st.builds(lambda low, value, high: Ratio(value, low, high), ERRORS, ERRORS, st.just(math.inf))
SOME = st.integers(1, 2**40)
SPEEDS = st.builds(
    *(Speed, LATENCIES, LATENCIES, RATIOS, SOME, st.none() | SOME),
    *(NAMES, st.builds(Processor, NAMES, st.lists(NAMES, max_size=2).map(tuple))),
)
TRIALS = st.builds(
    *(TrialReport, st.sampled_from(["planned", "refitted", "sized", "proved"]), COUNTS),
    *(st.none() | FLOATS, st.booleans(), st.booleans()),
)
REPORTS = st.builds(
    Report,
    st.just(SCHEMA),
    *(NAMES, NAMES, NAMES),
    st.lists(
        st.builds(
            LayerReport,
            *(NAMES, NAMES, st.lists(COUNTS, max_size=4).map(tuple), NAMES, NAMES),
            st.sampled_from(["stored", "computed"]),
            *(SETTINGS, COUNTS, COUNTS, ERRORS, st.none() | COUNTS),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(st.builds(Rewrite, NAMES, NAMES, NAMES), max_size=3).map(tuple),
    st.lists(st.builds(Skip, NAMES, NAMES, st.from_regex(r"[a-z]+ \d{0,3} [a-z]+", fullmatch=True))).map(
        tuple
    ),
    st.lists(
        st.builds(
            Check,
            *(
                st.sampled_from(["exact", "drift", "structure", "opinion"]),
                NAMES,
                st.sampled_from(["psnr", "top1", "x"]),
            ),
            *(FLOATS, FLOATS, st.booleans(), COUNTS, st.none() | COUNTS, NAMES),
            interval=st.none() | RANGES,
            higher_is_better=st.booleans(),
            unproven=NAMES,
            constant=st.none() | FLOATS,
            by_output=st.dictionaries(NAMES, FLOATS, max_size=2),
            by_family=st.dictionaries(NAMES, FLOATS, max_size=2),
            per_sample=st.none() | SPREADS,
            n_to_settle=st.none() | COUNTS,
        ),
        max_size=3,
    ).map(tuple),
    *([COUNTS] * 6),
    st.floats(0, 1e6),
    st.lists(st.builds(Finding, NAMES, NAMES), max_size=2).map(tuple),
    st.lists(st.builds(LayerSensitivity, NAMES, ERRORS, ERRORS), max_size=2).map(tuple),
    *(SETTINGS, st.dictionaries(NAMES, NAMES, max_size=2)),
    trials=st.lists(TRIALS, max_size=4).map(tuple),
    examples=st.lists(EXAMPLES, max_size=2).map(tuple),
    load_seconds=st.none() | st.builds(LoadSeconds, st.floats(0, 100), st.floats(0, 100)),
    command=NAMES,
    task=st.sampled_from(["compress", "test"]),
    speed=st.none() | SPEEDS,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(REPORTS)
def test_any_report_reads_back_and_renders(report: Report) -> None:
    assert from_json(to_json(report)) == report
    assert to_markdown(report).startswith("# ")
    assert text_of(render_report(report, verbose=True))
    ET.fromstring(to_html(report).partition("<body")[2].join(("<body", "")).removesuffix("</html>\n"))


IDS = Example(
    0, "one of the first samples", None, (Shown("x", "int64", (1,), "values", "", (0,), (101,)),), ()
)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "not a report"),
        ("[]", "not a report"),
        ("{}", "not a report"),
        ('{"schema": 99}', "schema 99, but this onnxzip reads 4; upgrade"),
        ('{"schema": 1}', "schema 1, but this onnxzip reads 4; .* compress the model again"),
        (to_json(REPORT).replace('"bytes_after"', '"bytes_then"'), "not a report"),
        (to_json(REPORT).replace('"speed": null', '"speed": {}'), "not a report"),
        (to_json(REPORT).replace('"value": 3.1e-07', '"value": null'), "not a report"),
        (to_json(REPORT).replace('"value": 3.1e-07', '"value": ' + "9" * 400), "not a report"),
        (to_json(REPORT).replace('"seconds": ', '"seconds": true, "x": '), "not a report"),
        (
            to_json(replace(REPORT, versions={})).replace('"versions": {}', '"versions": []'),
            "not a report",
        ),
        (to_json(replace(REPORT, examples=(IDS,))).replace("101", '"text"'), "could not convert"),
    ],
)
def test_json_of_something_else_is_refused(text: str, finding: str) -> None:
    with pytest.raises(InputError, match=finding):
        from_json(text)


def test_warnings_come_before_the_verdict() -> None:
    report = replace(REPORT, warnings=(Finding("range", "input 'x' has values from 0 to 255"),))
    text = to_markdown(report)
    first = (
        "## Warnings and evidence\n\n- warning: input 'x' has values from 0 to 255\n- the verdict rests"
    )
    assert first in text
    assert text.index("the verdict rests on 16 samples that onnxzip made up (seed 0)") < text.index(
        "## Verdict"
    )
    assert "Warnings" not in to_markdown(REPORT)


def test_names_stay_on_their_line_and_are_no_html_in_markdown() -> None:
    layer = replace(LAYERS[0], name="<script>a|b\nc")
    text = to_markdown(replace(REPORT, source="in\n<b>.onnx", layers=(layer,), command="a\033b\nc"))
    assert text.replace("\n", "").isprintable()
    assert "a\\x1bb\nc\n" in text
    assert text.startswith("# in &lt;b>.onnx: ")
    assert "| &lt;script>a\\|b\\nc |" in text
    assert "<script" not in text
