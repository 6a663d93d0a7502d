"""A model of one layer, as large as a test needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

WIDTH = 8


def write_dense(path: Path, n_outputs: int, *, scale: float = 1.0, has_data: bool = False) -> Path:
    """Write a Gaussian weight, (8, n_outputs), and what multiplies with it; return the path."""
    weight = np.random.default_rng(0).standard_normal((WIDTH, n_outputs)).astype(np.float32) * scale
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "dense")],
        "dense",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", WIDTH])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", n_outputs])],
        [onnx.numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path, save_as_external_data=has_data, location=f"{path.stem}.data")
    return path


def inputs(n_samples: int) -> np.ndarray:
    """Return inputs of it."""
    return np.random.default_rng(1).standard_normal((n_samples, WIDTH)).astype(np.float32)
