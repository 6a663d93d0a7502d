"""Bad input through the command line: exit code, one line that helps, and OUT as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.cli.main import main
from onnxzip.errors import CalibrationError, ToleranceError, UsageError
from tests.cases import BAD_FILES, CASES, BadFile
from tests.test_models import MODELS

OLD = b"what was there before"


class Terminal:
    """A folder with an input, an older OUT, and a way to call onnxzip on them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.source = CASES["two_layer_perceptron"].write(folder)
        (folder / "out").mkdir()
        self.out = folder / "out" / "small.onnx"
        self.out.write_bytes(OLD)

    def call(self, *arguments: object) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        streams = self.capsys.readouterr()
        self.printed = streams.out
        return code, streams.err

    def refuse(self, code: int, *arguments: object) -> str:
        """Assert that a call fails with one line on stderr and changes nothing; return the line."""
        found, err = self.call(*arguments)
        assert found == code, err
        assert self.printed == ""
        assert err.startswith("onnxzip: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert "Traceback" not in err
        assert "internal error" not in err
        assert self.out.read_bytes() == OLD
        assert [p.name for p in self.out.parent.iterdir()] == [self.out.name]
        return err

    def compress(self, *arguments: object) -> None:
        code, err = self.call(self.source, self.out, "-f", *arguments)
        assert (code, err) == (0, "")


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, capsys)


# The model


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=str)
def test_bad_file(bad: BadFile, terminal: Terminal) -> None:
    folder = terminal.folder / "bad"
    folder.mkdir()
    path = bad.write(folder)
    line = terminal.refuse(1, path, terminal.out, "-f")
    assert str(path) in line
    assert len(line) > len(str(path)) + 30, "no finding"


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=str)
@pytest.mark.parametrize("mode", ["-l", "-t", "-d"])
def test_bad_file_in_other_modes(bad: BadFile, mode: str, terminal: Terminal) -> None:
    """-l only looks, so it may list what it can read; -t and -d refuse all of them."""
    folder = terminal.folder / "bad"
    folder.mkdir()
    path = bad.write(folder)
    arguments = (mode, path, terminal.out, "-f") if mode == "-d" else (mode, path)
    if mode == "-l" and main([mode, str(path)]) == 0:
        return
    terminal.capsys.readouterr()
    assert str(path) in terminal.refuse(1, *arguments)


