"""Writing: whole files or none, external data above the limit."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxzip.errors import OutputError, VerificationError
from onnxzip.graph import read_model, to_proto, write_model
from onnxzip.graph.writing import files as write
from tests.cases import CASES
from tests.graph.running import assert_identical, run

CASE = CASES["two_layer_perceptron"]


def fill_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_written_model_is_the_same_model(tmp_path: Path) -> None:
    proto = CASE.build()
    path = tmp_path / "out.onnx"
    sizes: list[int] = []
    write_model(read_model(proto), path, lambda n_bytes, *_: sizes.append(n_bytes))
    assert sizes == [path.stat().st_size]
    assert onnx.load(path) == proto
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]


def test_same_model_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_model(read_model(CASES["metadata"].build()), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("fault", "raised"), [(fill_disk, OutputError), (interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("n_good", [0, 1])
def test_a_failed_write_leaves_everything_as_it_was(
    fault: Callable[..., None],
    raised: type[BaseException],
    external: bool,
    n_good: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "out.onnx"
    old = {path: b"the old model", tmp_path / "out.onnx.data": b"its data"}
    for file, content in old.items():
        file.write_bytes(content)
    calls: list[int] = []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > n_good * external:
            fault()

    monkeypatch.setattr(os, "fsync", sync)
    if external:
        monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    with pytest.raises(raised):
        write_model(read_model(CASE.build()), path)
    assert calls
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == old


@pytest.mark.parametrize("limit", [1000, write.MAX_INLINE_BYTES])
def test_who_does_not_approve_leaves_no_file(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", limit)
    with pytest.raises(KeyboardInterrupt):
        write_model(read_model(CASE.build()), tmp_path / "out.onnx", interrupt)
    assert not list(tmp_path.iterdir())


def test_fault_of_a_full_disk_names_file_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fill_disk)
    with pytest.raises(OutputError, match=r"out\.onnx: cannot be written: No space left on device"):
        write_model(read_model(CASE.build()), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.onnx: another program removed or moved its folder"):
        write_model(read_model(CASE.build()), tmp_path / "absent" / "out.onnx")


def test_mode_of_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    path.touch()
    path.chmod(0o640)
    write_model(read_model(CASE.build()), path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_above_the_limit_arrays_go_beside_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    path = tmp_path / "out.onnx"
    model = read_model(CASE.build())
    sizes: list[int] = []
    write_model(model, path, lambda n_bytes, *_: sizes.append(n_bytes))
    assert sum(sizes) == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert path.stat().st_size < 4096
    model_file, data_file = sorted(tmp_path.iterdir())
    assert model_file == path
    assert re.fullmatch(r"out\.onnx\.[0-9a-f]{16}\.data", data_file.name)
    onnx.checker.check_model(path, full_check=True)
    feeds = CASE.feeds()
    assert_identical(run(path, feeds), run(CASE.build(), feeds))
    again = read_model(path)
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
    with pytest.raises(OutputError, match="do not fit a ModelProto"):
        to_proto(again)


def test_external_model_is_rewritten_over_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arrays are mapped from the very file that is replaced; older data goes, others' stays."""
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    path = tmp_path / "out.onnx"
    stale = tmp_path / f"out.onnx.{'0' * 16}.data"
    foreign = tmp_path / "out.onnx.data"
    for file in (stale, foreign):
        file.touch()
    write_model(read_model(CASE.build()), path)
    write_model(read_model(path), path)
    assert len(list(tmp_path.iterdir())) == 3
    assert foreign.exists()
    assert not stale.exists()
    feeds = CASE.feeds()
    assert_identical(run(path, feeds), run(CASE.build(), feeds))


def test_data_that_a_run_reads_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the model that was at the path before is read: its data bear the name of old data."""
    path, source = tmp_path / "out.onnx", tmp_path / "in.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(write, "MAX_INLINE_BYTES", 1000)
        write_model(read_model(CASE.build()), path)
    path.rename(source)
    original = read_model(source)
    write_model(original, path, kept=original.files)
    assert len(list(tmp_path.glob("out.onnx.*.data"))) == 1
    source.unlink()
    write_model(original, path)
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]


@pytest.mark.parametrize("limit", [1000, write.MAX_INLINE_BYTES])
def test_what_does_not_load_from_its_place_is_not_put_there(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", limit)
    path = tmp_path / "out.onnx"
    path.write_bytes(b"old")

    def check(new: Path) -> None:
        assert new.parent == tmp_path
        assert_identical(run(new, CASE.feeds()), run(CASE.build(), CASE.feeds()))
        raise VerificationError("does not load")

    with pytest.raises(VerificationError):
        write_model(read_model(CASE.build()), path, check=check)
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]
    assert path.read_bytes() == b"old"


def test_a_model_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    path = tmp_path / "out.onnx"
    with pytest.raises(OutputError, match="another program made it meanwhile"):
        write_model(
            *(read_model(CASE.build()), path, lambda *_: path.write_bytes(b"new")), overwrite=False
        )
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]
    assert path.read_bytes() == b"new"


def test_inline_constants_count_towards_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_model(CASES["constant_node"].build())
    assert not model.arrays
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    with pytest.raises(OutputError, match="do not fit"):
        to_proto(model)


def refuse(*_: Any, **__: Any) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_folder_that_cannot_be_opened_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows opens no folder to sync it, but the file is in its place then."""
    open_file = os.open

    def open_no_folder(path: Any, flags: int, *mode: int, **kwargs: Any) -> int:
        if Path(path).is_dir():
            refuse()
        return open_file(path, flags, *mode, **kwargs)

    monkeypatch.setattr(os, "open", open_no_folder)
    write_model(read_model(CASE.build()), tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx") == CASE.build()


@pytest.mark.parametrize("method", ["unlink", "iterdir"])
def test_old_data_that_cannot_be_removed_is_no_failure(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_INLINE_BYTES", 1000)
    path, stale = tmp_path / "out.onnx", tmp_path / f"out.onnx.{'0' * 16}.data"
    stale.touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, refuse)
        write_model(read_model(CASE.build()), path)
    assert stale.exists()
    assert_identical(run(path, CASE.feeds()), run(CASE.build(), CASE.feeds()))


def test_what_cannot_be_cleaned_up_does_not_hide_why_the_write_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        patch.setattr(os, "fsync", fill_disk)
        with pytest.raises(OutputError, match="No space left on device"):
            write_model(read_model(CASE.build()), tmp_path / "out.onnx")
