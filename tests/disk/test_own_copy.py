"""Copies of files that others change, cut short or remove meanwhile."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onnxzip.disk import own_copy
from onnxzip.disk.own_copy import (
    Found,
    Part,
    copy_file,
    copy_parts,
    is_change,
    join_parts,
    make_on_disk,
    mapping_of,
    release_pages,
    share_with_disk,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    return path


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


class FullFile:
    """A temporary file on a disk that is full after so many bytes."""

    room = 2_000_000

    def __init__(self, **_: object) -> None:
        self.n_bytes = 0

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, data: bytes) -> int:
        self.n_bytes += len(data)
        if self.n_bytes > self.room:
            full()
        return len(data)


@pytest.mark.parametrize("how", ["truncated", "deleted", "overwritten"])
def test_a_copy_outlives_what_happens_to_the_file(path: Path, how: str) -> None:
    """A mapped file that is cut short would end this process by SIGBUS."""
    wanted = path.read_bytes()
    copy = copy_file(Found.at(path))
    assert mapping_of(copy) is not None
    if how == "truncated":
        os.truncate(path, 10)
    elif how == "deleted":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.write(bytes(3_000_000))
    release_pages([copy])
    assert copy.tobytes() == wanted
    assert not copy.flags.writeable


@pytest.mark.parametrize("temporary", [full, FullFile])
def test_without_room_on_the_disk_a_copy_lies_in_memory(
    path: Path, temporary: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_copy, "unnamed_file", temporary)
    copy = copy_file(Found.at(path))
    assert mapping_of(copy) is None
    assert copy.tobytes() == path.read_bytes()
    assert not copy.flags.writeable


@pytest.mark.parametrize("n_bytes", [0, 1, 1000])
def test_little_is_not_worth_a_file(n_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(range(256)) * 4)
    os.truncate(path, n_bytes)
    copy = copy_file(Found.at(path))
    assert mapping_of(copy) is None
    assert copy.tobytes() == path.read_bytes()


@pytest.mark.parametrize("how", ["truncated", "overwritten", "replaced", "grown"])
def test_a_file_that_is_not_what_was_found_is_refused(path: Path, how: str) -> None:
    found = Found.at(path)
    os.utime(path, ns=(0, found.changed_ns - 10**9))
    found = Found.at(path)
    if how == "truncated":
        os.truncate(path, 2_999_999)
    elif how == "replaced":
        other = path.with_name("other")
        other.write_bytes(path.read_bytes())
        os.utime(other, ns=(0, found.changed_ns))
        other.replace(path)
    else:
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END if how == "grown" else os.SEEK_SET)
            file.write(b"x")
    with pytest.raises(OSError, match="another program changed it") as raised:
        copy_file(found)
    assert is_change(raised.value)
    assert raised.value.filename == str(path)


def test_a_file_that_is_cut_short_while_it_is_read_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is not enough, and no more is to come."""
    monkeypatch.setattr(own_copy, "_CHUNK_BYTES", 1000)
    found, n_checks = Found.at(path), []
    monkeypatch.setattr(Found, "check", lambda *_: n_checks.append(os.truncate(path, 5000)))
    with pytest.raises(OSError, match="another program changed it"):
        copy_file(found)
    assert len(n_checks) == 1


def test_parts_of_several_files(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(range(200)))
    a, b = Found.at(path), Found.at(other)
    wanted = [(b, 100, 50), (a, 7, 1_500_000), (a, 1_000_000, 600_000), (b, 0, 100), (a, 2_000_001, 0)]
    parts = [Part(*what) for what in wanted]
    for part, copy in zip(parts, copy_parts(parts), strict=True):
        assert copy.tobytes() == part.file.path.read_bytes()[part.start : part.stop]
        assert copy.size == 0 or copy.ctypes.data % 64 == part.start % 64
    spans, span_of = join_parts(parts)
    assert sum(span.n_bytes for span in spans) == 150 + 1_599_993
    assert span_of[0] == span_of[3]
    assert span_of[1] == span_of[2]


def test_names_of_one_file_are_one_file(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.hardlink_to(path)
    spans, _ = join_parts([Part(Found.at(path), 0, 100), Part(Found.at(link), 50, 100)])
    assert [span.n_bytes for span in spans] == [150]


def test_arrays_on_disk_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [np.arange(30.0, dtype=np.float32).reshape(5, 6), np.arange(3), np.ones((2, 2)).T]
    shared = share_with_disk(arrays)
    release_pages(shared)
    for before, after in zip(arrays, shared, strict=True):
        np.testing.assert_array_equal(before, after)
        assert not after.flags.writeable
        assert mapping_of(after) is not None
    assert share_with_disk([]) == []

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(own_copy, "unnamed_file", full)
    assert share_with_disk(arrays)[0] is arrays[0]


@pytest.mark.parametrize("has_room", [True, False])
def test_arrays_are_written_one_after_the_other(has_room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_room:
        monkeypatch.setattr(own_copy, "unnamed_file", full)
    alive: list[int] = []

    def make() -> Iterator[np.ndarray]:
        for i in range(5):
            array = np.full((i, 3), i, np.int16)
            weakref.finalize(array, alive.remove, i)
            alive.append(i)
            assert len(alive) <= 2 or not has_room, "made, and written"
            yield array

    found = make_on_disk(make)
    for i, array in enumerate(found):
        np.testing.assert_array_equal(array, np.full((i, 3), i, np.int16))
        assert (mapping_of(array) is not None) == has_room
