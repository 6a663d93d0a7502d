"""Files are loaded as users load them: by path, in another process and working directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.errors import OutputError, ProviderError, VerificationError
from onnxzip.runtime.own_path import load_by_path
from tests.cases import CASES


def test_a_sound_file_loads_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = CASES["external_one_file"].write(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    load_by_path(Path(path.name), "out.onnx")
    assert sorted(tmp_path.iterdir()) == before


def test_data_that_only_the_working_directory_has_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sparse tensor's data lie in the working directory, where onnxruntime looks for them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    values = np.linspace(1, 2, 4, dtype=np.float32)
    (elsewhere / "values.bin").write_bytes(values.tobytes())
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    tensor.external_data.add(key="location", value="values.bin")
    places = numpy_helper.from_array(np.arange(0, 16, 5), "")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y])
    graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, places, [4, 4]))
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(VerificationError, match=r"^out\.onnx: the new file does not load .*values\.bin"):
        load_by_path(path, "out.onnx")


def test_operators_that_are_not_known_are_told_apart(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    node = helper.make_node("Mystery", ["x"], ["y"], domain="my.own")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    with pytest.raises(ProviderError, match=r"^out\.onnx: operator my\.own:Mystery is unknown"):
        load_by_path(path, "out.onnx")


def test_no_second_process_is_a_fault_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(OutputError, match=r"no second process can be started .*unavailable"):
        load_by_path(tmp_path / "model.onnx", "out.onnx")


def test_a_process_that_is_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr("onnxzip.runtime.own_path.get_executable", lambda: os.fspath(script))
    with pytest.raises(VerificationError, match="the process was ended by signal 9"):
        load_by_path(tmp_path / "model.onnx", "out.onnx")
