"""Signals: before the replacement OUT is untouched, after it the run is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onnxzip.cli.stopping import Stopped, deaf, stoppable
from tests.cases import CASES

OLD = b"what was there before"
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

WAITING = """if True:
    import signal, sys, time
    from pathlib import Path
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from onnxzip.cli import main as cli
    from onnxzip.disk import replacing
    if {place!r} == "before":
        from onnxzip.choose import attempt
        owner, name, is_after = attempt, "propose", False
    elif {place!r} == "during":
        owner, name, is_after = Path, "replace", True
    elif {place!r} == "told":
        owner, name, is_after = cli, "write_output", False
    work = getattr(owner, name)
    def wait(*arguments):
        result = work(*arguments) if is_after else None
        print("ready", file=sys.stderr, flush=True)
        time.sleep({seconds})
        return result if is_after else work(*arguments)
    setattr(owner, name, wait)
    sys.exit(cli.main())
"""


def run(
    place: str, number: signal.Signals, tmp_path: Path, *flags: str, ignored: bool = False
) -> tuple[int, str, Path]:
    """Send a signal when a run is at a place; return its exit status, what it said, and OUT."""
    out = tmp_path / "out.onnx"
    out.write_bytes(OLD)
    source = CASES["two_layer_perceptron"].write(tmp_path)
    code = WAITING.format(place=place, seconds=1 if ignored or place == "during" else 60)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "-f", "-1", "--passes", "scalar", *flags, str(source), str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: signal.signal(number, signal.SIG_IGN)) if ignored else None,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err, out


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_before_the_replacement(number: signal.Signals, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, err, out = run("before", number, tmp_path, "--report", str(report))
    assert code == 128 + number
    word = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}[number.name]
    assert err == f"onnxzip: {word}; {out} is untouched\n"
    assert out.read_bytes() == OLD
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "out.onnx"]


def test_a_signal_that_a_library_turns_into_its_own_error(tmp_path: Path) -> None:
    """As modules in C do that are being imported: "initialization failed"."""
    code = """if True:
    import os, signal, sys
    from onnxzip.cli import main as cli
    def work(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error
    cli.compress_file = work
    sys.exit(cli.main())
"""
    source = CASES["two_layer_perceptron"].write(tmp_path)
    command = [sys.executable, "-c", code, "-v", str(source), str(tmp_path / "out.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    finding = f"onnxzip: terminated; {tmp_path / 'out.onnx'} is untouched\n"
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, finding)


LOADING = """if True:
    import os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)
    sys.argv = ["onnxzip", "-l", "in.onnx"]
    sys.meta_path.insert(0, Finder())
    from onnxzip.cli.main import main
    sys.exit(main())
"""


@pytest.mark.parametrize(
    "module", ["importlib.metadata", "onnxzip.api", "onnxzip.cli.main", "onnxzip.runtime.apart"]
)
def test_ctrl_c_while_the_command_is_loaded_is_one_line(module: str) -> None:
    command = [sys.executable, "-c", LOADING.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "onnxzip: interrupted\n")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_while_files_are_replaced_comes_too_late(
    number: signal.Signals, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    code, err, out = run("during", number, tmp_path, "-q", "--report", str(report))
    assert (code, err) == (0, "ready\n")  # of the report, which is put in its place as well
    assert out.read_bytes() != OLD
    assert report.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "out.onnx", "report.json"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_while_the_result_is_told_ends_a_run_that_is_done(
    number: signal.Signals, tmp_path: Path
) -> None:
    code, err, out = run("told", number, tmp_path)
    assert code == 0
    assert err.endswith(f"; {out} is complete\n")
    assert err.count("\n") == 1
    assert out.read_bytes() != OLD


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    code, err, out = run("before", signal.SIGHUP, tmp_path, "-q", ignored=True)
    assert (code, err) == (0, "")
    assert out.read_bytes() != OLD


@pytest.mark.parametrize("is_process", [True, False])
def test_after_a_run_signals_are_what_they_were(is_process: bool) -> None:
    """But for a process that has replaced files and only shuts down: its exit status stays 0."""
    before = [signal.getsignal(number) for number in NUMBERS]
    try:
        with stoppable(is_process=is_process) as stops:
            stops.hold()
            os.kill(os.getpid(), signal.SIGTERM)
            stops.release()
            with pytest.raises(Stopped) as stopped:
                os.kill(os.getpid(), signal.SIGTERM)
            assert stopped.value.word == "terminated"
        after = [signal.getsignal(number) for number in NUMBERS]
        assert after == ([signal.SIG_IGN] * 3 if is_process else before)
    finally:
        for number, handler in zip(NUMBERS, before, strict=True):
            signal.signal(number, handler)


def test_a_second_signal_does_not_disturb_the_cleaning_up() -> None:
    with stoppable(is_process=False):
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_another_thread_hears_waits_as_well() -> None:
    ending = threading.Event()
    other = threading.Thread(target=ending.wait)
    other.start()
    done = []

    def be_deaf() -> None:
        with deaf():
            signal.pthread_kill(other.ident or 0, signal.SIGTERM)
            time.sleep(0.1)
            done.append("the block")

    try:
        with stoppable(is_process=False), pytest.raises(Stopped):
            be_deaf()
    finally:
        ending.set()
        other.join()
    assert done == ["the block"]
