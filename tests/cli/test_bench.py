"""onnxzip --bench: what it takes, what it prints, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxzip.cli.arguments import parse
from onnxzip.cli.command import command_of
from onnxzip.cli.main import main
from onnxzip.errors import ModelError, UsageError
from onnxzip.options import Options
from onnxzip.report.comparison.record import Comparison
from tests.report.test_comparison import COMPARISON

Calls = list[tuple[Path, Options, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found: Calls = []

    def compare(
        source: Path, *, options: Options, progress: Callable[..., None] | None, command: str
    ) -> Comparison:
        found.append((source, options, command))
        return COMPARISON

    monkeypatch.setattr("onnxzip.comparison.comparing.compare", compare)
    return found


def test_options_are_those_of_compressing() -> None:
    request = parse(["--bench", "-c", "x.npy", "--labels", "y.npy", "--metric", "top1", "-9", "m.onnx"])
    assert (request.mode, request.source, request.output) == ("bench", Path("m.onnx"), None)
    assert request.options.metric == "top1"
    assert request.options.level == 9
    assert command_of(request) == (
        "onnxzip --bench --calibration x.npy --labels y.npy --metric top1 -9 m.onnx"
    )


@pytest.mark.parametrize(
    "line",
    [
        "--bench",
        "--bench m.onnx out.onnx",
        "--bench -f m.onnx",
        "--bench --target-size 1MB m.onnx",
        "--bench -t m.onnx",
        "--bench --against a.onnx m.onnx",
    ],
)
def test_what_has_no_meaning_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line.split())


def test_table_and_warnings(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bench", "m.onnx"]) == 0
    told = capsys.readouterr()
    assert "plain file" in told.out
    assert "not installed: pip install onnxslim" in told.out
    assert told.err == "onnxzip: warning: half of the samples are copies\n"
    assert calls == [(Path("m.onnx"), Options(), "onnxzip --bench m.onnx")]


def test_json_is_all_that_stdout_holds(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bench", "--json", "m.onnx"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "m.onnx"


@pytest.mark.parametrize("suffix", ["html", "md", "json"])
def test_reports(suffix: str, calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / f"bench.{suffix}"
    assert main(["--bench", "-q", "m.onnx", "--report", str(report)]) == 0
    assert "NNCodec" in report.read_text("utf-8")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")  # warnings stand in the report


def test_a_fault_leaves_no_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> Comparison:
        raise ModelError("m.onnx: cannot be read; check the path")

    monkeypatch.setattr("onnxzip.comparison.comparing.compare", fail)
    report = tmp_path / "bench.html"
    assert main(["--bench", "m.onnx", "--report", str(report)]) == 1
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == "onnxzip: m.onnx: cannot be read; check the path\n"
