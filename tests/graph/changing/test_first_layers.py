"""The layers that an input meets first: found through what scales or moves it, with what is behind."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.graph import loadable, read_model
from onnxzip.graph.changing.first_layers import with_first_layers
from onnxzip.runtime.session import open_session

RANDOM = np.random.default_rng(0)


def picture_model(nodes: list[onnx.NodeProto], shape: list[int]) -> onnx.ModelProto:
    arrays = {
        "w": RANDOM.standard_normal((4, 3, 3, 3)),
        "w2": RANDOM.standard_normal((4, 4, 1, 1)),
        "b": RANDOM.standard_normal(4),
        "scale": np.ones(4),
        "mean": np.arange(4.0),
        "variance": 1 + np.arange(4.0),
        "half": np.array(0.5),
        "matrix": RANDOM.standard_normal((3, 4)),
    }
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )


def node(op_type: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


NORM = "scale b mean variance"
CASES = {
    "bias": ([node("Conv", "x w b", "c"), node("Relu", "c", "y")], "c", 1, ""),
    "normalised": (
        [
            node("Conv", "x w", "c"),
            node("BatchNormalization", f"c {NORM}", "n"),
            node("Relu", "n", "y"),
        ],
        *("n", 1, "c"),
    ),
    "head that scales": (
        [
            node("Sub", "x half", "s"),
            node("Div", "s half", "d"),
            node("Conv", "d w b", "c"),
            node("Relu", "c", "r"),
            node("Conv", "r w2", "y"),
        ],
        *("c", 1, ""),
    ),
    "read twice": (
        [node("Conv", "x w b", "c"), node("Sigmoid", "c", "s"), node("Mul", "c s", "y")],
        *("c", 1, ""),
    ),
    "transposed between": (
        [
            node("Conv", "x w", "c"),
            node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
            node("Add", "t b", "a"),
            node("Relu", "a", "y"),
        ],
        *("a", 3, ""),
    ),
    "samples moved": (
        [node("Conv", "x w", "c"), node("Transpose", "c", "y", perm=[1, 2, 3, 0])],
        *("c", 1, ""),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_found(name: str) -> None:
    nodes, answer, axis, normalised = CASES[name]
    exposed, layers = with_first_layers(read_model(picture_model(nodes, [2, 3, 8, 8])), "x")
    (layer,) = layers
    assert (layer.answer, layer.axis, layer.normalised) == (answer, axis, normalised)
    with open_session(loadable(exposed), optimisation="off") as session:
        outputs = session.run({"x": RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)})
    assert set(outputs) == {answer, normalised} - {""}
    assert outputs[answer].shape[axis] == 4
    if normalised:
        np.testing.assert_array_equal(layer.mean, np.arange(4))
        np.testing.assert_array_equal(layer.variance, 1 + np.arange(4))


def test_statistics_may_be_constants_of_nodes() -> None:
    values = [numpy_helper.from_array(np.full(4, v, np.float32)) for v in (2, 3)]
    nodes = [
        *(helper.make_node("Constant", [], [n], value=v) for n, v in zip("mv", values, strict=True)),
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c scale b m v", "y"),
    ]
    _, (layer,) = with_first_layers(read_model(picture_model(nodes, [1, 3, 8, 8])), "x")
    np.testing.assert_array_equal(layer.mean, np.full(4, 2))
    np.testing.assert_array_equal(layer.variance, np.full(4, 3))


def test_channels_of_a_product_are_last() -> None:
    nodes = [node("MatMul", "x matrix", "m"), node("Add", "m b", "a"), node("Tanh", "a", "y")]
    _, (layer,) = with_first_layers(read_model(picture_model(nodes, [2, 5, 3])), "x")
    assert (layer.answer, layer.axis) == ("a", -1)


def test_none_without_a_layer() -> None:
    exposed, layers = with_first_layers(read_model(picture_model([node("Relu", "x", "y")], [1, 3])), "x")
    assert layers == []
    assert not exposed.proto.graph.output
