"""What is left of onnxruntime's texts."""

from __future__ import annotations

import pytest

from onnxzip.runtime.finding import finding_of

NODE = "Non-zero status code returned while running {} node. Name:'n' Status Message: "
PLACE = "/onnxruntime_src/onnxruntime/core/"
TEXTS = {
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : " + NODE.format("Gather") + "out of bounds, idx=9": (
        "Gather 'n': out of bounds, idx=9"
    ),
    "[ONNXRuntimeError] : 1 : FAIL : "
    + NODE.format("Reshape")
    + PLACE
    + "providers/cpu/tensor/reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper("
    "const onnxruntime::TensorShape&, std::function<void(int)>, bool) const a == b was false. "
    "The input tensor cannot be reshaped. Input shape:{3}, requested shape:{7}\n": (
        "Reshape 'n': The input tensor cannot be reshaped. Input shape:{3}, requested shape:{7}"
    ),
    NODE.format("MatMul") + "matmul_helper.h:59 Compute MatMul dimension mismatch": (
        "MatMul 'n': MatMul dimension mismatch"
    ),
    r"C:\a\_work\1\s\core\bfc_arena.cc:360 void* onnxruntime::BFCArena::Allocate(size_t) Failed": (
        "Failed"
    ),
    "Exception during initialization: "
    + PLACE
    + "providers/cpu/text/string_normalizer.cc:235 onnxruntime::StringNormalizer::Locale::Locale("
    "const std::string&)::<lambda()> Failed to construct locale with name:en_US.UTF-8": (
        "Exception during initialization: Failed to construct locale with name:en_US.UTF-8"
    ),
    "no memory\nStacktrace:\n/lib/libonnxruntime.so(+0x123) [0x7f]\nmain": "no memory",
    "CumSum: [with T = int] [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Axis must be one": (
        "CumSum: [with T = int] Axis must be one"
    ),
    "/project/onnx/convert.cc:101: convert_graph: Assertion `a != b` failed: No schema!": "No schema!",
    "plain": "plain",
}


@pytest.mark.parametrize("text", TEXTS)
def test_no_places_in_sources_are_shown(text: str) -> None:
    assert finding_of(RuntimeError(text)) == TEXTS[text]


def test_long_and_empty_texts() -> None:
    assert finding_of(RuntimeError("")) == "RuntimeError"
    assert len(finding_of(RuntimeError("x.h:1 (" * 100_000))) <= 400
