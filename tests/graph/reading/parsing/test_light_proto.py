"""Large initializers of a file never pass through protobuf, and all else is as it would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.disk import own_copy
from onnxzip.disk.own_copy import mapping_of, position_of, release_pages
from onnxzip.errors import ModelError
from onnxzip.graph import Model, read_model
from onnxzip.graph.reading.parsing import light_proto
from onnxzip.graph.reading.parsing.wire import header
from tests.cases import CASES
from tests.test_models import MODELS


def make_model(**weights: np.ndarray) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", name], [f"y_{name}"]) for name in weights]
    outputs = [helper.make_tensor_value_info(f"y_{n}", TensorProto.FLOAT, None) for n in weights]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 200])
    tensors = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def random(seed: int, n_columns: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((200, n_columns)).astype(np.float32)


@pytest.fixture(autouse=True)
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_copy, "_MIN_DISK_BYTES", 1)


def same(path: Path) -> Model:
    """Check that a file is read as its bytes are; return the model."""
    found, wanted = read_model(path), read_model(path.read_bytes())
    assert found.serialized() == wanted.serialized()
    assert (found.n_bytes, found.digest) == (wanted.n_bytes, wanted.digest)
    assert list(found.arrays) == list(wanted.arrays)
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
        assert not found.arrays[name].flags.writeable
    return found


def test_large_arrays_lie_aligned_in_a_file_and_keep_their_values(tmp_path: Path) -> None:
    weights = {"a": random(0), "small": random(1, 2), "zeros": np.zeros((200, 200), np.float32)}
    path = tmp_path / "m.onnx"
    onnx.save(make_model(**weights), path)
    arrays = same(path).arrays
    for name in weights:
        assert (mapping_of(arrays[name]) is not None) == (name != "small")
        assert arrays[name].ctypes.data % 64 == 0 or name == "small"
    release_pages(arrays.values())
    for name, weight in weights.items():
        np.testing.assert_array_equal(arrays[name], weight)


@pytest.mark.parametrize("name", sorted(CASES))
def test_models_of_all_kinds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_proto, "_MIN_BYTES", 1)
    path = tmp_path / "m.onnx"
    path.write_bytes(CASES[name].build().SerializeToString())
    same(path)


def test_real_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_proto, "_MIN_BYTES", 1)
    for path in sorted(MODELS.glob("*.onnx")):
        same(path)


def test_what_is_large_has_a_name_for_sessions(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(make_model(a=np.tile(random(0), (1, 10)), b=random(1)), path)
    places = [position_of(array) for array in same(path).arrays.values()]
    assert None not in places
    assert len({place[0].name for place in places if place}) == 1


def edited(edit: Callable[[onnx.TensorProto], None]) -> bytes:
    model = make_model(a=random(0), b=random(1))
    edit(model.graph.initializer[0])
    return model.SerializeToString()


def shorter(tensor: onnx.TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:-4]


def strings(tensor: onnx.TensorProto) -> None:
    tensor.data_type = TensorProto.STRING


def outside(tensor: onnx.TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="missing.data")


def negative(tensor: onnx.TensorProto) -> None:
    tensor.dims[:] = [-200, -200]


def many(tensor: onnx.TensorProto) -> None:
    tensor.dims[:] = [*tensor.dims, *([1] * 100)]


def twins(tensor: onnx.TensorProto) -> None:
    tensor.name = "b"


@pytest.mark.parametrize("edit", [shorter, strings, outside, negative, many, twins])
def test_what_is_wrong_is_said_in_the_same_words(
    edit: Callable[[onnx.TensorProto], None], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(edited(edit))
    inline = onnx.ModelProto.FromString(path.read_bytes())  # not the bytes: they may not lie outside
    with pytest.raises(ModelError) as found:
        read_model(path)
    if edit is outside:
        assert "missing.data" in str(found.value)
        return
    with pytest.raises(ModelError) as wanted:
        read_model(inline)
    assert str(found.value).removeprefix(str(path)) == str(wanted.value).removeprefix("<ModelProto>")


def test_messages_in_unusual_forms(tmp_path: Path) -> None:
    """Fields twice, of which protobuf takes the last one or both, and fields that nobody knows."""
    path = tmp_path / "m.onnx"
    data = make_model(a=random(0)).SerializeToString()
    second = make_model(b=random(1)).graph.SerializeToString()
    path.write_bytes(data + header(7, len(second)) + second)  # graphs are merged
    assert set(same(path).arrays) == {"a", "b"}
    tensor = numpy_helper.from_array(random(2), "c").SerializeToString()
    tensor += header(9, random(3).nbytes) + random(3).tobytes()  # the last raw data count
    model = make_model(c=random(2))
    del model.graph.initializer[:]
    graph = model.graph.SerializeToString() + header(5, len(tensor)) + tensor
    model.ClearField("graph")
    unknown = bytes.fromhex("a83e07 ab3e3a0161ac3e")
    path.write_bytes(model.SerializeToString() + unknown + header(7, len(graph)) + graph + unknown)
    np.testing.assert_array_equal(same(path).arrays["c"], random(3))


def test_every_cut_through_a_file_is_refused_as_protobuf_refuses_it(tmp_path: Path) -> None:
    data = make_model(a=random(0), b=random(1)).SerializeToString()
    path = tmp_path / "m.onnx"
    for stop in (*range(1, 200), *range(200, len(data), 9973), len(data) - 1):
        path.write_bytes(data[:stop])
        answers = []
        for source in (path, data[:stop]):
            try:
                answers.append(str(len(read_model(source).arrays)))
            except ModelError as error:
                answers.append(str(error).removeprefix(str(path)).removeprefix("<bytes>"))
        assert answers[0] == answers[1]
