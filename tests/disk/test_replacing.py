"""A file takes its place whole, and only the place that it may take."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from onnxzip.disk.replacing import check_replaceable, is_same_file, real_place, replacement
from onnxzip.errors import OutputError

OLD, NEW = b"what was there before", b"what is new"


def write(path: Path, *, overwrite: bool = True, appears: bytes | None = None) -> None:
    """Replace a file; with `appears`, another program makes one in the meantime."""
    with replacement(path) as new:
        new.file.write(NEW)
        new.complete()
        assert not new.is_in_place
        if appears is not None:
            path.write_bytes(appears)
        new.put_in_place(overwrite)
        assert new.is_in_place
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_new_file(
    has_links: bool, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    if not has_links:
        refuse_links(monkeypatch)
    write(path, overwrite=overwrite)
    assert path.read_bytes() == NEW
    assert path.stat().st_nlink == 1


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_stays(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    if not has_links:
        refuse_links(monkeypatch)
    with pytest.raises(OutputError, match="another program made it meanwhile; use overwrite"):
        write(path, overwrite=False, appears=OLD)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert path.read_bytes() == OLD
    write(path, overwrite=True, appears=OLD)
    assert path.read_bytes() == NEW


def test_what_cannot_be_renamed_without_links_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    refuse_links(monkeypatch)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "out", overwrite=False)
    assert not list(tmp_path.iterdir())


def test_other_faults_of_link_are_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "out", overwrite=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_appears_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with replacement(path) as new:
        new.complete()
        path.mkdir()
        with pytest.raises(OutputError, match="is a directory"):
            new.put_in_place()
    assert path.is_dir()


def test_the_longest_name_there_may_be(tmp_path: Path) -> None:
    write(tmp_path / ("x" * 255))


@pytest.mark.parametrize("exists", [True, False])
def test_links_are_followed(exists: bool, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    second, first = tmp_path / "second", tmp_path / "first"
    second.symlink_to("store/real")
    first.symlink_to(second)
    if exists:
        (folder / "real").write_bytes(OLD)
    place = real_place(first)
    write(place)
    assert first.is_symlink()
    assert first.read_bytes() == NEW
    assert place.samefile(folder / "real")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(OutputError, match="leads back to itself"):
        real_place(first)


def test_one_file_by_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, hard, soft = tmp_path / "a", tmp_path / "hard", tmp_path / "soft"
    path.touch()
    hard.hardlink_to(path)
    soft.symlink_to(path)
    for other in (hard, soft, Path("a"), Path("./a")):
        assert is_same_file(path, other)
    assert not is_same_file(path, tmp_path / "b")
    dangling = tmp_path / "dangling"
    dangling.symlink_to("b")
    assert is_same_file(dangling, tmp_path / "b")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no files by their numbers")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "folder/1"])
def test_a_stream_is_no_place_for_a_file(name: str, tmp_path: Path) -> None:
    """What it was sent to would be replaced, while whoever reads it goes on with the old file."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "folder").symlink_to("/dev/fd")
    with pytest.raises(OutputError, match="is a stream"):
        check_replaceable(tmp_path / name)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "made a file"])
@pytest.mark.parametrize("when", ["before", "while it is written", "when it is complete"])
def test_a_folder_that_goes_away_is_told_of_the_file_that_was_to_be_in_it(
    how: str, when: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def go(now: str) -> None:
        if now != when:
            return
        folder.rename(tmp_path / "elsewhere")
        if how == "removed":
            shutil.rmtree(tmp_path / "elsewhere")
        elif how == "replaced" and when != "before":
            folder.mkdir()
        elif how == "made a file":
            folder.write_bytes(OLD)

    def write_in_it() -> None:
        go("before")
        with replacement(folder / "out.onnx") as new:
            new.file.write(NEW)
            go("while it is written")
            new.complete()
            go("when it is complete")
            new.put_in_place()

    with pytest.raises(OutputError, match=r"out\.onnx: another program removed or moved its folder; "):
        write_in_it()
    assert not (folder / "out.onnx").exists()
