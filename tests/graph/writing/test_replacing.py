"""Whatever interrupts the writing, OUT is the old file or the new one, and nothing else is left."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import onnxzip
from onnxzip import graph
from onnxzip.cli.main import EXIT_SIGNAL, main
from onnxzip.errors import ModelError, OutputError
from onnxzip.graph.writing import files as write
from onnxzip.report.registry import exporters
from tests.cases import CASES

OLD = b"what was there before"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return CASES["two_layer_perceptron"].write(tmp_path)


@pytest.fixture(params=["absent", "old"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "small.onnx"
    if request.param == "old":
        path.write_bytes(OLD)
    return path


def assert_untouched(out: Path, existed: bool) -> None:
    assert [p.name for p in out.parent.iterdir()] == ([out.name] if existed else [])
    if existed:
        assert out.read_bytes() == OLD


class Failure:
    """A stand-in for a function of the operating system that fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *_: object, **__: object) -> None:
        raise self.error


ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    KeyboardInterrupt(),
    MemoryError(),
]
PLACES = ["fsync", "fdopen", "chmod", "replace", "mkstemp"]


def break_at(monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException) -> None:
    fail = Failure(error)
    if place in ("fsync", "fdopen"):
        monkeypatch.setattr(os, place, fail)
    elif place == "mkstemp":
        monkeypatch.setattr(tempfile, "mkstemp", fail)
    else:
        monkeypatch.setattr(Path, place, fail)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("place", PLACES)