@pytest.mark.parametrize("name", ["missing_file", "truncated", "nan_weight", "external_outside"])
def test_bad_file_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    """The exit code and the single line are the process's own, with or without a terminal."""
    path = BAD_FILES[name].write(tmp_path)
    out = tmp_path / "out.onnx"
    command = [sys.executable, "-m", "onnxzip", str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    assert not out.exists()


def test_extreme_weights_print_no_warnings(tmp_path: Path) -> None:
    """Numpy's overflow warnings must not reach the user's stderr."""
    path = CASES["extreme_scales"].write(tmp_path)
    command = [sys.executable, "-m", "onnxzip", str(path), str(tmp_path / "out.onnx"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_traceback_only_with_v(terminal: Terminal) -> None:
    code, err = terminal.call(terminal.folder / "absent.onnx", terminal.out, "-f", "-v")
    assert code == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("onnxzip: ")


# The output


@pytest.mark.parametrize("kind", ["same", "relative", "symlink", "hardlink", "input is the link"])
def test_out_is_the_input(kind: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = terminal.source, terminal.folder / "other.onnx"
    before = source.read_bytes()
    target = source
    if kind == "relative":
        monkeypatch.chdir(terminal.folder)
        target = Path("out/../model.onnx")
    elif kind in ("symlink", "input is the link"):
        other.symlink_to(source)
        source, target = (other, source) if kind != "symlink" else (source, other)
    elif kind == "hardlink":
        os.link(source, other)
        target = other
    assert "is the input itself" in terminal.refuse(1, source, target, "-f")
    assert terminal.source.read_bytes() == before


@pytest.mark.parametrize("role", ["calibration", "folder", "labels", "external", "hard link"])
@pytest.mark.parametrize("writes", ["out", "report"])
def test_what_is_written_is_read(role: str, writes: str, terminal: Terminal) -> None:
    """OUT or the report is, by whatever name, one of the files that the run reads."""
    folder, source, options = terminal.folder / "data", terminal.source, []
    folder.mkdir()
    data, labels = folder / "x.npy", terminal.folder / "labels.npy"
    np.save(data, np.zeros((8, 64), np.float32))
    np.save(labels, np.zeros(8, np.int64))
    target = labels if role == "labels" else data
    options = ["-c", folder if role == "folder" else data]
    if role == "labels":
        options += ["--labels", labels, "--metric", "top1"]
    elif role in ("external", "hard link"):
        source, options = folder / "model.onnx", []
        onnx.save(
            *(onnx.load(terminal.source), source),
            save_as_external_data=True,
            location="w.json",
            size_threshold=100,
        )
        target = folder / "w.json"
    if role == "hard link" or writes == "report":
        link = terminal.folder / "link.json"
        link.hardlink_to(target)
        target = link
    before = target.read_bytes()
    names = [source, target] if writes == "out" else ["--report", target, source, terminal.out]
    found, err = terminal.call("-f", *options, *names)
    assert found in (1, 2)
    assert err.count("\n") == 1
    assert "read by this run" in err or "give the report a name of its own" in err
    assert target.read_bytes() == before


def test_out_exists_without_f(terminal: Terminal) -> None:
    assert "exists already; use -f to replace it" in terminal.refuse(1, terminal.source, terminal.out)


def test_out_is_a_directory(terminal: Terminal) -> None:
    assert "is a directory" in terminal.refuse(1, terminal.source, terminal.folder, "-f")


def test_out_in_a_folder_that_is_missing(terminal: Terminal) -> None:
    target = terminal.folder / "nowhere" / "x.onnx"
    assert "does not exist" in terminal.refuse(1, terminal.source, target)


def test_out_below_a_file(terminal: Terminal) -> None:
    terminal.refuse(1, terminal.source, terminal.source / "x.onnx")


def test_out_is_a_pipe(terminal: Terminal) -> None:
    """A device or pipe must not be replaced by a regular file."""
    pipe = terminal.folder / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in terminal.refuse(1, terminal.source, pipe, "-f")
    assert pipe.is_fifo()


def test_report_is_a_pipe(terminal: Terminal) -> None:
    pipe = terminal.folder / "report.json"
    os.mkfifo(pipe)
    terminal.refuse(1, terminal.source, terminal.out, "-f", "--report", pipe)
    assert pipe.is_fifo()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_out_in_a_folder_that_is_read_only(terminal: Terminal) -> None:
    folder = terminal.folder / "locked"
    folder.mkdir(mode=0o555)
    terminal.refuse(1, terminal.source, folder / "x.onnx")


def test_name_of_out_is_too_long(terminal: Terminal) -> None:
    terminal.refuse(1, terminal.source, terminal.out.parent / ("x" * 300 + ".onnx"))


# The data


def write_arrays(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


GOOD = np.ones((8, 64), np.float32)
WRONG_DATA: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "name": ({"foo": GOOD}, "'foo' is not an input"),
    "missing": ({}, "no array for input 'x'"),
    "one too many": ({"x": GOOD, "z": GOOD}, "'z' is not an input"),
    "shape": ({"x": GOOD[:, :50]}, r"shape \(8, 50\)"),
    "rank": ({"x": GOOD[:, :, None]}, "shape"),
    "integers": ({"x": GOOD.astype(np.uint8)}, "uint8"),
    "strings": ({"x": GOOD.astype(str)}, "<U"),
    "complex": ({"x": GOOD.astype(complex)}, "complex"),
    "nan": ({"x": GOOD * np.nan}, "holds NaN in 8 of 8 rows"),
    "infinite": ({"x": GOOD * np.inf}, "holds Inf in 8 of 8 rows"),
    "empty": ({"x": GOOD[:0]}, "has no sample"),
    "too large for float32": ({"x": GOOD.astype(float) * 1e300}, "do not fit"),
}


@pytest.mark.parametrize("kind", WRONG_DATA)
def test_wrong_calibration(kind: str, terminal: Terminal) -> None:
    arrays, message = WRONG_DATA[kind]
    path = write_arrays(terminal.folder, **arrays)
    line = terminal.refuse(1, "-c", path, terminal.source, terminal.out, "-f")
    assert str(path) in line
    with pytest.raises(CalibrationError, match=message):
        onnxzip.compress(terminal.source, calibration=arrays)


@pytest.mark.parametrize("kind", ["absent", "text", "model", "empty folder", "truncated", "objects"])
def test_unreadable_calibration(kind: str, terminal: Terminal) -> None:
    path = terminal.folder / "data.npz"
    if kind == "text":
        path.write_text("not an archive")
    elif kind == "model":
        path = terminal.source
    elif kind == "empty folder":
        path = terminal.folder / "data"
        path.mkdir()
    elif kind == "truncated":
        path.write_bytes(write_arrays(terminal.folder, x=GOOD).read_bytes()[:-40])
    elif kind == "objects":
        path = path.with_suffix(".npy")
        np.save(path, np.array([{}], object))
    assert str(path) in terminal.refuse(1, "-c", path, terminal.source, terminal.out, "-f")


LABELS = np.arange(8) % 64
WRONG_LABELS: dict[str, tuple[np.ndarray, str]] = {
    "too few": (LABELS[:7], "pass one per sample"),
    "floats": (LABELS.astype(float), "as integers"),
    "negative": (LABELS - 1, "negative"),
    "beyond the classes": (LABELS + 500, "classes"),
    "one-hot": (np.eye(8, dtype=int), "label"),
}


@pytest.mark.parametrize("kind", WRONG_LABELS)
def test_wrong_labels(kind: str, terminal: Terminal) -> None:
    labels, message = WRONG_LABELS[kind]
    data, path = write_arrays(terminal.folder, x=GOOD), terminal.folder / "labels.npy"
    np.save(path, labels)
    arguments = ("-c", data, "--labels", path, "--metric", "top1", terminal.source, terminal.out, "-f")
    assert message in terminal.refuse(1, *arguments)


def test_labels_need_top1_and_data(terminal: Terminal) -> None:
    path = terminal.folder / "labels.npy"
    np.save(path, LABELS)
    terminal.refuse(2, "--labels", path, terminal.source, terminal.out, "-f")
    terminal.refuse(2, "--labels", path, "--metric", "top1", terminal.source, terminal.out, "-f")


# Options


@pytest.mark.parametrize(
    "line",
    [
        "--metric nonsense",
        "--metric a:b",
        "--metric a:b --target-size 1B --tolerance 1",
        "--metric :b",
        "--tolerance 0",
        "--tolerance -1",
        "--tolerance=-0.1",
        "--tolerance nan",
        "--tolerance inf",
        "--tolerance much",
        "--metric top1 --tolerance 1.5",
        "--passes nonsense",
        "--skip nonsense",
        "--passes scalar --skip scalar",
        "--passes scalar,,dct",
        "--objective fast",
        "--seed -1",
        "--seed x",
        "-j 0",
        "-q -v",
        "--against x",
        "--nonsense",
        "--keep nosuch*",
    ],
)
def test_usage(line: str, terminal: Terminal) -> None:
    terminal.refuse(2, *line.split(), terminal.source, terminal.out, "-f")


@pytest.mark.parametrize("count", [0, 3])
def test_number_of_files(count: int, terminal: Terminal) -> None:
    terminal.refuse(2, *[terminal.source] * count)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tolerance": 0}, "tolerance 0 "),
        ({"tolerance": -1}, "tolerance -1"),
        ({"tolerance": float("nan")}, "tolerance nan"),
        ({"tolerance": float("inf")}, "tolerance inf"),
        ({"tolerance": "0.1"}, "tolerance '0.1'"),
        ({"objective": "fast"}, "objective 'fast'"),
        ({"n_jobs": 0}, "n_jobs 0"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"bogus": 1}, "'bogus'"),
        ({"metric": "foo"}, "foo is unknown"),
        ({"passes": "nonsense"}, "nonsense"),
        ({"keep": "nosuch*"}, "nosuch"),
        ({"pass_settings": {"scalar": {"bogus": 1}}}, "'bogus'"),
        ({"pass_settings": {"bogus": {}}}, "'bogus'"),
    ],
    ids=str,
)
def test_usage_in_python(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    model = CASES["two_layer_perceptron"].build()
    with pytest.raises(UsageError, match=message):
        onnxzip.compress(model, tmp_path / "out.onnx", **settings)
    assert not list(tmp_path.iterdir())


def test_single_names_stand_for_lists() -> None:
    """`keep="w1"` means one pattern, not the patterns "w" and "1"."""
    model = CASES["two_layer_perceptron"].build()
    report = onnxzip.compress(model, passes="scalar", keep="w1", providers="CPU", skip="fold").report
    assert {layer.name for layer in report.layers} == {"w2"}
    assert [skip.reason for skip in report.skips if skip.layer == "w1"] == ["kept on request"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--providers CUDA", "CUDA"),
        ("--providers CPU,Bogus", "Bogus"),
        ("--custom-ops absent.so", "absent.so"),
        ("--metric nomodule:f --tolerance 1", "nomodule"),
        ("--metric math:nofunction --tolerance 1", "nofunction"),
        ("--metric math:pi --tolerance 1", "not a function"),
        ("--metric math:sqrt --tolerance 1", "two dicts"),
    ],
)
def test_what_is_asked_for_and_absent(line: str, message: str, terminal: Terminal) -> None:
    assert message in terminal.refuse(1, *line.split(), terminal.source, terminal.out, "-f")


@pytest.mark.parametrize("line", ["--tolerance 1e-9", "--metric psnr --tolerance 300", "--keep *"])
def test_tolerance_that_cannot_be_met(line: str, terminal: Terminal) -> None:
    terminal.refuse(3, *line.split(), terminal.source, terminal.out, "-f")


def test_refusal_says_how_close_it_came(terminal: Terminal) -> None:
    line = terminal.refuse(3, "--tolerance", "1e-6", terminal.source, terminal.out, "-f")
    assert "1e-06" in line
    assert "0 of 2" not in line


@pytest.mark.parametrize("name", ["no_weights", "tiny_weights"])
def test_nothing_to_compress(name: str, terminal: Terminal) -> None:
    path = CASES[name].write(terminal.folder)
    assert "no weight can be made smaller" in terminal.refuse(3, path, terminal.out, "-f")


def test_compressed_already(terminal: Terminal) -> None:
    terminal.compress("--passes", "scalar")
    small = terminal.folder / "small.onnx"
    shutil.move(terminal.out, small)
    terminal.out.write_bytes(OLD)
    assert "compressed by onnxzip already" in terminal.refuse(1, small, terminal.out, "-f")


def test_random_model() -> None:
    """An output that differs from run to run cannot be held to any tolerance: it proves nothing."""
    model = CASES["two_layer_perceptron"].build()
    noise = onnx.helper.make_node("RandomNormalLike", [model.graph.output[0].name], ["noise"])
    model.graph.node.append(noise)
    value = onnx.ValueInfoProto()
    value.CopyFrom(model.graph.output[0])
    value.name = "noise"
    model.graph.output.append(value)
    checks = onnxzip.compress(model).report.checks
    (drift,) = [check for check in checks if check.kind == "drift"]
    assert drift.unproven.startswith(
        "output 'noise' is random at inference: the node that makes 'noise'"
    )
    del model.graph.output[0]
    with pytest.raises(onnxzip.ModelError, match=r"RandomNormalLike.*export the model in inference"):
        onnxzip.compress(model)


def test_impossible_tolerance_in_python(tmp_path: Path) -> None:
    with pytest.raises(ToleranceError):
        onnxzip.compress(
            MODELS / "digits_cnn.onnx", tmp_path / "x.onnx", tolerance=1e-12, passes="scalar"
        )
    assert not list(tmp_path.iterdir())
