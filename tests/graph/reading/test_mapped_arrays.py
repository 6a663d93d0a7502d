"""Arrays that stay in the file they came from."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.graph import read_model, release_pages
from onnxzip.graph.reading.mapped_arrays import mapping_of, share_with_disk, share_with_file


def make_model(**weights):
    nodes = [helper.make_node("MatMul", ["x", name], [f"y_{name}"]) for name in weights]
    outputs = [helper.make_tensor_value_info(f"y_{n}", TensorProto.FLOAT, None) for n in weights]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 200])
    tensors = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def random(seed, n_columns=200):
    return np.random.default_rng(seed).standard_normal((200, n_columns)).astype(np.float32)


def test_large_arrays_are_views_of_the_file_and_keep_their_values(tmp_path):
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
def test_what_is_not_found_in_the_file_stays_as_it_is(tmp_path, change):
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
    share_with_file(arrays, path)
    assert arrays["a"] is array


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

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert share_with_disk(arrays)[0] is arrays[0]