def test_failure_while_writing(
    place: str,
    error: BaseException,
    source: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    existed = out.exists()
    with monkeypatch.context() as patch:
        break_at(patch, place, error)
        code = main([str(source), str(out), "-f", "-1", "--passes", "scalar"])
    err = capsys.readouterr().err
    assert code == (EXIT_SIGNAL + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1)
    assert err.count("\n") == 1
    assert str(out) in err
    assert_untouched(out, existed)


def test_disk_that_fills_up_halfway(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is opened, some bytes are written, and then there is no space."""
    existed = out.exists()
    open_file = os.fdopen

    def fdopen(descriptor: int, *args: object, **kwargs: object) -> object:
        file = open_file(descriptor, *args, **kwargs)

        class Halfway:
            def __enter__(self) -> Halfway:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def write(self, data: bytes) -> int:
                file.write(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

        return Halfway()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", fdopen)
        code = main([str(source), str(out), "-f", "-1", "--passes", "scalar"])
    assert code == 1
    assert "No space left on device" in capsys.readouterr().err
    assert_untouched(out, existed)


@pytest.mark.parametrize(
    "stage", ["reading", "running", "folding", "layer", "sensitivity", "trial", "rewriting", "checking"]
)
def test_interrupt_at_any_stage(stage: str, source: Path, out: Path) -> None:
    """Ctrl-C may come at any time; the progress callback is a place it can come from."""
    existed = out.exists()
    seen: list[str] = []

    def interrupt(name: str, _: float) -> None:
        seen.append(name)
        if name.startswith(stage):
            raise KeyboardInterrupt

    from onnxzip import pipeline

    options = onnxzip.Options(passes=("scalar",), level=1, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        pipeline.compress(source, out, options=options, progress=interrupt)
    assert_untouched(out, existed)


def test_progress_goes_forward(source: Path, out: Path) -> None:
    """The fraction never falls and stays within 0 and 1."""
    from onnxzip import pipeline

    fractions: list[float] = []
    pipeline.compress(
        source,
        out,
        options=onnxzip.Options(passes=("scalar",), level=1, overwrite=True),
        progress=lambda _, fraction: fractions.append(fraction),
    )
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] <= 1


def test_report_that_cannot_be_written(
    source: Path,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The disk is full when the model is complete: model and report are as they were."""
    existed = out.exists()
    folder = tmp_path / "reports"
    folder.mkdir()
    line = [str(source), str(out), "-f", "-1", "--passes", "scalar", "--report", f"{folder}/r.json"]
    with monkeypatch.context() as patch:
        patch.setitem(exporters(), ".json", fail_to("No space left on device"))
        assert main(line) == 1
    assert "the report cannot be written: No space left" in capsys.readouterr().err
    assert_untouched(out, existed)
    assert not list(folder.iterdir())
    assert main(line) == 0
    assert (folder / "r.json").exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_killed(stop: signal.Signals, source: Path, out: Path) -> None:
    """A real signal to a real process: exit code 130 or 143, one line, OUT as it was."""
    existed = out.exists()
    waiting = (
        "import sys, time; from onnxzip.choose import attempt; from onnxzip.cli.main import main\n"
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait(*a):\n    print('ready', flush=True); time.sleep(60)\n"
        "attempt.propose = wait\nsys.exit(main())"
    )
    command = [sys.executable, "-c", waiting, str(source), str(out), "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(stop)
        _, err = process.communicate(timeout=20)
    assert process.returncode == EXIT_SIGNAL + stop
    assert err.count("\n") == 1
    assert ("terminated" if stop == signal.SIGTERM else "interrupted") in err
    assert_untouched(out, existed)


def test_decompress_writes_atomically_too(
    source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    existed = out.exists()
    small = tmp_path / "compressed.onnx"
    onnxzip.compress(source, small, passes="scalar", level=1)
    with monkeypatch.context() as patch:
        break_at(patch, "fsync", OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OutputError, match="No space left"):
            onnxzip.decompress(small, out, overwrite=True)
    assert_untouched(out, existed)


def fail_to(action: str) -> Callable[[object, object], None]:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, action)

    return fail


@pytest.mark.parametrize("existed", [False, True])
def test_external_data_above_2_gib(
    existed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files belong together: when the second cannot be written, the first is not replaced either."""
    path = tmp_path / "big.onnx"
    data = tmp_path / "big.onnx.0123456789abcdef.data"
    model = graph.read_model(CASES["two_layer_perceptron"].build())
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    if existed:
        path.write_bytes(OLD)
        data.write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(write, "_append", fail_to("No space left on device"))
        with pytest.raises(OutputError, match="No space left"):
            graph.write_model(model, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == (["big.onnx", data.name] if existed else [])
    assert not existed or (path.read_bytes(), data.read_bytes()) == (OLD, OLD)
    graph.write_model(model, path)
    written = graph.read_model(path)
    for name, array in model.arrays.items():
        assert written.arrays[name].tobytes() == array.tobytes()


def test_permissions(source: Path, tmp_path: Path) -> None:
    """A new file gets what umask allows, a replaced one keeps its mode."""
    fresh, kept = tmp_path / "fresh.onnx", tmp_path / "kept.onnx"
    kept.write_bytes(OLD)
    kept.chmod(0o640)
    mask = os.umask(0o027)
    try:
        onnxzip.compress(source, fresh, passes="scalar", level=1)
    finally:
        os.umask(mask)
    onnxzip.compress(source, kept, passes="scalar", level=1, overwrite=True)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o640
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640


def test_only_out_is_written(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, no log, no temporary file stays: not beside OUT, not in TMPDIR, not in the cwd."""
    tmp, cwd = source.parent / "tmp", source.parent / "cwd"
    for folder in (tmp, cwd):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(cwd)
    onnxzip.compress(source, out, passes="scalar", level=1, overwrite=True)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert not list(tmp.iterdir())
    assert not list(cwd.iterdir())


def test_a_file_that_is_gone_does_not_fail_its_check(source: Path, tmp_path: Path) -> None:
    """Whatever the check says of it: the folder is to blame, and not the input."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def check(path: Path) -> None:
        shutil.rmtree(folder)
        raise ModelError("in.onnx: was changed after it was compressed")

    with pytest.raises(OutputError, match=r"out\.onnx: another program removed or moved its folder"):
        graph.write_model(graph.read_model(source), folder / "out.onnx", check=check)
