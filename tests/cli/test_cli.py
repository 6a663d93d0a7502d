"""The command line: what it accepts, what it refuses and how it speaks; the work itself is faked."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Literal

import pytest

from onnxzip import listing as archive
from onnxzip import pipeline
from onnxzip.cli.arguments import Request, parse
from onnxzip.cli.main import main
from onnxzip.errors import (
    CalibrationError,
    ModelError,
    OnnxzipError,
    OutputError,
    ProviderError,
    ToleranceError,
    UsageError,
    VerificationError,
)
from onnxzip.options import Options
from onnxzip.propose import registry
from onnxzip.records.check import Check
from onnxzip.report.json import from_json
from onnxzip.report.record import Inspection, Report, StoredWeight
from tests.cases import CASES
from tests.report.test_report import CHECKS, REPORT


@dataclass(frozen=True)
class Zoom:
    """A pass with a field of every type."""

    name: ClassVar[str] = "zoom"
    keep_fraction: float = 0.5
    levels: int = 2
    is_soft: bool = False
    mode: Literal["hard", "soft"] = "hard"
    filters: tuple[str, ...] = ("haar", "db2")

    def __post_init__(self) -> None:
        if self.levels > 9:
            raise ValueError(f"levels {self.levels} is more than 9")


class Plain:
    """A graph pass without settings."""

    name: ClassVar[str] = "plain"


@pytest.fixture(autouse=True)
def _two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "passes", lambda: {"plain": Plain, "zoom": Zoom})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Record what the command line asks the pipeline for."""
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    made: list[tuple[object, ...]] = []

    def compress(
        source: Path,
        output: Path,
        *,
        options: Options,
        progress: object,
        approve: Callable[[Report], None],
        beside: Sequence[Path],
        papers: object,
        command: str,
        give_up: object,
    ) -> SimpleNamespace:
        made.append((source, output, options))
        approve(REPORT)
        return SimpleNamespace(report=REPORT)

    def verify(
        source: Path,
        against: Path | None,
        *,
        options: Options,
        tell: Callable[[Report], None] | None,
        command: str,
    ) -> tuple[Check, ...]:
        made.append((source, against, options))
        if tell is not None:
            tell(replace(REPORT, task="test", command=command))
        return CHECKS[:3]

    def inspect(source: Path) -> Inspection:
        made.append((source,))
        return Inspection("x", 10, 20, (StoredWeight("w" * 90, "dct", (8,), "float32", 32, 4),))

    def decompress(source: Path, output: Path, *, overwrite: bool, approve: Callable[[], None]) -> None:
        made.append((source, output, overwrite))

    monkeypatch.setattr(pipeline, "compress", compress)
    monkeypatch.setattr(archive, "verify", verify)
    monkeypatch.setattr(archive, "inspect", inspect)
    monkeypatch.setattr(archive, "decompress", decompress)
    return made


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def compress(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "compress", compress)


# Arguments


def test_nothing_given_means_nothing_set() -> None:
    assert parse(["a.onnx", "b.onnx"]) == Request("compress", Path("a.onnx"), Path("b.onnx"), Options())


def test_all_options_of_compress() -> None:
    line = (
        "a -c x.npz --labels y.npy --metric top1 --tolerance 0.01 --objective speed "
        "--threads 4 --batch 16 --passes zoom,plain --skip plain --keep head.* --keep *.bias "
        "--custom-ops lib.so --providers CPU,CUDA -j 2 --seed 7 -f -v --report r.json "
        "--cache kept --cache-size 2GB --cluster tcp://host:8786 b"
    )
    request = parse(line.split())
    assert request == Request(
        "compress", Path("a"), Path("b"), request.options, report=Path("r.json"), verbose=True
    )
    assert request.options == Options(
        calibration=Path("x.npz"),
        labels=Path("y.npy"),
        metric="top1",
        tolerance=0.01,
        objective="speed",
        threads=4,
        batch=16,
        passes=("zoom", "plain"),
        skip=("plain",),
        keep=("head.*", "*.bias"),
        custom_ops=Path("lib.so"),
        providers=("CPU", "CUDA"),
        n_jobs=2,
        seed=7,
        overwrite=True,
        cache=Path("kept"),
        cache_size=2_000_000_000,
        cluster="tcp://host:8786",
    )


