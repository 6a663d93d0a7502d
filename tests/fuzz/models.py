"""Draws valid models: chains of operators with weights and around them, of random shapes and types.

Whatever is drawn is accepted by onnx.checker (with shape inference) and run by onnxruntime;
`tests/fuzz/test_fuzz.py` holds that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.fuzz.extremes import pick

Value = tuple[str, list[int]]
"""A name, and the shape behind the batch axis: (channels, height, width), (length, width), (width,)."""

OPSETS = (11, 13, 15, 17, 18, 20, 21)
SQUASHES = ("Relu", "Sigmoid", "Tanh", "Neg", "Identity", "Abs")
SQUASHES_OF_FLOATS = ("Softplus", "Elu", "LeakyRelu", "Erf")
"""onnxruntime has them, and GlobalAveragePool and Conv, for float32 alone or with float16."""
MAX_INNER = 64
"""Width of a square weight: models stay small."""


@dataclass
class Draft:
    """A model that is being drawn.

    Attributes:
        rng: draws.
        opset: of ai.onnx.
        dtype: of everything that flows.
        nodes: so far.
        weights: initializers so far.
        outputs: values that will be outputs besides the last one.
    """

    rng: np.random.Generator
    opset: int
    dtype: type[np.floating[Any]]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    n_names: int = 0

    def name(self, stem: str) -> str:
        """Return a name that is not in use."""
        self.n_names += 1
        return f"{stem}_{self.n_names}"

    def weight(self, *shape: int, scale: float | None = None) -> str:
        """Add a weight: Gaussian, sparse, of low rank, constant or smooth."""
        fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        array = self.rng.standard_normal(shape) * (fan**-0.5 if scale is None else scale)
        how = self.rng.integers(8)
        if how == 0:
            array *= self.rng.random(shape) < 0.2
        elif how == 1:
            array = np.round(array * 8) / 8
        elif how == 2 and len(shape) == 2:
            rank = max(1, min(shape) // 4)
            array = array[:, :rank] @ self.rng.standard_normal((rank, shape[1])) / rank
        elif how == 3:
            array = np.cumsum(array, axis=-1) / np.sqrt(shape[-1])
        return self.constant(array.astype(self.dtype))

    def constant(self, array: NDArray[Any]) -> str:
        """Add an initializer, or a Constant node now and then."""
        name = self.name("w")
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if self.rng.random() < 0.1:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.weights.append(tensor)
        return name

    def add(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output; return that."""
        name = self.name(op_type.lower())
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"n_{name}", **attributes))
        return name


def random_model(rng: np.random.Generator) -> onnx.ModelProto:
    """Draw a model with some KB of weights."""
    opset = int(pick(rng, OPSETS))
    dtype = pick(rng, (np.float32, np.float32, np.float32, np.float32, np.float16, np.float64))
    draft = Draft(rng, opset, dtype)
    n_axes = int(pick(rng, (1, 2, 3)))
    shape = _first_shape(rng, n_axes)
    value: Value = ("x", list(shape))
    takes_ids = n_axes == 2 and rng.random() < 0.4
    if takes_ids:
        n_rows = int(rng.integers(20, 200))
        table = draft.weight(n_rows, shape[1], scale=1.0)
        value = (draft.add("Gather", [table, "x"], axis=0), value[1])
    for _ in range(int(rng.integers(2, 7))):
        value = pick(rng, _STEPS[len(value[1])])(draft, value)
        if rng.random() < 0.1:
            draft.outputs.append(value[0])
    return _finish(draft, shape[:1] if takes_ids else shape, takes_ids, value)


def _first_shape(rng: np.random.Generator, n_axes: int) -> list[int]:
    if n_axes == 1:
        return [int(rng.integers(8, 80))]
    if n_axes == 2:
        return [int(rng.integers(3, 12)), int(rng.integers(8, 48))]
    return [int(rng.integers(1, 9)), int(rng.integers(6, 20)), int(rng.integers(6, 20))]


