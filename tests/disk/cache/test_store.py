"""Files of a cache: whole or not there, bounded, and of several processes at once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxzip.disk.cache.store import FOLDER, Store, check_outside
from onnxzip.disk.temporary import PREFIX, SUFFIX
from onnxzip.errors import OutputError

KEYS = [f"{i:064x}" for i in range(1, 9)]
LARGE = 1 << 30
BLOCK = 4096


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and len(path.name) == 62)


def test_what_is_written_is_read_again_by_another_store(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "cache"
    store = Store(folder, LARGE)
    assert store.read(KEYS[0]) is None
    for content in (b"", b"\n\n", b"second", bytes(range(256)) * 100):
        store.write(KEYS[0], content)
        assert store.read(KEYS[0]) == Store(folder, LARGE).read(KEYS[0]) == content
    assert store.read(KEYS[1]) is None
    assert (folder / FOLDER / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")


@pytest.mark.parametrize(
    "harm", ["cut", "flipped", "emptied", "longer", "renamed", "a folder", "a pipe", "endless"]
)
def test_what_is_damaged_is_no_entry_and_can_be_written_again(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path, LARGE)
    store.write(KEYS[0], b"content" * 100)
    (path,) = entries(tmp_path)
    written = path.read_bytes()
    path.unlink()
    if harm == "renamed":
        store.write(KEYS[1], b"other")
        other = next(other for other in entries(tmp_path) if other != path)
        other.rename(path)
    elif harm == "a folder":
        path.mkdir()
    elif harm == "a pipe":
        os.mkfifo(path)
    elif harm == "endless":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        middle = len(written) // 2
        flipped = written[:middle] + bytes([written[middle] ^ 1]) + written[middle + 1 :]
        bad = {"cut": written[:-1], "flipped": flipped, "emptied": b"", "longer": written + b"x"}
        path.write_bytes(bad[harm])
    with caplog.at_level(logging.DEBUG):
        assert store.read(KEYS[0]) is None
    assert "made again" in caplog.text
    if harm == "a folder":
        path.rmdir()
    store.write(KEYS[0], b"new")
    assert store.read(KEYS[0]) == b"new"


def test_half_an_entry_is_never_seen_and_does_not_stay(tmp_path: Path) -> None:
    """What a run that was killed has left goes with the next entry beside it."""
    store = Store(tmp_path, LARGE)
    store.write(KEYS[0], b"content")
    left = entries(tmp_path)[0].with_name(f"{PREFIX}abc{SUFFIX}")
    left.write_bytes(b"half")
    store.write(KEYS[1], b"more")
    assert not left.exists()
    assert store.read(KEYS[0]) == b"content"


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 4 * BLOCK)
    for i, key in enumerate(KEYS[:4]):
        store.write(key, b"x")
        os.utime(tmp_path / FOLDER / key[:2] / key[2:], (i, i))
    assert store.read(KEYS[0]) == b"x"  # used just now
    store.write(KEYS[4], b"x")
    left = [key for key in KEYS if store.read(key) is not None]
    assert left == [KEYS[0], KEYS[3], KEYS[4]]  # a little less than the bound


def test_what_other_runs_have_kept_counts(tmp_path: Path) -> None:
    for key in KEYS:
        Store(tmp_path, LARGE).write(key, b"x" * BLOCK)
    Store(tmp_path, 4 * BLOCK).write("f" * 64, b"x")
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 4 * BLOCK
    assert Store(tmp_path, LARGE).read("f" * 64) == b"x"


def test_what_takes_more_than_all_may_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, 2 * BLOCK)
    store.write(KEYS[0], b"x")
    store.write(KEYS[1], b"x" * (2 * BLOCK + 1))
    assert [store.read(key) for key in KEYS[:2]] == [b"x", None]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """Whoever names a folder that holds other things loses nothing."""
    others = [tmp_path / "photo.jpg", tmp_path / "ab" / ("c" * 62), tmp_path / FOLDER / "notes.txt"]
    Store(tmp_path, LARGE)
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"mine" * BLOCK)
    store = Store(tmp_path, 2 * BLOCK)
    for key in KEYS:
        store.write(key, b"x")
    assert all(other.read_bytes() == b"mine" * BLOCK for other in others)
    assert len(entries(tmp_path / FOLDER)) <= 2


def test_a_folder_that_is_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", LARGE)
    store.write(KEYS[0], b"x")
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert store.read(KEYS[0]) is None
    store.write(KEYS[0], b"x")
    assert store.read(KEYS[0]) == b"x"


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for place in (file, file / "below", Path("/proc/self/cache")):
        with pytest.raises(OutputError, match=f"cache {place}: cannot be written; "):
            Store(place, LARGE)


WRITE = """if True:
    import sys
    from pathlib import Path
    from onnxzip.disk.cache.store import Store
    store = Store(Path(sys.argv[1]), 40 * 4096)
    for i in range(100):
        key = f"{i % 50:064x}"
        found = store.read(key)
        assert found is None or found == key.encode() * (i % 50), i
        store.write(key, key.encode() * (i % 50))
"""


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    """While they write the same entries, and remove what is too much, each reads whole ones only."""
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    Store(tmp_path, 40 * BLOCK).write(KEYS[0], b"last")
    assert 10 <= len(entries(tmp_path)) <= 40
    assert not list(tmp_path.rglob(f"{PREFIX}*"))


def test_what_takes_more_than_all_may_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path, BLOCK)
    assert store.write(KEYS[0], b"x" * BLOCK)
    assert not store.write(KEYS[1], b"x" * (BLOCK + 1))
    assert store.read(KEYS[1]) is None


def test_a_folder_that_nobody_may_write_to_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path, LARGE).write(KEYS[0], b"content")

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("onnxzip.disk.cache.store.temporary_file", refuse)
    store = Store(tmp_path, LARGE)
    assert store.read(KEYS[0]) == b"content"
    with pytest.raises(PermissionError):
        store.write(KEYS[1], b"more")


@pytest.mark.parametrize(
    "name", ["kept", "kept/onnxzip-1", "kept/onnxzip-1/00/x.onnx", "link/onnxzip-1/x"]
)
def test_nothing_is_written_where_entries_lie(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(OutputError, match=r"lies where cache .*kept keeps entries; name another place"):
        check_outside(tmp_path / "kept", [tmp_path / name])


def test_files_beside_entries_may_be_written(tmp_path: Path) -> None:
    names = ("small.onnx", "kept/small.onnx", "kept.onnx")
    check_outside(tmp_path / "kept", [tmp_path / name for name in names])
    with pytest.raises(
        OutputError, match=r"out\.onnx: lies where"
    ):  # a folder would be made in its place
        check_outside(tmp_path / "out.onnx" / "kept", [tmp_path / "out.onnx"])
