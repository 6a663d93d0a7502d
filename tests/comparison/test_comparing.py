"""The whole comparison: onnxzip beside tools that work, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxzip.comparison import bench
from onnxzip.comparison.comparing import compare
from onnxzip.comparison.tools import tools
from onnxzip.errors import ModelError, UsageError
from onnxzip.options import Options
from onnxzip.report.comparison.record import OWN_NAME, Comparison
from onnxzip.report.json import export
from tests.comparison import fake_tools as fakes
from tests.comparison.dense import inputs, write_dense

TRIED = [fakes.Copies(), fakes.Packs(), fakes.Crashes(), fakes.Ruins(), fakes.Missing()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dense(tmp_path_factory.mktemp("source") / "dense.onnx", 2048, has_data=True)


@pytest.fixture(scope="module")
def shown() -> list[float]:
    return []


@pytest.fixture(scope="module")
def found(source: Path, shown: list[float]) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "tools", lambda: {tool.name: tool for tool in TRIED})
        options = Options(calibration=inputs(64), level=1)
        return compare(source, options=options, progress=lambda _, f: shown.append(f), command="again")


def test_every_tool_has_a_line(found: Comparison) -> None:
    assert sorted(line.tool for line in found.tools) == sorted(
        [OWN_NAME, *(tool.name for tool in TRIED)]
    )
    sizes = [line.n_bytes or 0 for line in found.tools]
    assert sizes == sorted(sizes, reverse=True)
    assert found.command == "again"
    assert "16 samples: held out" in found.inputs


def test_external_data_counts(found: Comparison, source: Path) -> None:
    n_bytes = sum(path.stat().st_size for path in source.parent.iterdir())
    assert found.bytes_before == found.plain.n_bytes == n_bytes


def test_what_loads_is_measured(found: Comparison) -> None:
    lines = {line.tool: line for line in found.rows}
    for name in ("plain file", OWN_NAME):
        line = lines[name]
        assert not line.problem
        assert line.load is not None
        assert line.latency is not None
        assert line.loss is not None
        assert line.loss.passed
        assert line.loss.n_samples == 16
    assert lines["plain file"].latency == 1
    assert (lines[OWN_NAME].n_bytes or 0) < found.bytes_before / 2


def test_what_has_to_be_unpacked_only_loses(found: Comparison) -> None:
    line = next(line for line in found.tools if line.tool == "packs")
    assert (line.n_bytes, line.is_loaded, line.load, line.latency) == (4, False, None, None)
    assert line.loss is not None
    assert line.loss.value == 0


def test_what_fails_says_why_and_ends_nothing(found: Comparison) -> None:
    problems = {line.tool: line.problem for line in found.tools if line.problem}
    assert problems.keys() == {"copies", "crashes", "ruins", "missing"}
    assert problems["missing"] == "not installed: pip install no-such-package"
    assert "crash" in problems["crashes"]
    assert "cannot load it" in problems["ruins"]
    assert problems["copies"].startswith("failed: model.onnx")  # without the data beside it


def test_progress_rises_to_the_end(found: Comparison, shown: list[float]) -> None:
    assert found.seconds > 0
    assert shown == sorted(shown)
    assert shown[-1] == 1


def test_json_holds_the_record(found: Comparison) -> None:
    record = json.loads(export(found))
    assert record["source"].endswith("dense.onnx")
    assert [line["tool"] for line in record["tools"]] == [line.tool for line in found.tools]
    assert record["plain"]["loss"]["value"] == 0


def test_what_cannot_be_done_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target_size"):
        compare(source, options=Options(target_size=1000))
    with pytest.raises(ModelError, match=r"none\.onnx"):
        compare(tmp_path / "none.onnx")


def test_a_tolerance_that_cannot_be_met_is_a_line(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "tools", lambda: {"xz": tools()["xz"]})
    options = Options(calibration=inputs(64), tolerance=1e-9, level=1, skip=("lossless",))
    lines = {line.tool: line for line in compare(source, options=options).tools}
    assert lines[OWN_NAME].problem.startswith("failed: ")
    assert lines["xz -9e"].n_bytes is not None
