"""Arrays that lie in the copy of the file they came from."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.disk import own_copy
from onnxzip.disk.own_copy import Found, copy_file, mapping_of, release_pages
from onnxzip.graph import read_model
from onnxzip.graph.reading.mapped_arrays import share_with_copy


def make_model(**weights):
    nodes = [helper.make_node("MatMul", ["x", name], [f"y_{name}"]) for name in weights]
    outputs = [helper.make_tensor_value_info(f"y_{n}", TensorProto.FLOAT, None) for n in weights]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 200])
    tensors = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def random(seed, n_columns=200):
    return np.random.default_rng(seed).standard_normal((200, n_columns)).astype(np.float32)


def test_large_arrays_are_views_of_the_copy_and_keep_their_values(tmp_path, monkeypatch):
    monkeypatch.setattr(own_copy, "_MIN_DISK_BYTES", 1)
    weights = {"a": random(0), "small": random(1, 2), "zeros": np.zeros((200, 200), np.float32)}
    path = tmp_path / "m.onnx"
    onnx.save(make_model(**weights), path)
    arrays = read_model(path).arrays
    for name, weight in weights.items():
        np.testing.assert_array_equal(arrays[name], weight)
        assert not arrays[name].flags.writeable
        assert (mapping_of(arrays[name]) is not None) == (name != "small")
    release_pages(arrays.values())
    for name, weight in weights.items():
        np.testing.assert_array_equal(arrays[name], weight)


@pytest.mark.parametrize("change", ["other values", "nothing behind the header", "another file"])
def test_what_is_not_found_in_the_copy_stays_as_it_is(tmp_path, change, monkeypatch):
    monkeypatch.setattr(own_copy, "_MIN_DISK_BYTES", 1)
    model = make_model(a=random(0))
    data = model.SerializeToString()
    path = tmp_path / "m.onnx"
    end = data.index(random(0).tobytes())
    path.write_bytes(
        {
            "other values": make_model(a=random(1)).SerializeToString(),
            "nothing behind the header": data[: end + 100],
            "another file": b"something else",
        }[change]
    )
    array = random(0)
    arrays = {"a": array}
    share_with_copy(arrays, copy_file(Found.at(path)))
    assert arrays["a"] is array
