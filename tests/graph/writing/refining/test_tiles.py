"""Nodes that make much of little work on parts of their rows, and nothing else changes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxzip.codec.emit.packed import emit_packed
from onnxzip.graph import GraphBuilder, find_layers, oversized_nodes, read_model, to_proto

ROWS, COLUMNS = 1024, 600


def matmul_model(shape: tuple[int, int]) -> bytes:
    """Return y = x @ w with a weight that is not zero."""
    weight = onnx.numpy_helper.from_array(np.ones(shape, np.float32), "w")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, n])
        for name, n in zip("xy", shape, strict=True)
    ]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [weight])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def arrays(op_type: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return what a node of that type reads, and what it makes: ROWS x COLUMNS float32."""
    rng = np.random.default_rng(0)
    if op_type == "Gather":
        words, index = rng.integers(-9, 9, (30, 6)), rng.integers(0, 30, (ROWS, COLUMNS // 6))
        return [words.astype(np.float32), index], words[index].reshape(ROWS, COLUMNS)
    if op_type == "MatMul":
        left, right = rng.integers(-9, 9, (ROWS, 3)), rng.integers(-9, 9, (3, COLUMNS))
        return [left.astype(np.float32), right.astype(np.float32)], left @ right
    if op_type == "Cast":
        numbers = rng.integers(-9, 9, (ROWS, COLUMNS))
        return [numbers.astype(np.int8)], numbers
    column, row = rng.integers(-9, 9, (ROWS, 1)), rng.integers(-9, 9, (1, COLUMNS))
    return [column.astype(np.float32), row.astype(np.float32)], column * row


@pytest.mark.parametrize("op_type", ["Gather", "MatMul", "Cast", "Mul"])
def test_what_makes_much_of_little_works_on_parts(op_type: str) -> None:
    inputs, made = arrays(op_type)
    model = read_model(matmul_model((COLUMNS, ROWS)))
    (layer,), _ = find_layers(model)
    builder = GraphBuilder(model, [layer], emit_packed)
    names = [builder.constant(array) for array in inputs]
    attributes = {"to": 1} if op_type == "Cast" else {}
    shape = (ROWS, COLUMNS // 6, 6) if op_type == "Gather" else (ROWS, COLUMNS)
    value = builder.node(op_type, names, shape, np.float32, **attributes)
    builder.replace_weight(layer, builder.reshape(value, (ROWS, COLUMNS)))
    n_nodes = builder.finish()
    counts = Counter(node.op_type for node in model.proto.graph.node[:n_nodes])
    assert (counts[op_type], counts["Split"], counts["Concat"]) == (3, 1, 1)
    assert not oversized_nodes(model, n_nodes)
    data = to_proto(model).SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.eye(1, COLUMNS, 7, dtype=np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0][0], made[:, 7])


def test_what_is_small_stays_whole() -> None:
    model = read_model(matmul_model((600, 400)))
    (layer,), _ = find_layers(model)
    builder = GraphBuilder(model, [layer], emit_packed)
    left, right = (builder.constant(np.ones(s, np.float32)) for s in ((400, 2), (2, 600)))
    builder.replace_weight(layer, builder.node("MatMul", [left, right], (400, 600), np.float32))
    n_nodes = builder.finish()
    assert [node.op_type for node in model.proto.graph.node[:n_nodes]].count("MatMul") == 1
