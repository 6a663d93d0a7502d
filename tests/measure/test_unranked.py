"""Inputs of which a model says no shape, not even a rank: one that it runs with is found."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip import graph
from onnxzip.errors import CalibrationError
from onnxzip.graph import Model, read_model
from onnxzip.measure.inputs.feeding import make_up, run_alone
from onnxzip.options import Options
from onnxzip.runtime.session import open_session

NODE = helper.make_node
SCALED = [
    NODE("Mul", ["x", "half"], ["m"]),
    NODE("Relu", ["m"], ["r"]),
    NODE("MatMul", ["r", "w"], ["y"]),
]
CASES = {
    "matmul": ([NODE("MatMul", ["x", "w"], ["y"])], (48, 64), (None, 48)),
    "gemm": ([NODE("Gemm", ["x", "w"], ["y"], transB=1)], (64, 48), (None, 48)),
    "conv": ([NODE("Conv", ["x", "w"], ["y"], group=2)], (8, 5, 3, 3), (None, 10, None, None)),
    "conv1d": ([NODE("Conv", ["x", "w"], ["y"])], (8, 5, 3), (None, 5, None)),
    "scaled": (SCALED, (48, 64), (None, 48)),
    "table": ([NODE("Gather", ["w", "x"], ["y"])], (48, 64), (None, None)),
    "sum": ([NODE("Add", ["x", "w"], ["y"])], (48, 64), (48, 64)),
    "scalar": ([NODE("Mul", ["x", "half"], ["y"])], (1, 1), (None, None)),
}


def without_shape(name: str, inputs: tuple[str, ...] = ("x",)) -> Model:
    """Return a model whose inputs have no shape."""
    nodes, shape, _ = CASES[name]
    kind = TensorProto.INT64 if name == "table" else TensorProto.FLOAT
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    constants = {"w": weight, "half": np.array(0.5, np.float32)}
    main = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(x, kind, None) for x in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    return read_model(helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("name", CASES)
def test_a_shape_is_found_that_runs(name: str) -> None:
    model = without_shape(name)
    assert graph.guess_shapes(model, {})["x"][0] == CASES[name][2]
    with open_session(graph.loadable(model)) as session:
        families = make_up(session, model, Options(), 4)
        assert session.inputs[0].shape == CASES[name][2]
    assert all(len(run["x"].shape) == len(CASES[name][2]) for feeds in families for run in feeds)
    run_alone(model, Options())


def test_a_shape_that_is_said_is_not_guessed() -> None:
    model = without_shape("matmul")
    model.proto.graph.input[0].type.tensor_type.shape.SetInParent()  # a number
    assert graph.guess_shapes(model, {}) == {}


def test_where_nothing_runs_the_input_is_named() -> None:
    model = without_shape("matmul")
    model.proto.graph.node.insert(0, NODE("Reshape", ["x", "sizes"], ["fixed"]))
    model.proto.graph.node[1].input[0] = "fixed"
    sizes = numpy_helper.from_array(np.array([7, 11, 48]), "sizes")
    model.proto.graph.initializer.append(sizes)
    with pytest.raises(CalibrationError, match="input 'x' has no shape, not even a rank, and none"):
        run_alone(model, Options())
