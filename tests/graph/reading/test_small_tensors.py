"""Which small float tensors may be rounded: those that others add, or multiply by, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxzip.graph import find_small_layers, read_model
from tests.casebook.kit import Draft, value

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 1, shape).astype(np.float32)


def found(proto: onnx.ModelProto) -> list[str]:
    return [layer.name for layer in find_small_layers(read_model(proto))]


def reader(
    op_type: str, index: int, array: Any = None, n_inputs: int = 3, domain: str = ""
) -> onnx.ModelProto:
    """Return a model of one node whose input `index` is the tensor t; the others are graph inputs."""
    draft = Draft()
    draft.tensor("t", numbers(8) if array is None else array)
    names = [f"x{i}" for i in range(n_inputs)]
    inputs = ["t" if i == index else name for i, name in enumerate(names)]
    draft.add(op_type, inputs, "y", domain=domain)
    known = [value(name, None) for i, name in enumerate(names) if i != index]
    domains = {domain: 1} if domain else None
    return draft.model(known, [value("y", None)], domains=domains)


def body(op_type: str | None, name: str, *inputs: str) -> onnx.GraphProto:
    """Return a branch that computes op(*inputs), or hands out the value `name`."""
    draft = Draft()
    if op_type:
        draft.add(op_type, inputs, name)
    return draft.graph([], [value(name, None)], f"{name}_branch")


def branching(then: onnx.GraphProto, outside: str | None = None) -> onnx.ModelProto:
    """Return y = If(then, -x), with the tensor t outside, which `outside` reads too."""
    draft = Draft()
    draft.tensor("t", numbers(8))
    branches = {"then_branch": then, "else_branch": body("Neg", "v", "x")}
    draft.add("If", [draft.tensor("c", np.array(True))], "y", **branches)
    outputs = [value("y", None)]
    if outside:
        draft.add(outside, ["x", "t"], "z")
        outputs.append(value("z", None))
    return draft.model([value("x", [2, 8])], outputs)


# ---------------------------------------------------------------- operators

TAKEN = [
    *(("Conv", 1), ("Conv", 2), ("ConvTranspose", 2), ("Gemm", 1), ("Gemm", 2)),
    *(("Add", 0), ("Add", 1), ("Sub", 0), ("Sub", 1), ("Mul", 0), ("Mul", 1), ("MatMul", 0)),
    *(("MatMul", 1), ("LayerNormalization", 1), ("LayerNormalization", 2)),
    *(("InstanceNormalization", 1), ("InstanceNormalization", 2)),
    *(("BatchNormalization", 1), ("BatchNormalization", 2), ("BatchNormalization", 3)),
    *(("PRelu", 1), ("LSTM", 1), ("GRU", 2), ("RNN", 3)),
]
REFUSED = [
    *(("BatchNormalization", 0), ("BatchNormalization", 4), ("Div", 0), ("Div", 1), ("Pow", 1)),
    *(("QuantizeLinear", 1), ("DequantizeLinear", 1), ("Resize", 1), ("Resize", 2), ("Conv", 0)),
    *(("Gemm", 0), ("LayerNormalization", 0), ("PRelu", 0), ("LSTM", 5), ("LSTM", 7), ("Less", 1)),
    *(("Where", 1), ("Gather", 0), ("Max", 1), ("Concat", 0), ("Sqrt", 0), ("Identity", 0)),
    *(("QLinearConv", 4), ("Softmax", 0), ("Reciprocal", 0), ("Upsample", 1), ("Sum", 0)),
]


@pytest.mark.parametrize(("op_type", "index"), TAKEN)
def test_operators_that_add_or_multiply(op_type: str, index: int) -> None:
    array = numbers(1, 4, 2)
    proto = reader(op_type, index, array, n_inputs=5)
    (layer,) = find_small_layers(read_model(proto))
    assert (layer.name, layer.op_type) == ("t", op_type)
    assert layer.weight.tobytes() == array.tobytes()
    assert (layer.weight.dtype, layer.weight.shape) == (np.float32, (1, 4, 2))
    assert layer.layout.is_canonical


@pytest.mark.parametrize(("op_type", "index"), REFUSED)
def test_operators_that_scale_or_decide(op_type: str, index: int) -> None:
    assert found(reader(op_type, index, n_inputs=8)) == []


def test_unknown_domains_are_refused() -> None:
    assert found(reader("Add", 1, n_inputs=2)) == ["t"]
    assert found(reader("Add", 1, n_inputs=2, domain="ai.onnx")) == ["t"]
    for domain in ("com.example", "com.microsoft", "ai.onnx.ml"):
        assert found(reader("Add", 1, n_inputs=2, domain=domain)) == []


def test_every_reader_counts() -> None:
    """One that does not suit is enough, at whatever input."""
    for op_type, inputs, domain, wanted in (
        ("Mul", ("x", "t"), "", ["t"]),
        ("Div", ("x", "t"), "", []),
        ("Where", ("m", "x", "t"), "", []),
        ("Mul", ("x", "t"), "com.example", []),
    ):
        draft = Draft()
        draft.tensor("t", numbers(8))
        draft.add("Add", ["x", "t"], "y")
        draft.add(op_type, inputs, "z", domain=domain)
        known = [value("x", [8]), value("m", [8], onnx.TensorProto.BOOL)]
        outputs = [value("y", None), value("z", None)]
        assert found(draft.model(known, outputs, domains={"com.example": 1})) == wanted


def test_what_nothing_reads_is_left() -> None:
    draft = Draft()
    draft.tensor("t", numbers(8))
    draft.add("Relu", ["x"], "y")
    assert found(draft.model([value("x", [8])], [value("y", None)])) == []


# ---------------------------------------------------------------- tensors

KINDS = {
    "7 elements": numbers(7),
    "7 in two axes": numbers(7, 1),
    "none": numbers(0),
    "a scalar": np.float32(2),
    "256 elements": numbers(256),
    "256 in two axes": numbers(2, 128),
    "float16": numbers(16).astype(np.float16),
    "float64": numbers(16).astype(np.float64),
    "int32": np.arange(16, dtype=np.int32),
    "int64": np.arange(16),
    "int8": np.arange(16, dtype=np.int8),
    "bool": np.ones(16, np.bool_),
    "nan": np.where(np.arange(16) == 3, np.nan, numbers(16)).astype(np.float32),
    "inf": np.where(np.arange(16) == 15, np.inf, numbers(16)).astype(np.float32),
    "minus inf": np.where(np.arange(16) == 0, -np.inf, numbers(16)).astype(np.float32),
}


@pytest.mark.parametrize("array", KINDS.values(), ids=KINDS.keys())
def test_tensors_of_another_size_or_kind(array: np.ndarray) -> None:
    assert found(reader("Add", 1, array, n_inputs=2)) == []


@pytest.mark.parametrize("shape", [(8,), (2, 4), (240,), (1, 240, 1, 1), (1, 8)])
def test_tensors_of_the_right_size(shape: tuple[int, ...]) -> None:
    assert found(reader("Add", 1, numbers(*shape), n_inputs=2)) == ["t"]


def test_data_in_typed_fields() -> None:
    proto = reader("Add", 1, n_inputs=2)
    array = numbers(8)
    tensor = helper.make_tensor("t", onnx.TensorProto.FLOAT, [8], array.tolist())
    assert not tensor.raw_data
    proto.graph.initializer[0].CopyFrom(tensor)
    (layer,) = find_small_layers(read_model(proto))
    np.testing.assert_array_equal(layer.weight, array)


# ---------------------------------------------------------------- places


def test_graph_outputs_are_left() -> None:
    proto = reader("Add", 1, n_inputs=2)
    assert found(proto) == ["t"]
    proto.graph.output.append(value("t", [8]))
    assert found(proto) == []


def test_overridable_inputs_are_left() -> None:
    proto = reader("Add", 1, n_inputs=2)
    proto.graph.input.append(value("t", [8]))
    assert found(proto) == []


@pytest.mark.parametrize("outside", [None, "Add", "Div"])
def test_bodies_may_read(outside: str | None) -> None:
    """A reader in a body counts like one outside."""
    wanted = [] if outside == "Div" else ["t"]
    assert found(branching(body("Add", "u", "x", "t"), outside)) == wanted
    assert found(branching(body("Div", "u", "x", "t"), outside)) == []


def test_bodies_within_bodies_may_read() -> None:
    for op_type, wanted in (("Add", ["t"]), ("Div", [])):
        inner = Draft()
        branches = {"then_branch": body(op_type, "u", "x", "t"), "else_branch": body("Abs", "w", "x")}
        inner.add("If", ["c"], "outer_u", **branches)
        assert found(branching(inner.graph([], [value("outer_u", None)], "then"))) == wanted


def test_what_a_body_hands_out_is_left() -> None:
    assert found(branching(body(None, "t"), "Add")) == []


def test_tensors_of_bodies_and_constant_nodes_are_left() -> None:
    inner = Draft()
    inner.add("Add", ["x", inner.tensor("own", numbers(8))], "u")
    assert found(branching(inner.graph([], [value("u", None)], "then"), "Add")) == ["t"]
    draft = Draft()
    draft.add("Constant", [], "k", value=numpy_helper.from_array(numbers(8), "k"))
    draft.add("Add", ["x", "k"], "y")
    assert found(draft.model([value("x", [8])], [value("y", None)])) == []


def test_calls_of_functions_are_no_known_readers() -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["c"])]
    function = helper.make_function(
        "local", "Shift", ["a", "b"], ["c"], nodes, [helper.make_opsetid("", 17)]
    )
    draft = Draft()
    draft.add("Shift", ["x", draft.tensor("t", numbers(8))], "y", domain="local")
    draft.add("Add", ["x", draft.tensor("plain", numbers(8))], "z")
    outputs = [value("y", None), value("z", None)]
    proto = draft.model([value("x", [8])], outputs, domains={"local": 1}, functions=[function])
    assert found(proto) == ["plain"]


def test_layers_come_in_the_model_s_order() -> None:
    """And are called after their first reader."""
    draft = Draft()
    names = ["b", "c", "a", "d"]
    for name in names:
        draft.tensor(name, numbers(8))
    draft.add("Mul", ["x", "d"], "m")
    for name in ("a", "b", "c", "d"):
        draft.add("Add", ["m", name], f"y_{name}")
    outputs = [value(f"y_{name}", None) for name in names]
    layers = find_small_layers(read_model(draft.model([value("x", [8])], outputs)))
    assert [(la.name, la.op_type) for la in layers] == [
        *(("b", "Add"), ("c", "Add"), ("a", "Add"), ("d", "Mul")),
    ]
