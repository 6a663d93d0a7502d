"""Models from stdin and to stdout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import CASES

QUICK = ["-1", "--passes", "scalar"]


def run(*arguments: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "onnxzip", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CASES["two_layer_perceptron"].write(tmp_path_factory.mktemp("pipes"))


def test_a_pipe_gets_the_bytes_of_the_file_and_stderr_the_table(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert run(*QUICK, "-q", model, out).returncode == 0
    piped = run(*QUICK, "-", "-", data=model.read_bytes())
    assert piped.returncode == 0
    assert piped.stdout == out.read_bytes()
    assert b"bytes before" in piped.stderr
    quiet = run(*QUICK, "-q", "-", data=model.read_bytes())
    assert (quiet.stdout, quiet.stderr) == (piped.stdout, b"")
    listed = run("-l", "-", data=piped.stdout)
    assert b"whole file" in listed.stdout
    assert run("-tq", "-", data=piped.stdout).returncode == 0
    plain = run("-d", "-", "-", data=piped.stdout)
    assert plain.returncode == 0
    assert len(plain.stdout) > len(piped.stdout)


@pytest.mark.parametrize("mode", [[], ["-l"], ["-t"]])
def test_nothing_on_stdin(mode: list[str]) -> None:
    result = run(*mode, "-")
    assert result.returncode == 1
    assert result.stderr.startswith(b"onnxzip: standard input: is empty; ")
    assert result.stdout == b""


def test_what_is_no_model_is_called_by_its_stream() -> None:
    result = run("-", "-", data=b"no model")
    assert result.returncode == 1
    assert result.stderr.startswith(b"onnxzip: standard input: ")
    assert result.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away_is_told_in_a_line(model: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        command = [sys.executable, "-m", "onnxzip", *QUICK, "-q", str(model), "-"]
        result = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write_end)
    assert result.returncode == 1
    expected = b"onnxzip: standard output: its reader has gone away; see why that ended\n"
    assert result.stderr == expected


def test_a_terminal_gets_no_model(model: Path) -> None:
    main_end, other_end = os.openpty()
    try:
        command = [sys.executable, "-m", "onnxzip", str(model), "-"]
        result = subprocess.run(command, stdout=other_end, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(other_end)
        os.close(main_end)
    assert result.returncode == 2
    assert b"is a terminal; send the model to a file" in result.stderr
