"""Several models in one run."""

from __future__ import annotations

import json
import multiprocessing.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from onnxzip.cli.arguments import Request
from onnxzip.cli.main import main
from onnxzip.cli.several.jobs import find_jobs
from onnxzip.cli.several.table import LineTable, summary
from onnxzip.cli.several.workers import Outcome, run_all
from onnxzip.cli.stopping import WORDS
from onnxzip.disk.cache.store import Store
from onnxzip.errors import InputError, UsageError
from onnxzip.options import Options
from onnxzip.options.readers import read_size
from tests.cases import CASES

QUICK = ["-1", "--passes", "scalar"]


def lay_out(folder: Path) -> Path:
    """Make a folder with two models, what is none, and what is no model."""
    inner = folder / "inner"
    inner.mkdir(parents=True)
    CASES["two_layer_perceptron"].write(inner).rename(inner / "b.onnx")
    (folder / "a.onnx").write_bytes((inner / "b.onnx").read_bytes())
    (folder / "a.small.onnx").write_bytes(b"by name")
    (folder / "bad.onnx").write_bytes(b"bad")
    (folder / "notes.txt").write_text("notes")
    return folder


# Which models, and where to


@pytest.mark.parametrize("where", ["in", "in/cache", "out"])
def test_what_a_cache_keeps_is_not_counted(where: str, tmp_path: Path) -> None:
    source, cache = lay_out(tmp_path / "in"), tmp_path / where
    Store(cache, 1 << 20).write("0" * 64, b"kept")
    assert find_jobs([source], tmp_path / "out", cache).n_others == 1  # notes.txt


def test_a_folder_keeps_its_structure_and_what_is_no_model_is_counted(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in")
    found = find_jobs([source], tmp_path / "out")
    assert [job.name for job in found.jobs] == ["a.onnx", "bad.onnx", "inner/b.onnx"]
    assert found.jobs[-1].output == tmp_path / "out" / "inner" / "b.onnx"
    assert (found.n_small, found.n_others) == (1, 1)


def test_what_lies_in_the_folder_written_to_is_not_read(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in")
    inside = source / "out"
    inside.mkdir()
    (inside / "old.onnx").write_bytes(b"old")
    assert all("out" not in job.name for job in find_jobs([source], inside).jobs)
    with pytest.raises(UsageError, match="would be written to itself"):
        find_jobs([source], source)


def test_a_model_that_is_to_be_read_is_not_written_over(tmp_path: Path) -> None:
    first, second = lay_out(tmp_path / "in"), tmp_path / "out" / "in" / "a.onnx"
    second.parent.mkdir(parents=True)
    second.write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"in/a.onnx would be written over .*which is to be compressed as well"
    ):
        find_jobs([first, second], tmp_path / "out")


def test_two_reports_in_one_place_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lay_out(tmp_path / "in")
    (source / "a.ONNX").write_bytes((source / "a.onnx").read_bytes())
    assert main([*QUICK, "--report", ".json", str(source), str(tmp_path / "out")]) == 2
    assert "would both be written to" in capsys.readouterr().err
    assert not (tmp_path / "out" / "a.onnx").exists()


def test_names_are_printed_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "new\nline\033[31m.onnx").write_bytes(b"bad")
    jobs = find_jobs([tmp_path / "in"], tmp_path / "out").jobs
    line = LineTable(jobs, 80).line(jobs[0].name, Outcome(0, 2_000, 1_000, "passed", "", ""))
    assert line[:-1].isprintable()