def test_settings_of_passes_are_options() -> None:
    line = (
        "a b --zoom-keep-fraction 0.25 --zoom-levels=3 --zoom-is-soft true "
        "--zoom-mode soft --zoom-filters a,b"
    )
    settings = {
        "keep_fraction": 0.25,
        "levels": 3,
        "is_soft": True,
        "mode": "soft",
        "filters": ("a", "b"),
    }
    assert parse(line.split()).options == Options(pass_settings={"zoom": settings})
    assert Zoom(**settings).filters == ("a", "b")  # type: ignore[arg-type]


def test_every_pass_there_is_has_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    with pytest.raises(SystemExit) as stop:
        parse(["--help-passes"])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert all(f"pass {name}:" in text for name in registry.passes())
    assert "--dct-block" in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-l a", Request("list", Path("a"), None, Options())),
        ("-lv a", Request("list", Path("a"), None, Options(), verbose=True)),
        ("-t a", Request("test", Path("a"), None, Options())),
        (
            "-t a --against b -q",
            Request("test", Path("a"), None, Options(), against=Path("b"), quiet=True),
        ),
        (
            "a --against b -t --metric psnr --tolerance 30",
            Request("test", Path("a"), None, Options(metric="psnr", tolerance=30), against=Path("b")),
        ),
        ("-d a b", Request("decompress", Path("a"), Path("b"), Options())),
        ("-df a b", Request("decompress", Path("a"), Path("b"), Options(overwrite=True))),
        ("a b --report R.MD", Request("compress", Path("a"), Path("b"), Options(), report=Path("R.MD"))),
        (
            "a b --metric my.mod:loss --tolerance 1",
            Request("compress", Path("a"), Path("b"), Options(metric="my.mod:loss", tolerance=1)),
        ),
        ("-- -a -b", Request("compress", Path("-a"), Path("-b"), Options())),
    ],
)
def test_accepted(line: str, expected: Request) -> None:
    assert parse(line.split()) == expected


