"""Temporary files and folders: those of dead runs go, those of live ones stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from onnxzip.disk.temporary import (
    PREFIX,
    SUFFIX,
    remove_abandoned,
    temporary_file,
    temporary_folder,
)

HOLD = """if True:
    import sys
    from pathlib import Path
    from onnxzip.disk.temporary import temporary_file, temporary_folder
    with temporary_file(Path(sys.argv[1])) as (file, path), temporary_folder() as folder:
        (folder / "content").write_text("x")
        if len(sys.argv) > 2:
            file.close()  # what is complete is closed before it is renamed
        print(path.name, folder.name, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def hold(folder: Path, *more: str) -> tuple[subprocess.Popen[str], list[Path]]:
    """Start a process that has a temporary file and folder; return it, and both."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )
    assert process.stdout is not None
    file, inner = process.stdout.readline().split()
    return process, [folder / file, Path(tempfile.gettempdir()) / inner]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("more", [[], ["closed"]])
def test_what_a_killed_run_left_goes_with_the_next(
    more: list[str], tmp_path: Path, scratch: Path
) -> None:
    dead, left = hold(tmp_path, *more)
    alive, kept = hold(tmp_path, *more)
    try:
        end(dead)
        assert all(path.exists() for path in (*left, *kept))
        with temporary_file(tmp_path) as (_, path), temporary_folder() as folder:
            assert path.exists()
            assert folder.exists()
            assert not any(path.exists() for path in left)
            assert all(path.exists() for path in kept)
        assert sorted((*tmp_path.iterdir(), *scratch.iterdir())) == sorted((scratch, *kept))
    finally:
        end(alive)


def test_files_of_others_stay(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("x")
    names = [".out.onnx.tmp", f"{PREFIX}abc", f"abc{SUFFIX}", "onnxzip-abc.tmp"]
    for name in names:
        (tmp_path / name).write_text("x")
    link = tmp_path / f"{PREFIX}link{SUFFIX}"
    link.symlink_to(target)
    pipe = tmp_path / f"{PREFIX}pipe{SUFFIX}"
    os.mkfifo(pipe)
    remove_abandoned(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, "target", link.name, pipe.name])


def test_a_folder_that_cannot_be_listed_is_no_failure(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "absent")


def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock, taken = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_file(tmp_path) as (_, path):
        assert path.exists()
        assert path not in taken


def test_without_locks_nothing_is_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_file(tmp_path) as (_, first), temporary_file(tmp_path) as (_, second):
        assert first.exists()
        assert second.exists()
    assert not list(tmp_path.iterdir())
