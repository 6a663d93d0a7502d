"""--dry-run: estimates, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxzip.cli.main import main
from onnxzip.options import Options
from onnxzip.propose.forecast import forecast
from tests.cases import CASES


def test_it_says_what_would_be_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = CASES["two_layer_perceptron"].write(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["--dry-run", str(source)]) == 0
    text = capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before
    words = [line.partition(" ")[0] for line in text.splitlines()]
    assert words[:5] == ["model", "weights", "inputs", "size", "time"]
    assert "nothing was written" in text
    out = tmp_path / "out.onnx"
    out.write_bytes(b"old")
    assert main(["--dry-run", str(source), str(out)]) == 0
    assert out.read_bytes() == b"old"


def test_a_larger_tolerance_makes_a_smaller_file(tmp_path: Path) -> None:
    source = CASES["two_layer_perceptron"].write(tmp_path)
    sizes = [forecast(source, Options(tolerance=t)).n_bytes_after for t in (0.3, 0.03)]
    assert sizes[0] < sizes[1]
    assert all(low <= typical <= high <= source.stat().st_size for low, typical, high in sizes)


def test_several_are_told_in_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    CASES["two_layer_perceptron"].write(folder)
    (folder / "bad.onnx").write_bytes(b"bad")
    assert main(["--dry-run", str(folder), str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "-> about" in printed.out
    assert "bad.onnx" in printed.err
    assert not (tmp_path / "out").exists()
