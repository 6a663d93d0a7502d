"""How many inputs and outputs a model may have."""

from __future__ import annotations

import pytest
from onnx import ModelProto, TensorProto, helper

from onnxzip.errors import ModelError
from onnxzip.graph import read_model


def model(n_inputs: int, n_outputs: int, *, n_constants: int = 0) -> ModelProto:
    """Return a model with inputs, of which the last ones are constants too, that copies the first."""
    inputs, outputs = (
        [helper.make_tensor_value_info(f"{kind}{i}", TensorProto.FLOAT, [1]) for i in range(n)]
        for kind, n in (("x", n_inputs), ("y", n_outputs))
    )
    constants = [
        helper.make_tensor(value.name, TensorProto.FLOAT, [1], [0.0])
        for value in inputs[n_inputs - n_constants :]
    ]
    names = [value.name for value in outputs] or ["unused"]
    nodes = [helper.make_node("Identity", ["x0"], [name]) for name in names]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (model(1, 0), "the model has no output"),
        (model(5000, 1), "5,000 inputs, more than 4,096"),
        (model(1, 5000), "5,000 outputs, more than 4,096"),
    ],
)
def test_no_outputs_and_far_too_many_ports_are_refused(refused: ModelProto, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_model(refused)


def test_constants_are_no_inputs() -> None:
    assert len(read_model(model(5000, 1, n_constants=4999)).proto.graph.output) == 1
