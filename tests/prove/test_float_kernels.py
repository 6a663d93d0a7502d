"""Nodes that stand between QuantizeLinear and DequantizeLinear and are not fused are found by name."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnxzip.graph import float_nodes, integer_nodes, read_model
from onnxzip.prove.structure import float_kernels, unfused


def pair(value: str, to: str) -> list[onnx.NodeProto]:
    """Round a value to another name."""
    return [
        helper.make_node("QuantizeLinear", [value, "s", "z"], [f"{to}_q"]),
        helper.make_node("DequantizeLinear", [f"{to}_q", "s", "z"], [to]),
    ]


def integer_model(behind: list[onnx.NodeProto], rank: int = 4) -> bytes:
    """Return x -> rounded a -> Conv c by int8 weights -> what is given, up to y."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(8, 4) + (3,) * (rank - 2)).astype(np.float32),
        "sw": np.full(8, 0.05, np.float32),
        "zw": np.zeros(8, np.int8),
        "s": np.float32(0.05),
        "z": np.uint8(0),
        "b": np.array([1, 2, 3, 4, 5, 6, 7, 8], np.int32),
        "sb": np.full(8, 0.0025, np.float32),
    }
    nodes = [
        *pair("x", "a"),
        helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["w_q"], axis=0),
        helper.make_node("DequantizeLinear", ["w_q", "sw", "zw"], ["w_d"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb"], ["b_d"], axis=0),
        helper.make_node("Conv", ["a", "w_d", "b_d"], ["c"], pads=[1] * 2 * (rank - 2)),
        *behind,
    ]
    shape = ["n", 4, *[8] * (rank - 2)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def names(behind: list[onnx.NodeProto], rank: int = 4) -> tuple[str, ...]:
    return unfused(read_model(integer_model(behind, rank)))


def test_what_is_fused_is_not_named() -> None:
    assert names(pair("c", "y")) == ()
    relu = helper.make_node("Relu", ["c"], ["r"])
    assert names([relu, *pair("r", "y")]) == ()
    add = helper.make_node("Add", ["d", "d"], ["e"])
    assert names([*pair("c", "d"), add, *pair("e", "y")]) == ()
    pool = helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2])
    assert names([*pair("c", "d"), pool, *pair("e", "y")]) == ()
    assert names(pair("c", "y"), rank=3) == names(pair("c", "y"), rank=5) == ()


def test_a_conv_whose_answer_is_not_rounded_is_named() -> None:
    behind = [helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Sigmoid", ["r"], ["y"])]
    assert names(behind) == ("c",)
    assert names([helper.make_node("Sigmoid", ["c"], ["y"])]) == ("c",)


def test_a_clip_below_the_range_of_the_grid_leaves_its_conv_in_float() -> None:
    clip = helper.make_node("Clip", ["c", "s", "six"], ["r"])
    six = helper.make_node("Constant", [], ["six"], value_float=6.0)
    assert names([six, clip, *pair("r", "y")]) == ("c",)


def test_a_carrier_that_no_kernel_is_put_for_is_named() -> None:
    add = helper.make_node("Add", ["d", "f"], ["e"])
    model = read_model(integer_model([*pair("c", "d"), *pair("c", "f"), add, *pair("e", "y")]))
    (*_, carrier) = integer_nodes(model)
    assert carrier.output == "e"
    # The graph as it is, not optimised, has the float operators.
    assert float_nodes(model.proto.SerializeToString(), integer_nodes(model)) == ("c", "e")


def test_a_model_without_integers_is_not_even_loaded() -> None:
    model = read_model(integer_model([helper.make_node("Relu", ["c"], ["y"])]))
    del model.proto.graph.node[:5]
    assert unfused(model) == ()


def test_the_warning_counts_and_names() -> None:
    model = read_model(integer_model([helper.make_node("Sigmoid", ["c"], ["y"])]))
    (finding,) = float_kernels(model, None)
    assert finding.text.startswith("1 of 1 nodes that were to compute in int8 do so in float32")
    assert "(c)" in finding.text
    assert float_kernels(read_model(integer_model(pair("c", "y"))), None) == ()