def _finish(draft: Draft, shape: list[int], takes_ids: bool, last: Value) -> onnx.ModelProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(np.int64 if takes_ids else draft.dtype))
    batch = pick(draft.rng, ("n", "n", 1, 2))
    last_name = draft.add("Identity", [last[0]])
    names = list(dict.fromkeys([last_name, *draft.outputs]))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(draft.dtype))
    graph = helper.make_graph(
        draft.nodes,
        "drawn",
        [helper.make_tensor_value_info("x", element, [batch, *shape])],
        [helper.make_tensor_value_info(name, kind, None) for name in names],
        draft.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draft.opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


# Steps for values of any shape


def squash(draft: Draft, value: Value) -> Value:
    among = (*SQUASHES, *SQUASHES_OF_FLOATS) if draft.dtype is np.float32 else SQUASHES
    return draft.add(pick(draft.rng, among), [value[0]]), value[1]


def skip(draft: Draft, value: Value) -> Value:
    """A residual around something that keeps the shape."""
    inner = pick(draft.rng, (squash, scale, squash))(draft, value)
    return draft.add(str(pick(draft.rng, ("Add", "Mul", "Sub"))), [value[0], inner[0]]), value[1]


def scale(draft: Draft, value: Value) -> Value:
    shape = [value[1][0]] + [1] * (len(value[1]) - 1)
    factor = draft.constant((0.5 + draft.rng.random(shape)).astype(draft.dtype))
    scaled = draft.add("Mul", [value[0], factor])
    return draft.add("Add", [scaled, draft.weight(*shape, scale=0.1)]), value[1]


def choose(draft: Draft, value: Value) -> Value:
    """An If whose branches read weights of their own and of the outer graph."""
    rng, width = draft.rng, value[1][-1]
    if width > MAX_INNER:
        return squash(draft, value)
    outer = draft.weight(width, width)
    mean = draft.add("ReduceMax", [value[0]], keepdims=0)
    limit = draft.constant(np.asarray(0.3, draft.dtype))
    yes = draft.add("Greater", [mean, limit])
    branches = {}
    for branch in ("then_branch", "else_branch"):
        own = numpy_helper.from_array(
            (rng.standard_normal((width, width)) / width).astype(draft.dtype), draft.name("own")
        )
        result, inner = draft.name("result"), draft.name("inner")
        nodes = [
            helper.make_node("MatMul", [value[0], own.name if rng.random() < 0.7 else outer], [inner]),
            helper.make_node("Tanh", [inner], [result]),
        ]
        output = onnx.ValueInfoProto(name=result)
        output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(draft.dtype))
        branches[branch] = helper.make_graph(nodes, branch, [], [output], [own])
    return draft.add("If", [yes], **branches), value[1]


# (width,)


