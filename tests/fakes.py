"""Test doubles: a plain quantiser as codec, and a builder whose graph runs in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxzip.codec.feedback import round_columns
from onnxzip.records.aliases import Array, AttributeValue, Feeds
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded, Feedback, WholeNumbers

SAFE_OPS = {
    *("Cast", "Gather", "Reshape", "Concat", "Split", "Slice", "Transpose", "Expand", "ScatterND"),
    *("ScatterElements", "CumSum", "Less", "Equal", "And", "Not", "Where", "Add", "Sub", "Mul", "Div"),
    *("Mod", "MatMul"),
}
"""Operators a decode subgraph may use (CODEC.md, section 1, rule 2)."""


def entropy_bytes(integers: NDArray[np.int32]) -> int:
    """Return the size of integers at their zeroth-order entropy, plus 3 bytes per distinct value."""
    _, counts = np.unique(integers, return_counts=True)
    bits = -float(np.sum(counts * np.log2(counts / max(integers.size, 1))))
    return int(np.ceil(bits / 8)) + 3 * len(counts)


@dataclass(frozen=True)
class FakeCodec:
    """Uniform quantiser, absmax per segment; a rate is the number of steps from zero to absmax."""

    rates: Sequence[float] = (1.0, 3.0, 7.0, 31.0, 127.0)
    is_continuous: ClassVar[bool] = False

    def quantize(
        self,
        values: NDArray[np.float32],
        rate: float,
        feedback: Feedback | None = None,
        rms: float | None = None,
    ) -> Coefficients:
        """Round (n_segments, length) values to multiples of absmax / rate."""
        assert values.ndim == 2
        assert values.dtype == np.float32
        peak = np.maximum(values.max(axis=1, keepdims=True), -values.min(axis=1, keepdims=True))
        steps = np.where(peak > 0, peak / np.float32(rate), 1).astype(np.float32)
        rounded = np.rint(values / steps)
        if feedback is not None:
            rounded = round_columns(values, steps, feedback)
        return Coefficients(rounded.astype(np.int32), steps)

    def quantize_all(
        self, values: NDArray[np.float32], rates: Sequence[float], feedback: Feedback | None = None
    ) -> Iterator[Coefficients]:
        """Round at each rate."""
        return (self.quantize(values, rate, feedback) for rate in rates)

    def n_bytes(self, encoded: Encoded) -> int:
        """Entropy of the integers, two bytes per step, tables as they are."""
        coded = sum(entropy_bytes(c.integers) + 2 * c.steps.size for c in encoded.coefficients.values())
        indices = sum(entropy_bytes(array) for array in encoded.integers.values())
        return coded + indices + sum(table.nbytes for table in encoded.tables.values())


class FakeBuilder:
    """A passbase.Builder that collects nodes into an onnx model around one layer.

    `weight_model` is the model whose only node beyond the decode subgraph multiplies the weight by
    the input `one`.
    """

    def __init__(self, layer: Layer, opset: int = 17) -> None:
        self.layer = layer
        self.opset = opset
        self.weight_value = ""
        self.declared: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
        self.n_decode_nodes = 0
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._n_names = 0

    def _name(self, kind: str) -> str:
        self._n_names += 1
        return f"{kind}_{self._n_names}"

    def constant(self, array: Array) -> str:
        name = self._name("constant")
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _declare(self, name: str, shape: Sequence[int], dtype: type[np.generic]) -> str:
        self.declared[name] = (tuple(shape), np.dtype(dtype).type)
        return name

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.generic],
        **attributes: AttributeValue,
    ) -> str:
        assert op_type in SAFE_OPS, f"{op_type} is not a safe decode op"
        assert op_type != "Split", "use Builder.split: Split differs between opsets"
        output = self._declare(self._name(op_type), shape, dtype)
        self._nodes.append(helper.make_node(op_type, list(inputs), [output], **attributes))
        self.n_decode_nodes += 1
        return output

    def reshape(self, value: str, shape: Sequence[int], dtype: type[np.generic] = np.float32) -> str:
        return self.node("Reshape", [value, self.constant(np.array(shape, np.int64))], shape, dtype)

    def split(
        self, value: str, shapes: Sequence[Sequence[int]], dtype: type[np.generic], axis: int = 0
    ) -> list[str]:
        names = [self._declare(self._name("Split"), shape, dtype) for shape in shapes]
        sizes = [shape[axis] for shape in shapes]
        if self.opset >= 13:
            inputs, attributes = (
                [value, self.constant(np.array(sizes, np.int64))],
                {"axis": axis},
            )
        else:
            inputs, attributes = [value], {"axis": axis, "split": sizes}
        self._nodes.append(helper.make_node("Split", inputs, names, **attributes))
        self.n_decode_nodes += 1
        return names

    def coefficients(self, coefficients: Coefficients) -> str:
        integers = self.constant(coefficients.integers)
        steps = self.constant(coefficients.steps)
        shape = coefficients.integers.shape
        n_before = self.n_decode_nodes
        floats = self.node("Cast", [integers], shape, np.float32, to=TensorProto.FLOAT)
        value = self.node("Mul", [floats, steps], shape, np.float32)
        self.n_decode_nodes = n_before  # the codec's own nodes: its n_bytes pays for them
        return value

    def integers(self, numbers: WholeNumbers) -> str:
        assert numbers.integers.dtype == np.int32
        assert numbers.integers.ndim == 2
        return self.constant((numbers.integers + numbers.offset).astype(numbers.dtype))

    def replace_weight(self, layer: Layer, value: str) -> None:
        assert layer is self.layer
        assert not self.weight_value, "replace_weight called twice"
        order = layer.layout.order
        n_before = self.n_decode_nodes
        value = self.reshape(value, [layer.weight.shape[a] for a in order])
        if not layer.layout.is_canonical:
            permutation = tuple(int(a) for a in np.argsort(order))
            value = self.node("Transpose", [value], layer.weight.shape, np.float32, perm=permutation)
        if layer.weight.dtype != np.float32:
            to = helper.np_dtype_to_tensor_dtype(layer.weight.dtype)
            value = self.node("Cast", [value], layer.weight.shape, layer.weight.dtype.type, to=to)
        self.n_decode_nodes = n_before
        self.weight_value = value

    def weight_model(self, *, all_values: bool = False) -> onnx.ModelProto:
        """Return the model weight * one; with `all_values` every declared value is an output too."""
        assert self.weight_value, "emit did not call replace_weight"
        dtype = helper.np_dtype_to_tensor_dtype(self.layer.weight.dtype)
        scale = helper.make_node("Mul", [self.weight_value, "one"], ["output"])
        rank = max(self.layer.weight.ndim, 1)
        return self._model([*self._nodes, scale], ("one", dtype, [1]), rank, dtype, all_values)

    def _model(
        self,
        nodes: Sequence[onnx.NodeProto],
        graph_input: tuple[str, int, list[int]],
        output_rank: int,
        output_type: int = TensorProto.FLOAT,
        all_values: bool = False,
    ) -> onnx.ModelProto:
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (shape, dtype) in self.declared.items()
        ]
        model = make_model(nodes, self._initializers, graph_input, self.opset, output_rank, output_type)
        (model.graph.output if all_values else model.graph.value_info).extend(infos)
        return model


def make_model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto],
    graph_input: tuple[str, int, list[int]],
    opset: int,
    output_rank: int,
    output_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a checked model with one input and the output `output`."""
    graph = helper.make_graph(
        list(nodes),
        "fake",
        [helper.make_tensor_value_info(*graph_input)],
        [helper.make_tensor_value_info("output", output_type, [None] * output_rank)],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def run(
    model: onnx.ModelProto,
    feeds: Feeds,
    level: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    optimized_path: str = "",
) -> dict[str, Array]:
    """Run a model on the CPU at an optimisation level; return its outputs by name."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if optimized_path:
        options.optimized_model_filepath = optimized_path
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_same_payload(left: Encoded, right: Encoded) -> None:
    """Compare two payloads bit for bit."""
    assert list(left.coefficients) == list(right.coefficients)
    assert list(left.integers) == list(right.integers)
    assert list(left.tables) == list(right.tables)
    pairs = [(left.integers[k], right.integers[k]) for k in left.integers]
    pairs += [(left.tables[k], right.tables[k]) for k in left.tables]
    for key, coefficients in left.coefficients.items():
        pairs.append((coefficients.integers, right.coefficients[key].integers))
        pairs.append((coefficients.steps, right.coefficients[key].steps))
    for a, b in pairs:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def is_close(actual: Array, expected: Array) -> bool:
    """Whether values are within 1e-5 of the largest one; float16: within a unit of its last place."""
    limit = 1e-5 if expected.dtype == np.float32 else 1e-3
    peak = float(np.abs(expected.astype(np.float32)).max(initial=0))
    worst = float(np.abs(actual.astype(np.float32) - expected.astype(np.float32)).max(initial=0))
    return actual.shape == expected.shape and actual.dtype == expected.dtype and worst <= limit * peak