REFUSED = {
    "": "expected IN and OUT, got 0",
    "a.small.onnx": "its name says that it is compressed already",
    "a b c.onnx": "c.onnx is no folder, and several models go to one",
    "a - folder": "`-` stands for one model",
    "tests": "tests is a folder; name one to write to as well",
    "a b folder --target-size 4MB": "--target-size is that of one model",
    "a b folder --report r.md": "a report is on one model; --report .md writes one beside each",
    "- - --report .md": "there is no OUT to lie beside",
    "-t - --against -": "stdin, which holds one model",
    "--completion zsch": "no completion for 'zsch'; did you mean zsh?",
    "-l": "expected FILE, got 0",
    "-l a b": "expected FILE, got 2",
    "-d a": "expected FILE and OUT, got 1",
    "-t -d a b": "not allowed with",
    "a b -q -v": "not allowed with",
    "a b --tolerance 0": "--tolerance 0.0 is not a finite number above 0",
    "a b --tolerance -1": "--tolerance -1.0 is not a finite number above 0",
    "a b --target-size -5": "--target-size '-5' is not a size",
    "a b --seed 18446744073709551616": "--seed of 65 bits is not a whole number from 0",
    "a b -j 3000000000": "-j 3000000000 is not a whole number from 1 to 8192",
    "a b -j 1_000": "'1_000' is not a whole number",
    "a b --seed -1": "--seed -1 is not a whole number from 0",
    "a b --tolerance=-1": "--tolerance -1.0 is not a finite number above 0",
    "a b -1 -9": "not allowed with argument -1",
    "a b --tolerance nan": "--tolerance nan is not a finite number above 0",
    "a b --tolerance inf": "--tolerance inf is not a finite number above 0",
    "a b --tolerance x": "'x' is not a number",
    "a b --metric top1 --tolerance 1": "0.01 is one point",
    "a b --metric a:b:c": "--metric 'a:b:c' is not the name of a metric, a module:function",
    "a b --metric os.system:": "is not the name of a metric",
    "a b --metric my.class:loss": "is not the name of a metric",
    "a b --metric my.mod:loss": "--metric my.mod:loss has no default limit; pass --tolerance",
    "a b --labels y.npy": "--labels belong to --metric top1, not nrmse",
    "a b --labels y.npy --metric top1": "--labels need --calibration",
    "a b --objective fast": "--objective 'fast' is not one of size, speed",
    "a b --passes zoom,,plain": "not a list of names",
    "a b --zoom-levels x": "'x' is not a whole number",
    "a b --zoom-mode odd": "'odd' is none of hard, soft",
    "a b --zoom-keep-fraction nan": "a setting of a pass: zoom.keep_fraction nan is not a finite number",
    "a b --zoom-level 2": "unrecognized arguments",
    "a b -j 0": "-j 0 is not a whole number from 1",
    "a b --seed=-1": "--seed -1 is not a whole number from 0",
    "a b --report r.txt": "a .html or a .json or a .md file",
    "a b --report r": "a .html or a .json or a .md file",
    "a b --against c": "it belongs to -t",
    "-l a -f": "-f has no meaning here",
    "-l a --seed 1": "--seed has no meaning here",
    "-d a b --report r.md": "--report has no meaning here",
    "-t a --passes zoom": "--passes has no meaning here",
    "-t a --zoom-levels 2": "a setting of a pass has no meaning here",
    "-t a --tolerance 0.1": "--tolerance needs --against",
    "-t a --providers CPU": "--providers needs --against",
    "a b --threads 2": "--threads says what --objective speed times runs with; ask for that",
    "a b --batch 2 --objective size": "--batch says what --objective speed times runs with",
    "a b --objective speed --threads 0": "--threads 0 is not a whole number from 1 to 8192",
    "a b --objective speed --batch x": "argument --batch",
    "-t a --threads 2": "--threads has no meaning here; it belongs to compressing",
    "a b --toler 1": "unrecognized arguments: --toler",
    "a b --tolerence 1": "did you mean --tolerance?",
    "a b --json": "--json has no meaning here; it belongs to -l, -t and --bench",
    "a b -z": "unrecognized arguments: -z",
    "a b -c": "expected one argument",
}


