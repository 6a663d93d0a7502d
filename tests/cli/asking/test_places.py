"""Which names of a command line are read, and which written."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxzip.cli.asking.places import STDIN, STDOUT, Places, places_of
from onnxzip.errors import InputError, UsageError


def test_one_name_is_written_beside_itself_and_never_in_its_place() -> None:
    assert places_of(["a/m.onnx"]) == Places(Path("a/m.onnx"), Path("a/m.small.onnx"))
    assert places_of(["m.ONNX"]).output == Path("m.small.onnx")
    assert places_of(["m.onnx.v2"]).output == Path("m.onnx.v2.small.onnx")
    assert places_of(["model"]).output == Path("model.small.onnx")
    with pytest.raises(UsageError, match="compressed already"):
        places_of(["m.small.onnx"])


def test_a_dash_is_a_stream_and_a_path_to_such_a_name_is_a_file() -> None:
    assert places_of(["-"]) == places_of(["-", "-"]) == Places(STDIN, STDOUT)
    assert places_of(["m.onnx", "-"]) == Places(Path("m.onnx"), STDOUT)
    assert places_of(["./-", "out.onnx"]) == Places(Path("-"), Path("out.onnx"))


def test_a_folder_and_several_models_go_to_a_folder(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert places_of([folder, "out"]).several == (tmp_path,)
    assert places_of(["a.onnx", "b.onnx", "out"]).several == (Path("a.onnx"), Path("b.onnx"))
    assert places_of(["a.onnx", "out/"]) == Places(Path("a.onnx"), Path("out"), (Path("a.onnx"),))
    assert places_of(["a.onnx", folder]).several == (), "OUT is a directory: refused when it is written"


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there.bin"
    there.write_bytes(b"x")
    for texts in (["a", "b", str(there)], ["a", "b", "c.onnx"], ["a", "-", "out"], [str(tmp_path)]):
        with pytest.raises(UsageError):
            places_of(texts)
    for texts in (["", "b"], ["a", ""], [""], ["a", "b", ""]):
        with pytest.raises(UsageError, match="the name of a file is empty"):
            places_of(texts)
    with pytest.raises(InputError, match="is a directory; name the"):
        places_of([str(tmp_path), "out.onnx"])