def test_two_models_in_one_place_are_refused(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in")
    (source / "inner" / "a.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="would both be written to"):
        find_jobs([source / "a.onnx", source / "inner" / "a.onnx"], tmp_path / "out")
    several = find_jobs([source, source / "inner"], tmp_path / "out")
    assert {job.name for job in several.jobs} >= {"in/a.onnx", "inner/a.onnx"}


def test_a_folder_without_models_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.onnx file"):
        find_jobs([tmp_path], tmp_path / "out")


# What is told


def test_lines_fit_and_keep_their_figures(tmp_path: Path) -> None:
    names = ["a.onnx", "a/long/path/to/a/model/of/many/characters.onnx"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(1_234_567))
    jobs = find_jobs([tmp_path], tmp_path / "out").jobs
    done = Outcome(0, 1_234_567, 123_456, "passed, with doubts")
    for width in (60, 80):
        lines = [LineTable(jobs, width).line(job.name, done) for job in jobs]
        assert all(len(line) <= width + 1 for line in lines)
        assert all("123,456 B" in line and "10.00x" in line for line in lines)
        assert len({line.index("123,456 B  ") for line in lines}) == 1
    whole = LineTable(jobs, None).line(jobs[1].name, done)
    assert jobs[1].name in whole
    assert "1,234,567 B ->   123,456 B" in whole


def test_the_summary_counts_all() -> None:
    verdicts = ["bad input", "already there", "already there"]
    outcomes = [Outcome(0, 100, 10, "passed"), *(Outcome(1, verdict=verdict) for verdict in verdicts)]
    assert summary(outcomes, 5, (1, 2), "3.0 s") == (
        "1 of 5 models compressed: 100 B -> 10 B, 10.00x; 2 already there; 1 bad input; "
        "1 compressed already, left out; 2 other files left out; 3.0 s\n"
    )


# The whole


def test_a_failure_stops_no_other_and_processes_change_no_byte(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    source, out = lay_out(tmp_path / "in"), tmp_path / "out"
    cache = ["--cache", str(tmp_path / "kept")]
    assert main([*QUICK, *cache, "-j2", "--report", ".json", str(source), str(out)]) == 1
    printed = capfd.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["a.onnx", "bad.onnx", "inner/b.onnx"]
    assert lines[1].endswith("bad input")
    assert lines[3].startswith("2 of 3 models compressed: ")
    assert f"onnxzip: {source / 'bad.onnx'}: " in printed.err
    written = sorted(path.name for path in out.rglob("*") if path.is_file())
    assert written == ["a.json", "a.onnx", "b.json", "b.onnx"]
    alone = tmp_path / "alone.onnx"
    report = ["--report", str(alone.with_suffix(".json"))]
    assert main([*QUICK, "-q", *cache, *report, str(source / "a.onnx"), str(alone)]) == 0
    recalled = json.loads(alone.with_suffix(".json").read_text())["recalled"]
    assert {"kind": "weights' candidates", "n_recalled": 2, "n_wanted": 2} in recalled
    assert alone.read_bytes() == (out / "a.onnx").read_bytes() == (out / "inner/b.onnx").read_bytes()
    before = (out / "a.onnx").stat().st_mtime_ns
    capfd.readouterr()
    assert main([*QUICK, str(source / "a.onnx"), str(source / "bad.onnx"), str(out)]) == 1
    again = capfd.readouterr()
    assert again.out.splitlines()[0].endswith("already there")
    assert "; 1 already there; 1 bad input; " in again.out
    assert "a.onnx: exists already; use -f to replace it" in again.err
    assert (out / "a.onnx").stat().st_mtime_ns == before


def test_nothing_is_left_of_what_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "bad.onnx").write_bytes(b"bad")
    assert main([str(folder), str(tmp_path / "deep" / "out")]) == 1
    assert not (tmp_path / "deep").exists()
    assert "0 of 1 models compressed; 1 bad input; " in capfd.readouterr().out


def test_a_process_starts_deaf_be_it_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper of multiprocessing, started first, would unblock signals."""
    heard: list[set[signal.Signals]] = []
    spawn = multiprocessing.util.spawnv_passfds

    def spy(path: bytes, arguments: list[bytes], descriptors: list[int]) -> int:
        if not any("resource_tracker" in str(argument) for argument in arguments):
            heard.append(set(WORDS) - signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return int(spawn(path, arguments, descriptors))

    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", spy)
    monkeypatch.setattr(resource_tracker._resource_tracker, "_fd", None)
    monkeypatch.setattr(resource_tracker._resource_tracker, "_pid", None)
    bad = Request("compress", Path("there_is_none.onnx"), Path("out.onnx"), Options(), quiet=True)
    found: list[Outcome] = []
    run_all([bad], 1, lambda *_: None, lambda _, outcome: found.append(outcome))
    assert [outcome.verdict for outcome in found] == ["bad input"]
    assert heard == [set()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is held")
@pytest.mark.parametrize(("limit", "n_at_a_time"), [("600MB", 1), ("10GB", 2)])
def test_models_at_a_time_share_the_memory(
    limit: str, n_at_a_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Sequence[Request], int]] = []

    def note(
        requests: Sequence[Request], n: int, _: object, tell: Callable[[int, Outcome], None]
    ) -> None:
        asked.append((requests, n))
        for place in range(len(requests)):
            tell(place, Outcome(0))

    monkeypatch.setattr("onnxzip.cli.several.run.run_all", note)
    source, output = lay_out(tmp_path / "in"), tmp_path / "out"
    assert main(["-q", "-j2", "--max-memory", limit, str(source), str(output)]) == 0
    ((requests, n_found),) = asked
    assert n_found == n_at_a_time
    shares = {request.options.max_memory for request in requests}
    assert len(shares) == 1
    assert 0 < n_at_a_time * shares.pop() <= read_size("max_memory", limit)


def test_a_signal_ends_all_and_leaves_nothing(tmp_path: Path) -> None:
    source, out = lay_out(tmp_path / "in"), tmp_path / "out"
    command = [sys.executable, "-m", "onnxzip", "-9", "-j2", str(source), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    told = f"onnxzip: terminated; what is in {out} is complete, the rest is untouched"
    assert err.splitlines()[-1] == told
    assert not list(tmp_path.rglob(".onnxzip-*"))