@pytest.mark.parametrize("line", REFUSED)
def test_refused_with_one_line_and_exit_2(
    line: str, calls: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("onnxzip: ")
    assert captured.err.count("\n") == 1
    assert REFUSED[line] in captured.err
    assert not calls


UNKNOWN = {
    "--metric l2": "--metric l2 is unknown; use cosine",
    "--passes nope": "there is no pass 'nope'",
    "--skip nope": "there is no pass 'nope'",
    "--passes zoom --skip zoom": "--passes and --skip leave no pass to use",
    "--zoom-levels 10": "settings of the pass zoom: levels 10 is more than 9",
    "--skip zoom --zoom-levels 2": "the pass zoom, which is not used",
}


@pytest.mark.parametrize("line", UNKNOWN)
def test_unknown_names_are_refused_before_anything_is_read(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["absent.onnx", "b", *line.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("onnxzip: ")
    assert captured.err.count("\n") == 1
    assert UNKNOWN[line] in captured.err


def test_help_fits_80_columns_and_names_every_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for flag in (
        "--calibration",
        "--keep PATTERN",
        "-j N",
        "--report FILE",
        "--against",
        "examples:",
        "-f ",
    ):
        assert flag in text


# What is asked of the pipeline, and what is printed


def test_compress_prints_the_final_table(
    calls: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", "b", "--tolerance", "0.2", "-f"]) == 0
    assert calls == [(Path("a"), Path("b"), Options(tolerance=0.2, overwrite=True))]
    captured = capsys.readouterr()
    assert "1,094,689 B    152,340 B  7.19x" in captured.out
    assert captured.err == ""
    assert "\x1b" not in captured.out


def test_verbose_prints_weights_too(calls: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b", "-v"]) == 0
    assert "encoder.layer.11.attention.output.dense.weight_transposed " in capsys.readouterr().out


def test_quiet_prints_nothing(calls: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b", "-q"]) == 0
    assert main(["-tq", "a"]) == 0
    assert capsys.readouterr() == ("", "")
    assert len(calls) == 2


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_what_is_not_proven_is_said_on_stderr(
    quiet: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, also with -q; exit 0, for the file is there."""
    doubtful = replace(CHECKS[2], passed=False, unproven="output 'y' is NaN\non all inputs")
    checks = (doubtful, replace(doubtful, provider="CUDA"))
    report = replace(REPORT, checks=checks)
    monkeypatch.setattr(pipeline, "compress", lambda *_, approve, **__: approve(report))
    monkeypatch.setattr(archive, "verify", lambda *_, **__: checks)
    for line in (["in.onnx", "out.onnx"], ["-t", "in.onnx", "--against", "other.onnx"]):
        assert main([*line, *quiet]) == 0
        printed = capsys.readouterr()
        assert printed.err == "onnxzip: in.onnx: not proven: output 'y' is NaN on all inputs\n"
        assert ("not proven" in printed.out) == (not quiet)


def test_json_is_the_record(calls: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    """Keys that programs read stay; new ones may come."""
    assert main(["-l", "--json", "a"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"schema", "source", "n_bytes", "bytes_before", "weights", "inputs", "outputs"} <= set(listed)
    assert {"load_bytes", "rest_before", "rest_after"} <= set(listed)
    assert listed["weights"][0] == {
        **{"name": "w" * 90, "pass_name": "dct", "shape": [8], "dtype": "float32"},
        **{"bytes_before": 32, "n_bytes": 4, "error": None, "load_bytes": 0},
        **{"used_by": "", "is_renamed": False},
    }
    assert main(["-t", "--json", "-q", "a"]) == 0
    tested = json.loads(capsys.readouterr().out)
    assert (tested["source"], tested["passed"]) == ("a", all(not check.failed for check in CHECKS[:3]))
    assert [check["kind"] for check in tested["checks"]] == [check.kind for check in CHECKS[:3]]


def test_list_keeps_lines_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, calls: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["-l", "a"]) == 0
    assert calls == [(Path("a"),)]
    assert "w" * 90 in capsys.readouterr().out


def test_decompress(calls: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-d", "a", "b"]) == 0
    assert calls == [(Path("a"), Path("b"), False)]
    assert capsys.readouterr() == ("", "")


def test_failed_check_is_exit_1(
    monkeypatch: pytest.MonkeyPatch, calls: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-t", "a", "--against", "b"]) == 0
    assert calls[-1] == (Path("a"), Path("b"), Options())
    assert "CPU" in capsys.readouterr().out
    failed = replace(CHECKS[2], passed=False, value=0.4)
    monkeypatch.setattr(archive, "verify", lambda *_, **__: (CHECKS[0], failed))
    assert main(["-t", "a", "--against", "b"]) == 1
    captured = capsys.readouterr()
    assert "FAILED: drift" in captured.out
    assert captured.err == (
        "onnxzip: a: drift check failed on CPU: rel_l2 is 0.4, the limit is 0.1; "
        "allow more with --tolerance, or compress the original again\n"
    )


def test_report_is_written(calls: list[object], tmp_path: Path) -> None:
    for name in ("r.json", "r.md"):
        path = tmp_path / name
        path.write_text("old")
        assert main(["a", "b", "-q", "--report", str(path)]) == 0
    assert from_json((tmp_path / "r.json").read_text("utf-8")) == REPORT
    assert (tmp_path / "r.md").read_text("utf-8").startswith("# resnet20.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.md"]


def test_a_report_on_a_test_is_written(calls: list[object], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert main(["-t", "a", "-q", "--report", str(path)]) == 0
    found = from_json(path.read_text("utf-8"))
    assert (found.task, found.command) == ("test", f"onnxzip -t --report {path} a")


@pytest.mark.parametrize("other", ["source", "output", "hard link", "symbolic link"])
def test_report_over_the_models_is_refused(
    other: str, calls: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output, report = tmp_path / "in.md", tmp_path / "out.md", tmp_path / "link.md"
    source.write_text("model")
    if other == "hard link":
        report.hardlink_to(source)
    elif other == "symbolic link":
        report.symlink_to(output)
    else:
        report = source if other == "source" else output
    assert main([str(source), str(output), "--report", str(report)]) == 2
    assert "give the report a name of its own" in capsys.readouterr().err
    assert not calls
    assert source.read_text() == "model"


def test_report_into_a_missing_folder_is_refused_before_any_work(
    calls: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a", "b", "--report", str(tmp_path / "no" / "r.md")]) == 1
    assert "does not exist; make it first" in capsys.readouterr().err
    assert not calls


@pytest.mark.parametrize("place", ["mkstemp", "fsync"])
def test_report_that_cannot_be_written_keeps_the_model_back(
    place: str,
    calls: list[object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile if place == "mkstemp" else os, place, fail)
    path = tmp_path / "r.md"
    assert main(["a", "b", "--report", str(path)]) == 1
    finding = "the report cannot be written: No space left on device; free some space, or name "
    finding += "a place that has more"
    assert capsys.readouterr() == ("", f"onnxzip: {path}: {finding}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("4MB", 4_000_000),
        ("1.5MiB", 1_572_864),
        ("800kB", 800_000),
        ("123456", 123_456),
        ("2 gb", 2 * 10**9),
    ],
)
def test_target_size(text: str, n_bytes: int) -> None:
    assert parse(["a", "b", "--target-size", text]).options == Options(target_size=n_bytes)


@pytest.mark.parametrize("text", ["", "MB", "4XB", "-4MB", "0", "0.1B", "4 4", "1e6", "nan"])
def test_target_size_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b", f"--target-size={text}"]) == 2
    assert "--target-size" in capsys.readouterr().err


def test_target_size_stands_instead_of_a_tolerance(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b", "--target-size", "1MB", "--tolerance", "0.1"]) == 2
    assert "leave one of them out" in capsys.readouterr().err


# Errors


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("in.onnx: the file is empty"), 1, "in.onnx: the file is empty"),
        (ModelError("layer 'w' holds NaN"), 1, "in.onnx: layer 'w' holds NaN"),
        (CalibrationError("two\nlines"), 1, "in.onnx: two lines"),
        (ProviderError("--providers: CUDA not there"), 1, "--providers: CUDA not there"),
        (OutputError("out.onnx: exists already"), 1, "out.onnx: exists already"),
        (VerificationError("wrong"), 1, "in.onnx: wrong"),
        (UsageError("no such setting"), 2, "no such setting"),
        (ToleranceError("best is 0.2"), 3, "in.onnx: best is 0.2"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/tmp/o"),
            1,
            "/tmp/o: No space left on device; free some space, or name a place that has more",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            1,
            "in.onnx: Permission denied; get the right to it, or name another place",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "in.onnx: Broken pipe; try again"),
        (
            *(MemoryError(), 1),
            "in.onnx: out of memory; free some, or use a machine with more; out.onnx is untouched",
        ),
        (ModelError(f"no '{'ab' * 999}'"), 1, f"in.onnx: no '{'ab' * 99}a...{'b' + 'ab' * 49}'"),
        (KeyboardInterrupt(), 130, "interrupted; out.onnx is untouched"),
        (
            *(ZeroDivisionError("division"), 1),
            "internal error: ZeroDivisionError: division (run with -v for the traceback)",
        ),
    ],
)
def test_error_is_one_line_and_its_exit_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(monkeypatch, error)
    assert main(["in.onnx", "out.onnx"]) == code
    assert capsys.readouterr() == ("", f"onnxzip: {line}\n")


@pytest.mark.parametrize("error", [ModelError("bad"), ZeroDivisionError("division")])
def test_verbose_adds_the_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, error)
    assert main(["in.onnx", "out.onnx", "-v"]) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.splitlines()[-1].startswith("onnxzip: ")
    assert "run with -v" not in text


def test_every_error_has_an_exit_code_of_the_contract() -> None:
    kinds = [OnnxzipError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind.exit_code for kind in kinds} == {1, 2, 3}


# Terminals and pipes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("make", "flags", "is_shown"),
    [(Terminal, [], True), (Terminal, ["-q"], False), (io.StringIO, [], False)],
)
def test_progress_on_terminals_only(
    make: Callable[[], io.StringIO],
    flags: list[str],
    is_shown: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compress(
        *_: object,
        progress: Callable[[str, float], None] | None,
        approve: Callable[[Report], None],
        **__: object,
    ) -> SimpleNamespace:
        assert (progress is None) == ("-q" in flags)
        if progress is not None:
            progress("measuring [conv]", 0.5)
        approve(REPORT)
        return SimpleNamespace(report=REPORT)

    monkeypatch.setattr(pipeline, "compress", compress)
    monkeypatch.setenv("TERM", "xterm")
    stderr = make()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert main(["a", "b", *flags]) == 0
    assert ("measuring [conv]" in stderr.getvalue()) == is_shown


def run_python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = """if True:
        import sys
        from onnxzip import listing
        from onnxzip.cli.main import main
        from onnxzip.report.record import Inspection, StoredWeight
        weights = tuple(StoredWeight(f"w{i}", "dct", (8,), "float32", 32, 4) for i in range(9000))
        listing.inspect = lambda source: Inspection("x", 10, 20, weights)
        sys.exit(main(["-l", "a"]))"""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        result = run_python(code, stdout=write_end)
    finally:
        os.close(write_end)
    assert (result.returncode, result.stderr) == (0, "")


def test_names_outside_the_terminals_encoding_are_replaced() -> None:
    code = """if True:
        import sys
        from onnxzip import listing
        from onnxzip.cli.main import main
        from onnxzip.report.record import Inspection, StoredWeight
        weight = StoredWeight("gewicht_\\u00e4\\u6743", "dct", (8,), "float32", 32, 4)
        listing.inspect = lambda source: Inspection("x", 10, 20, (weight,))
        sys.exit(main(["-l", "a"]))"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = run_python(code, stdout=subprocess.PIPE, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert "gewicht_??" in result.stdout


@pytest.mark.parametrize("line", ["--version", "--help", "a b --tolerance 0", "-j 0 a b"])
def test_quick_answers_import_nothing_heavy(line: str) -> None:
    code = f"""if True:
        import sys
        from onnxzip.cli.main import main
        try:
            main({line.split()!r})
        except SystemExit:
            pass
        heavy = {{"onnx", "onnxruntime", "scipy", "rich", "onnxzip.pipeline"}}
        print("imported:", sorted(heavy & set(sys.modules)))"""
    result = run_python(code, stdout=subprocess.PIPE)
    assert result.stdout.splitlines()[-1] == "imported: []"


def test_python_m_onnxzip() -> None:
    command = [sys.executable, "-m", "onnxzip", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stdout.startswith("onnxzip ")


def test_a_name_of_two_lines_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-l", "a\nb.onnx"]) == 1
    assert capsys.readouterr().err == (
        "onnxzip: a b.onnx: cannot be read: No such file or directory; check the path\n"
    )


def test_a_working_folder_that_is_gone_is_no_fault_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = CASES["two_layer_perceptron"].write(tmp_path), tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    try:
        assert main([str(source), "out.onnx"]) == 1
    finally:
        os.chdir(tmp_path)
    expected = "onnxzip: out.onnx: the working folder is gone; change to another one\n"
    assert capsys.readouterr().err == expected
