"""A builder that assembles a whole model with onnx.helper: y = x + decoded, array by array."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count, product
from string import ascii_letters

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxzip.codec.coding.prefix import Streams
from onnxzip.codec.emit.scaled import emit_integers
from onnxzip.codec.emit.streams import emit_streams
from onnxzip.records.payload import WholeNumbers


class ModelBuilder:
    """Collects nodes and initializers under short names."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names = ("".join(c) for n in count(1) for c in product(ascii_letters, repeat=n))

    def constant(self, array: np.ndarray) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = next(self._names)
            self.initializers.append(
                numpy_helper.from_array(np.ascontiguousarray(array), self._known[key])
            )
        return self._known[key]

    def _add(self, op_type, inputs, shapes, dtype, attributes) -> list[str]:
        outputs = [next(self._names) for _ in shapes]
        self.nodes.append(helper.make_node(op_type, inputs, outputs, **attributes))
        dtypes = dtype if isinstance(dtype, tuple) else (dtype,) * len(shapes)
        for output, shape, own in zip(outputs, shapes, dtypes, strict=True):
            code = helper.np_dtype_to_tensor_dtype(np.dtype(own))
            self.infos.append(helper.make_tensor_value_info(output, code, list(shape)))
        return outputs

    def node(self, op_type, inputs, shape, dtype, **attributes) -> str:
        return self._add(op_type, inputs, [tuple(shape)], dtype, attributes)[0]

    def reshape(self, value, shape, dtype=np.float32) -> str:
        return self.node("Reshape", [value, self.constant(np.asarray(shape, np.int64))], shape, dtype)

    def rising_order(self, keys, size) -> str:
        inputs = [keys, self.constant(np.array([size], np.int64))]
        attributes = {"axis": 0, "largest": 0}
        return self._add("TopK", inputs, [(size,)] * 2, (np.float32, np.int64), attributes)[1]

    def split(self, value, shapes, dtype, axis=0) -> list[str]:
        sizes = [int(shape[axis]) for shape in shapes]
        if self.opset < 13:
            return self._add("Split", [value], shapes, dtype, {"axis": axis, "split": sizes})
        sizes_name = self.constant(np.asarray(sizes, np.int64))
        return self._add("Split", [value, sizes_name], shapes, dtype, {"axis": axis})


def build_model(streams: Streams, opset: int = 17) -> onnx.ModelProto:
    """Return a model with outputs y0, y1 ... = decoded arrays + x (zero), int32."""
    builder = ModelBuilder(opset)
    parts = emit_streams(streams, builder)
    names = [
        emit_integers([part], 1, WholeNumbers(np.zeros(shape, np.int32)), (), builder)
        for part, shape in zip(parts, streams.shapes, strict=True)
    ]
    return wrap(builder, names, streams.shapes, range(len(names)))


def wrap(
    builder: ModelBuilder,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    integers: Collection[int],
) -> onnx.ModelProto:
    """Add the inputs and the nodes that run."""
    inputs = [helper.make_tensor_value_info("xf", 1, [1]), helper.make_tensor_value_info("xi", 6, [1])]
    outputs, runs = [], []
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        is_int = i in integers
        runs.append(helper.make_node("Add", [name, "xi" if is_int else "xf"], [f"y{i}"]))
        outputs.append(helper.make_tensor_value_info(f"y{i}", 6 if is_int else 1, list(shape)))
    graph = helper.make_graph(
        builder.nodes + runs, "g", inputs, outputs, builder.initializers, value_info=builder.infos
    )
    ir_version = 8 if builder.opset <= 18 else 9 if builder.opset <= 20 else 10
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", builder.opset)], ir_version=ir_version
    )


def count_bytes(streams: Streams) -> int:
    """Return what the arrays take in a file, payload, tables, nodes and names together."""
    return len(build_model(streams).SerializeToString())