def gemm(draft: Draft, value: Value) -> Value:
    (width,), n_out = value[1], int(draft.rng.integers(4, 64))
    n_out = min(n_out, max(4, MAX_INNER**2 // width))
    transposed = bool(draft.rng.random() < 0.5)
    weight = draft.weight(n_out, width) if transposed else draft.weight(width, n_out)
    bias = draft.weight(n_out, scale=0.1)
    return draft.add("Gemm", [value[0], weight, bias], transB=int(transposed)), [n_out]


def unflatten(draft: Draft, value: Value) -> Value:
    (width,) = value[1]
    n_rows = next(n for n in (8, 4, 3, 2, 1) if width % n == 0)
    target = draft.constant(np.array([-1, n_rows, width // n_rows], np.int64))
    return draft.add("Reshape", [value[0], target]), [n_rows, width // n_rows]


# (length, width)


def matmul(draft: Draft, value: Value) -> Value:
    length, width = value[1]
    n_out = int(draft.rng.integers(4, 48))
    return draft.add("MatMul", [value[0], draft.weight(width, n_out)]), [length, n_out]


def normalise(draft: Draft, value: Value) -> Value:
    if draft.opset < 17 or draft.dtype is np.float16:
        return scale(draft, value)
    width = value[1][-1]
    gain, bias = draft.weight(width, scale=1.0), draft.weight(width, scale=0.1)
    return draft.add("LayerNormalization", [value[0], gain, bias], axis=-1), value[1]


def attend(draft: Draft, value: Value) -> Value:
    length, width = value[1]
    q, k, v = (draft.add("MatMul", [value[0], draft.weight(width, width)]) for _ in range(3))
    scores = draft.add("MatMul", [q, draft.add("Transpose", [k], perm=[0, 2, 1])])
    if draft.rng.random() < 0.5:
        mask = np.triu(np.full((length, length), -np.inf if draft.rng.random() < 0.3 else -1e4), 1)
        scores = draft.add("Add", [scores, draft.constant(mask.astype(draft.dtype))])
    return draft.add("MatMul", [draft.add("Softmax", [scores], axis=-1), v]), value[1]


def recur(draft: Draft, value: Value) -> Value:
    if draft.dtype is not np.float32:
        return matmul(draft, value)
    length, width = value[1]
    hidden = int(draft.rng.integers(4, 16))
    op_type, n_gates = pick(draft.rng, (("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    weights = [draft.weight(1, n_gates * hidden, n) for n in (width, hidden)]
    first = draft.add("Transpose", [value[0]], perm=[1, 0, 2])
    states = draft.add(op_type, [first, *weights], hidden_size=hidden)  # (length, 1, batch, hidden)
    target = draft.constant(np.array([length, -1, hidden], np.int64))
    flat = draft.add("Reshape", [states, target])
    return draft.add("Transpose", [flat], perm=[1, 0, 2]), [length, hidden]


def average(draft: Draft, value: Value) -> Value:
    if draft.dtype is not np.float32:
        return matmul(draft, value)
    name = draft.add("GlobalAveragePool", [draft.add("Transpose", [value[0]], perm=[0, 2, 1])])
    return draft.add("Flatten", [name], axis=1), [value[1][1]]


# (channels, height, width)


def conv(draft: Draft, value: Value) -> Value:
    if draft.dtype is np.float64:
        return squash(draft, value)
    n_in, height, width = value[1]
    n_groups = n_in if draft.rng.random() < 0.2 else 1
    n_out = n_in if n_groups > 1 else int(draft.rng.integers(2, 16))
    size = int(pick(draft.rng, (1, 3, 3, 5)))
    weight = draft.weight(n_out, n_in // n_groups, size, size)
    inputs = [value[0], weight] + [draft.weight(n_out, scale=0.1)] * bool(draft.rng.random() < 0.7)
    name = draft.add("Conv", inputs, pads=[size // 2] * 4, group=n_groups)
    if draft.rng.random() < 0.3 and draft.dtype is np.float32:
        values = (0.5 + draft.rng.random((4, n_out))).astype(draft.dtype)
        name = draft.add("BatchNormalization", [name, *(draft.constant(row) for row in values)])
    return name, [n_out, height, width]


def pool(draft: Draft, value: Value) -> Value:
    n_in, height, width = value[1]
    if min(height, width) < 4:
        return squash(draft, value)
    name = draft.add("MaxPool", [value[0]], kernel_shape=[2, 2], strides=[2, 2])
    return name, [n_in, height // 2, width // 2]


def flatten(draft: Draft, value: Value) -> Value:
    return draft.add("Flatten", [value[0]], axis=1), [int(np.prod(value[1]))]


def shrink(draft: Draft, value: Value) -> Value:
    if draft.dtype is not np.float32:
        return flatten(draft, value)
    name = draft.add("GlobalAveragePool", [value[0]])
    return draft.add("Flatten", [name], axis=1), [value[1][0]]


_ANY = (squash, skip, scale)
_STEPS: dict[int, list[Callable[[Draft, Value], Value]]] = {
    1: [gemm, gemm, gemm, gemm, unflatten, choose, *_ANY],
    2: [matmul, matmul, attend, recur, normalise, average, choose, *_ANY],
    3: [conv, conv, conv, conv, pool, shrink, flatten, *_ANY],
}
"""By the number of axes behind the batch."""
