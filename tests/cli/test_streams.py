"""Standard streams that are closed or full: what the exit status says of OUT is true all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cases import CASES

OLD = b"what was there before"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return CASES["two_layer_perceptron"].write(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out.onnx"
    path.write_bytes(OLD)
    return path


def run(
    *arguments: object, closed: tuple[int, ...] = (), full: bool = False, home: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run onnxzip with closed descriptors, or with a stdout where there is no space."""

    def close() -> None:
        for number in closed:
            os.close(number)

    with Path("/dev/full" if full else os.devnull).open("wb") as stdout:
        return subprocess.run(
            [sys.executable, "-m", "onnxzip", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            preexec_fn=close,
            env=os.environ if home is None else {**os.environ, "HOME": home},
            check=False,
            timeout=60,
        )


@pytest.mark.parametrize(
    ("closed", "flags"), [((1,), ()), ((2,), ("-q",)), ((0, 1, 2), ()), ((0, 1, 2), ("-q",))]
)
def test_closed_streams_do_not_keep_a_model_back(
    closed: tuple[int, ...], flags: tuple[str, ...], source: Path, out: Path
) -> None:
    done = run("-f", "-1", "--passes", "scalar", *flags, source, out, closed=closed)
    assert done.returncode == 0
    assert out.read_bytes() != OLD
    if flags or 2 in closed:
        assert done.stderr == b""
    else:
        assert b"standard output: Bad file descriptor; " in done.stderr
        assert done.stderr.endswith(f"; {out} is complete\n".encode())


def test_processes_without_stderr_say_nothing_on_stdout(source: Path, tmp_path: Path) -> None:
    with (tmp_path / "stdout").open("wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "onnxzip", "-q", "-1", "-j", "2", source, tmp_path / "new.onnx"],
            stdout=stdout,
            preexec_fn=lambda: os.close(2),
            check=False,
            timeout=60,
        )
    assert (done.returncode, (tmp_path / "stdout").read_bytes()) == (0, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_home_that_takes_no_file_is_nothing_to_tell(source: Path, out: Path) -> None:
    """There onnxruntime keeps a number for its telemetry."""
    done = run("-q", "-f", "-1", "--passes", "scalar", source, out, home="/proc")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_stdout_is_a_warning_when_the_model_is_in_place(source: Path, out: Path) -> None:
    done = run("-f", "-1", "--passes", "scalar", source, out, full=True)
    assert done.returncode == 0
    assert out.read_bytes() != OLD
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("onnxzip: warning: standard output: No space left on device; ")
    assert line.endswith(f"; {out} is complete")


@pytest.mark.parametrize(
    ("line", "streams"),
    [
        *((line, {"full": True}) for line in ("-l {}", "-t {}", "--help", "--version")),
        *((line, {"closed": (1,)}) for line in ("-l {}", "--version")),
    ],
)
def test_what_only_prints_fails_in_one_line(
    line: str, streams: dict[str, object], source: Path, tmp_path: Path
) -> None:
    if "{}" in line:
        small = tmp_path / "small.onnx"
        assert run("-q", "-1", "--passes", "scalar", source, small).returncode == 0
        line = line.format(small)
    run_it: Callable[..., subprocess.CompletedProcess[bytes]] = run
    done = run_it(*line.split(), **streams)
    (said,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert said.startswith("onnxzip: standard output: ")
    assert "internal" not in said


def test_a_refusal_without_stderr_keeps_its_exit_status(tmp_path: Path, out: Path) -> None:
    done = run("-f", tmp_path / "absent.onnx", out, closed=(2,))
    assert (done.returncode, out.read_bytes()) == (1, OLD)
