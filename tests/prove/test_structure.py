"""Decode nodes that grow are warned of, in one line."""

from __future__ import annotations

import numpy as np
import onnx

from onnxzip.graph import read_model
from onnxzip.prove.structure import growing_nodes


def expanding_model(n: int) -> bytes:
    """Return a model whose first node makes n int32 numbers of one."""
    number = onnx.numpy_helper.from_array(np.array([3], np.int32), "c")
    size = onnx.numpy_helper.from_array(np.array([n], np.int64), "n")
    nodes = [
        onnx.helper.make_node("Expand", ["c", "n"], ["w"]),
        onnx.helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT32, [n]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], [number, size])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_nodes_that_grow_beyond_a_mebibyte_are_warned_of() -> None:
    (finding,) = growing_nodes(read_model(expanding_model((1 << 18) + 1)), 1)
    assert finding.text.startswith("1 decode nodes put out more than they take and than 1 MiB")
    assert "(Expand) 1,048,580 bytes" in finding.text
    assert growing_nodes(read_model(expanding_model(1 << 18)), 1) == ()
