"""A crash of the process that works is one line of the process that waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.test_models import MODELS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody waits")


def run(
    folder: Path, source: str, prelude: str = "", options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Compress with a metric that does something to the process it is called in."""
    (folder / "doing.py").write_text(f"import os, signal\n\ndef measure(a, b):\n    {source}\n")
    command = ["sh", "-c", f'{prelude}exec "$@"', "sh", sys.executable, "-m", "onnxzip", "-q", "-1"]
    command += ["--passes", "scalar", "--tolerance", "1", *options]
    command += ["--metric", "doing:measure", str(MODELS / "digits_autoencoder.onnx"), "out.onnx"]
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_crash_is_one_line(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, f"os.kill(os.getpid(), signal.{name})")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "digits_autoencoder.onnx: the work" in done.stderr
    assert name in done.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_a_signal_to_whoever_waits_reaches_the_work(tmp_path: Path) -> None:
    """It ends as it does when it is alone."""
    done = run(tmp_path, "os.kill(os.getppid(), signal.SIGTERM); import time; time.sleep(60)")
    assert done.returncode == 128 + signal.SIGTERM
    assert "terminated" in done.stderr
    assert done.stderr.count("\n") == 1


def test_memory_that_a_kernel_takes_ends_the_run_at_once(tmp_path: Path) -> None:
    source = "import numpy, time; held = numpy.ones(1 << 29, numpy.uint8); time.sleep(100)"
    done = run(tmp_path, source, options=["--max-memory", "400MB"])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "digits_autoencoder.onnx: the run came to hold more than --max-memory; allow" in done.stderr
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("code", [0, 3])
def test_a_library_that_ends_the_process_is_no_success(code: int, tmp_path: Path) -> None:
    done = run(tmp_path, f"os._exit({code})")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f": a library that the work calls ended its process (exit code {code}); " in done.stderr


def test_the_limit_of_cpu_time_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    source = """from onnxzip.disk.temporary import temporary_file
    with temporary_file(__import__('pathlib').Path.cwd()):
        while True: pass"""
    done = run(tmp_path, source, prelude="ulimit -t 3; ")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "digits_autoencoder.onnx: the work took all of the 3 s of CPU time" in done.stderr
    assert not list(tmp_path.glob(".onnxzip-*"))


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("-v 81920", "onnxzip: out of memory; "),  # OpenBLAS of numpy would say it, and nobody else
        ("-v 102400", "onnxzip: out of memory; "),
        ("-v 225280", "digits_autoencoder.onnx: out of memory; "),  # that of scipy would try for ever
        ("-n 5", "ulimit -n"),
        ("-n 7", "ulimit -n"),
    ],
)
def test_what_the_system_does_not_give_is_one_line(limit: str, words: str, tmp_path: Path) -> None:
    done = run(tmp_path, "return 0.0", prelude=f"ulimit {limit}; ")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert words in done.stderr
