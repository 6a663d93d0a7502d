"""What onnxruntime says, without what only its authors can read."""

from __future__ import annotations

import pytest

from onnxzip.runtime.findings import finding_of

SOURCE = "/onnxruntime_src/onnxruntime/core"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from a/x.onnx failed:Node (foo) Op (MatMul) "
            "[ShapeInferenceError] Incompatible dimensions",
            "Node (foo) Op (MatMul) [ShapeInferenceError] Incompatible dimensions",
        ),
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
            f"Reshape node. Name:'r' Status Message: {SOURCE}/providers/reshape_helper.h:47 "
            "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) "
            "input_shape_size == size was false. The input tensor cannot be reshaped",
            "Reshape 'r': input_shape_size == size was false. The input tensor cannot be reshaped",
        ),
        (
            f"[ONNXRuntimeError] : 1 : FAIL : {SOURCE}/graph/graph.cc:1234 void "
            "onnxruntime::Graph::Initialize() const This is an\ninvalid model.",
            "This is an invalid model.",
        ),
        (
            "CumSum node: [with T = int] [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Axis must be one",
            "CumSum node: [with T = int] Axis must be one",
        ),
        ("", "ValueError"),
        ("x" * 1000, "x" * 400),
    ],
)
def test_finding(said: str, told: str) -> None:
    assert finding_of(ValueError(said)) == told
