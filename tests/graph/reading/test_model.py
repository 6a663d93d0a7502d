"""Reading and putting together again: nothing is lost, nothing but ModelError is raised."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxzip.disk import own_copy
from onnxzip.disk.own_copy import mapping_of
from onnxzip.errors import ModelError
from onnxzip.graph import find_layers, read_model, to_proto
from onnxzip.graph.reading.model import MIN_DETACHED_BYTES
from onnxzip.graph.writing.loadable import loadable
from onnxzip.runtime.session import open_session
from tests.cases import BAD_FILES, CASES, BadFile, Case
from tests.graph.running import RUNNABLE, assert_same_behaviour, run

# onnxruntime accepts these, or their fault shows only when a session is opened.
LEFT_TO_THE_RUNTIME = {"shapes_disagree", "unknown_operator", "unknown_ir_version"}
NOT_A_WEIGHT_FAULT = {"nan_weight", "inf_weight"}


def comparable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with every initializer's data in raw form, so that equal models are equal."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type != TensorProto.STRING:
            array, doc = numpy_helper.to_array(tensor), tensor.doc_string
            packed = tensor.raw_data
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
            tensor.raw_data = packed or tensor.raw_data
            if doc:
                tensor.doc_string = doc
    return copy


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_round_trip_changes_nothing(case: Case, tmp_path: Path) -> None:
    proto = case.build()
    found = to_proto(read_model(case.write(tmp_path)))
    if case.name == "external_constant":  # from here on the data are inside
        found.graph.node[0].attribute[0].t.CopyFrom(proto.graph.node[0].attribute[0].t)
    assert comparable(found) == comparable(proto)


@pytest.mark.parametrize("case", RUNNABLE, ids=str)
def test_round_trip_runs_the_same(case: Case, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    assert_same_behaviour(read_model(path), path, case)


def test_reading_does_not_change_the_proto_it_is_given() -> None:
    proto = CASES["conv_batch_norm"].build()
    before = proto.SerializeToString()
    model = read_model(proto)
    model.proto.graph.node[0].name = "changed"
    model.arrays.clear()
    assert proto.SerializeToString() == before


def test_copies_are_independent() -> None:
    model = read_model(CASES["conv_batch_norm"].build())
    copy = model.copy()
    del copy.proto.graph.node[:]
    copy.arrays.clear()
    assert model.proto.graph.node
    assert model.arrays


def test_large_initializers_are_detached_and_read_only() -> None:
    model = read_model(CASES["conv_batch_norm"].build())
    assert set(model.arrays) >= {"weight", "last"}
    assert all(not array.flags.writeable for array in model.arrays.values())
    assert model.proto.ByteSize() < 4 * MIN_DETACHED_BYTES
    assert model.n_bytes == CASES["conv_batch_norm"].build().ByteSize()


@pytest.mark.parametrize("name", ["external_one_file", "external_file_per_tensor"])
def test_external_data_lie_in_a_copy_on_disk(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_copy, "_MIN_DISK_BYTES", 1)
    path = CASES[name].write(tmp_path)
    model = read_model(path)
    mapped = [array for array in model.arrays.values() if mapping_of(array) is not None]
    assert len(mapped) >= 2
    assert model.n_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_sizes_of_many_parts_stay_inline() -> None:
    """No shape is inferred from sizes that onnxruntime is handed over in memory."""
    parts = [f"y{i}" for i in range(MIN_DETACHED_BYTES // 8 + 1)]
    sizes = numpy_helper.from_array(np.full(len(parts), 2), "sizes")
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in parts]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2 * len(parts)])
    node = helper.make_node("Split", ["x", "sizes"], parts)
    graph = helper.make_graph([node], "g", [x], outputs, [sizes])
    opsets = [helper.make_opsetid("", 17)]
    model = read_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    with open_session(loadable(model)) as session:
        assert session.run({"x": np.arange(2 * len(parts), dtype=np.float32)})["y3"].tolist() == [6, 7]


def test_types_that_numpy_lacks_stay_inline() -> None:
    """int4 is packed and strings have no bytes: neither may become an array of raw data."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Gather", ["names", "i"], ["label"]),
    ]
    packed = helper.make_tensor("q", TensorProto.INT4, [64, 64], [i % 15 - 7 for i in range(4096)])
    texts = numpy_helper.from_array(np.array([f"a long label {i}" for i in range(200)], object), "names")
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 64]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 64]),
            helper.make_tensor_value_info("label", TensorProto.STRING, [1]),
        ],
        [packed, scale, texts],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    feeds = {"x": np.ones((2, 64), np.float32), "i": np.array([7])}
    model = read_model(proto)
    assert not model.arrays
    found, wanted = run(to_proto(model), feeds), run(proto, feeds)
    np.testing.assert_array_equal(found["y"], wanted["y"])
    assert found["label"] == wanted["label"] == ["a long label 7"]


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=str)
def test_bad_files_are_model_errors_of_one_line(bad: BadFile, tmp_path: Path) -> None:
    path = bad.write(tmp_path)
    if bad.name in LEFT_TO_THE_RUNTIME:
        find_layers(read_model(path))
        return
    with pytest.raises(ModelError) as caught:
        find_layers(read_model(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) > len(str(path)) + 20


@settings(derandomize=True, deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_bytes_raise_nothing_but_model_errors(data: st.DataObject) -> None:
    """Flip or cut bytes anywhere but in the weights: it reads, or it is a ModelError."""
    name = data.draw(
        st.sampled_from(["if_nested", "function_calls_function", "conv_batch_norm", "metadata"])
    )
    content = bytearray(CASES[name].build().SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(len(content), 700) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    with contextlib.suppress(ModelError):
        find_layers(read_model(bytes(content)))


@pytest.mark.parametrize("source", [3, None])
def test_other_sources_are_refused(source: object) -> None:
    with pytest.raises(ModelError, match="expected a path"):
        read_model(source)  # type: ignore[arg-type]


def test_numbers_missing_in_a_typed_field_are_found() -> None:
    proto = CASES["typed_field"].build()
    del proto.graph.initializer[0].float_data[-1]
    with pytest.raises(ModelError, match=r"'weight' of shape \(64, 48\) needs 3072 numbers .* has 3071"):
        read_model(proto)


def test_path_that_no_file_can_have() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_model(Path("a\0b"))
