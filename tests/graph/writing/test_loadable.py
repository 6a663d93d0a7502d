"""Arrays in files of ours are read where they lie: no session copies them."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxzip.disk import mapped_file, own_copy
from onnxzip.disk.own_copy import share_with_disk
from onnxzip.disk.temporary import lasting_folder
from onnxzip.graph import Model, loadable, read_model
from onnxzip.graph.writing import loadable as module
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.optimised import optimised_model
from onnxzip.runtime.session import open_session
from tests.casebook.kit import Draft, value

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files get no names elsewhere")

X = np.random.default_rng(1).standard_normal((4, 600)).astype(np.float32)


def in_files(monkeypatch: pytest.MonkeyPatch) -> tuple[Model, dict[str, np.ndarray]]:
    """Return a model of two MatMuls whose weights lie in two files of ours, and its answers."""
    monkeypatch.setattr(module, "_MIN_BYTES", 1)
    draft = Draft()
    shapes = {"a": (600, 700), "b": (700, 500)}
    weights = {n: draft.rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    draft.add("MatMul", ["x", draft.tensor("a", weights["a"])], "h")
    draft.add("MatMul", ["h", draft.tensor("b", weights["b"])], "y")
    model = read_model(draft.model([value("x", ["n", 600])], [value("y", ["n", 500])]))
    for name, array in model.arrays.items():
        (model.arrays[name],) = share_with_disk([array])
    return model, {"y": X @ weights["a"] @ weights["b"]}


def answers(source: LoadableModel) -> dict[str, np.ndarray]:
    with open_session(source) as session:
        return session.run({"x": X})


def check(source: LoadableModel, wanted: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(answers(source)["y"], wanted["y"], rtol=1e-4, atol=1e-2)


def named() -> set[Path]:
    return set(lasting_folder().iterdir())


def test_several_sessions_read_arrays_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    before = named()
    model, wanted = in_files(monkeypatch)
    source = loadable(model)
    assert source.in_files is not None
    assert source.in_files.names == {"a", "b"}
    for _ in range(2):  # a file that lost its last name would get no other one
        check(source, wanted)
    assert b"MatMul" in optimised_model(source)
    assert len(named() - before) == 2, "two files, and no model"
    del model, source
    gc.collect()
    assert named() == before, "names go with the arrays"


def test_a_session_handles_arrays_in_memory_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model, wanted = in_files(monkeypatch)
    model.arrays["a"] = 2 * model.arrays["a"]
    source = loadable(model)
    assert source.in_files is not None
    assert source.in_files.names == {"b"}
    check(source, {"y": 2 * wanted["y"]})


def test_no_file_goes_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    model, wanted = in_files(monkeypatch)
    source = pickle.loads(pickle.dumps(loadable(model)))
    assert source.in_files is None
    check(source, wanted)


@pytest.mark.parametrize("lacking", ["names", "descriptors"])
def test_what_gets_no_name_is_handed_over_in_memory(
    monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError

    monkeypatch.setattr(mapped_file.os, "link" if lacking == "names" else "dup", refuse)
    model, wanted = in_files(monkeypatch)
    source = loadable(model)
    assert (source.in_files is None) == (lacking == "descriptors")
    check(source, wanted)


def test_few_arrays_and_integers_are_handed_over_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = in_files(monkeypatch)
    monkeypatch.setattr(module, "_MIN_BYTES", 1 << 23)
    assert loadable(model).in_files is None
    monkeypatch.setattr(module, "_MIN_BYTES", 1)
    (integers,) = share_with_disk([np.zeros((2048, 2048), np.int8)])
    model.arrays["c"] = integers
    assert loadable(model).in_files is None, "kernels on integers are made to be packed"


def test_a_child_that_is_forked_leaves_the_folder_alone(tmp_path: Path) -> None:
    folder = lasting_folder()
    child = os.fork()
    if not child:
        code = int(lasting_folder() == folder)
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert folder.is_dir()


def test_arrays_that_are_large_together_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = in_files(monkeypatch)
    before = dict(model.arrays)
    model.arrays["c"] = np.arange(1 << 15, dtype=np.float32)
    model.arrays["small"] = np.ones(3, np.float32)
    own_copy.settle(model.arrays)
    assert own_copy.mapping_of(model.arrays["c"]) is None, "128 KiB are not worth a file"
    monkeypatch.setattr(own_copy, "_MIN_TOGETHER_BYTES", 1 << 17)
    own_copy.settle(model.arrays)
    assert own_copy.mapping_of(model.arrays["c"]) is not None
    np.testing.assert_array_equal(model.arrays["c"], np.arange(1 << 15, dtype=np.float32))
    assert own_copy.mapping_of(model.arrays["small"]) is None
    assert all(model.arrays[name] is array for name, array in before.items())
