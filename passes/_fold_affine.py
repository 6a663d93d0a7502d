"""Folds a batch norm, scale or bias into the Conv, ConvTranspose, Gemm or MatMul before it.

Each of them is y = f * x + s with one f and one s per channel of x, and x = W a + b is linear, so
y = (f W) a + (f b + s). For a batch norm f = scale / sqrt(var + epsilon), s = bias - f * mean
(https://onnx.ai/onnx/operators/onnx__BatchNormalization.html). Computed in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import NODE_OVERHEAD_BYTES, Editor, NodeView
from onnxzip.records.aliases import Array

Producers = Mapping[str, NodeView]

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BATCH_NORM_EPSILON = 1e-5
"""The default of the operator (https://onnx.ai/onnx/operators/onnx__BatchNormalization.html)."""

_SAME_RANK = (
    *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "Clip", "Dropout", "Identity"),
    *("Cast", "Softmax", "BatchNormalization", "Neg", "Abs", "Sqrt", "Exp", "HardSigmoid", "Erf"),
)


class RefusedError(Exception):
    """Why a pattern that was found is left alone."""


@dataclass(frozen=True, eq=False)
class Affine:
    """What a node does to each channel of its input: factor * x + shift, both (n,) or (1,) float64."""

    factor: NDArray[np.float64]
    shift: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear operator and where its weight and bias are.

    Attributes:
        node: the Conv, ConvTranspose, Gemm or MatMul.
        weight: its constant weight.
        view: (..., n_out or 1, ...) shape that spreads a per-channel factor over the weight.
        n_out: number of channels.
        rank: rank of the output; for a MatMul 1, as only its last axis is certain.
        bias: (n_out,) or None.
        last: the node whose output is the result: `node`, or the Add after a MatMul.
        bias_index: the input of `last` that is the bias; -1 if it has none.
    """

    node: NodeView
    weight: Array
    view: tuple[int, ...]
    n_out: int
    rank: int
    bias: Array | None
    last: NodeView
    bias_index: int


def fold_affine(editor: Editor, producers: Producers, node: NodeView) -> tuple[NodeView, ...]:
    """Fold a node into the linear operator before it.

    Returns:
        The changed nodes; the last one produces the node's output. Empty if there is no pattern.

    Raises:
        RefusedError: there is one, but folding it is impossible, inexact, or makes the file larger.
    """
    data, constant = _operands(editor, node)
    producer = producers.get(data)
    if producer is None or producer.domain or not _ends_linear(editor, producers, producer):
        return ()
    if producer.op_type == "MatMul" and node.op_type in ("Add", "Sub"):
        return ()  # the usual bias of a MatMul, which has no input of its own for it
    if editor.n_uses(data) != 1:
        raise RefusedError(f"'{data}' is also read elsewhere")
    linear = _linear(editor, producers, producer)
    affine = _affine(editor, producers, node, constant, linear)
    return _apply(editor, node, linear, affine)


def _operands(editor: Editor, node: NodeView) -> tuple[str, Array | None]:
    """Return the activation a node reads and its constant; ("", None) if it is nothing to fold."""
    if node.op_type == "BatchNormalization":
        return node.inputs[0], None
    if node.op_type not in ("Mul", "Div", "Add", "Sub") or len(node.inputs) != 2:
        return "", None
    left, right = (editor.constant(name) for name in node.inputs)
    if right is not None and left is None:
        return node.inputs[0], right
    if left is not None and right is None and node.op_type != "Div":
        return node.inputs[1], left
    return "", None


def _ends_linear(editor: Editor, producers: Producers, node: NodeView) -> bool:
    if node.op_type == "MatMul":
        weight = editor.constant(node.inputs[1])
        return weight is not None and weight.ndim >= 2
    if node.op_type in _LINEAR:
        return True
    return node.op_type == "Add" and _biased_matmul(editor, producers, node) is not None


def _biased_matmul(editor: Editor, producers: Producers, add: NodeView) -> tuple[NodeView, int] | None:
    """Return the MatMul by a constant matrix that an Add gives a bias, and the bias's input."""
    for index in (0, 1):
        matmul = producers.get(add.inputs[1 - index])
        bias = editor.constant(add.inputs[index])
        if matmul is None or bias is None or matmul.op_type != "MatMul" or matmul.domain:
            continue
        weight = editor.constant(matmul.inputs[1])
        if weight is not None and weight.ndim >= 2 and bias.shape == weight.shape[-1:]:
            return matmul, index
    return None


def _linear(editor: Editor, producers: Producers, last: NodeView) -> Linear:
    """Read the linear operator that ends in `last`."""
    biased = _biased_matmul(editor, producers, last) if last.op_type == "Add" else None
    node, bias_index = biased or (last, 2 if len(last.inputs) > 2 and last.inputs[2] else -1)
    if node is not last and editor.n_uses(node.outputs[0]) != 1:
        raise RefusedError(f"'{node.outputs[0]}' is also read elsewhere")
    weight = editor.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if weight is None:
        raise RefusedError(f"the weight of '{_label(node)}' is not constant")
    if weight.dtype not in (np.float32, np.float64):
        raise RefusedError(f"the weight is {weight.dtype}: rounding it again is not exact to 1e-5")
    view, n_out, rank = _channels(node, weight)
    bias = editor.constant(last.inputs[bias_index]) if bias_index >= 0 else None
    if bias_index >= 0 and (
        bias is None or bias.size not in (1, n_out) or bias.size != max(bias.shape, default=1)
    ):
        raise RefusedError(f"the bias of '{_label(node)}' is not one constant per channel")
    if bias is not None and bias.ndim == 2 and bias.shape[1] != bias.size:
        raise RefusedError(f"the bias of '{_label(node)}' is one constant per row")
    flat = None if bias is None else np.broadcast_to(bias.reshape(-1), (n_out,))
    return Linear(node, weight, view, n_out, rank, flat, last, bias_index)


def _channels(node: NodeView, weight: Array) -> tuple[tuple[int, ...], int, int]:
    """Return the shape that spreads factors over the weight, the number of channels, the rank."""
    shape = weight.shape
    if weight.ndim < (3 if "Conv" in node.op_type else 2):
        raise RefusedError(f"a weight of shape {shape} is none for a {node.op_type}")
    if node.op_type == "Conv":
        return (shape[0], *(1,) * (weight.ndim - 1)), shape[0], weight.ndim
    if node.op_type == "ConvTranspose":
        group = int(_number(node, "group", 1))
        spread = (group, 1, shape[1], *(1,) * (weight.ndim - 2))
        return spread, group * shape[1], weight.ndim
    if node.op_type == "Gemm" and _number(node, "transB", 0):
        return (shape[0], 1), shape[0], 2
    return (shape[-1],), shape[-1], 2 if node.op_type == "Gemm" else 1


def _affine(
    editor: Editor, producers: Producers, node: NodeView, constant: Array | None, linear: Linear
) -> Affine:
    if constant is None:
        if linear.node.op_type == "MatMul" and not _is_matrix(editor, producers, linear.node):
            raise RefusedError("which axis of the MatMul's output is the channel is not certain")
        return _batch_norm(editor, node, linear.n_out)
    values = _per_channel(constant, linear)
    one, zero = np.ones(1), np.zeros(1)
    if node.op_type == "Mul":
        return Affine(values, zero)
    if node.op_type == "Div":
        with np.errstate(divide="ignore"):
            return Affine(1 / values, zero)
    if node.op_type == "Add":
        return Affine(one, values)
    is_first = editor.constant(node.inputs[0]) is not None
    return Affine(-one, values) if is_first else Affine(one, -values)


def _batch_norm(editor: Editor, node: NodeView, n_out: int) -> Affine:
    if _number(node, "training_mode", 0) or sum(1 for name in node.outputs if name) != 1:
        raise RefusedError("the batch norm is in training mode")
    if not _number(node, "spatial", 1):
        raise RefusedError("the batch norm has statistics for each position (spatial=0)")
    arrays = [editor.constant(name) for name in node.inputs[1:5]]
    constants = [np.asarray(a, np.float64) for a in arrays if a is not None and a.shape == (n_out,)]
    if len(constants) != 4:
        raise RefusedError("the batch norm's parameters are not one constant per channel")
    scale, bias, mean, variance = constants
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = scale / np.sqrt(variance + _number(node, "epsilon", _BATCH_NORM_EPSILON))
        return Affine(factor, bias - factor * mean)


def _per_channel(constant: Array, linear: Linear) -> NDArray[np.float64]:
    """Return an operand as (n_out,) or (1,), if it broadcasts along the channels and nothing else."""
    axis = 1 if linear.rank > 1 else 0
    padded = (1,) * (linear.rank - constant.ndim) + constant.shape
    wanted = [1] * linear.rank
    wanted[axis] = linear.n_out
    if len(padded) != linear.rank or (constant.size != 1 and list(padded) != wanted):
        raise RefusedError(f"a constant of shape {constant.shape} is not one number per channel")
    return np.asarray(constant, np.float64).reshape(-1)


def _apply(editor: Editor, node: NodeView, linear: Linear, affine: Affine) -> tuple[NodeView, ...]:
    """Store the folded weight and bias, and let the linear operator produce the node's output."""
    weight = _scaled(editor, linear, affine)
    bias = _shifted(editor, node, linear, affine)
    changed: dict[int, NodeView] = {linear.node.key: linear.node, linear.last.key: linear.last}
    if weight is not None:
        name = editor.add_constant(weight, linear.node.inputs[1])
        _set_input(editor, changed, linear.node.key, 1, name)
    if bias is not None:
        index = linear.bias_index if linear.bias_index >= 0 else 2
        hint = linear.last.inputs[index] if linear.bias_index >= 0 else f"{linear.node.inputs[1]}_bias"
        _set_input(editor, changed, linear.last.key, index, editor.add_constant(bias, hint))
    editor.remove(node)
    editor.set_outputs(linear.last, node.outputs[:1])
    changed[linear.last.key] = replace(changed[linear.last.key], outputs=node.outputs[:1])
    return tuple(changed.values())


def _set_input(editor: Editor, changed: dict[int, NodeView], key: int, index: int, name: str) -> None:
    view = changed[key]
    inputs = [*view.inputs, *[""] * (index + 1 - len(view.inputs))]
    inputs[index] = name
    editor.set_inputs(view, inputs)
    changed[key] = replace(view, inputs=tuple(inputs))


def _scaled(editor: Editor, linear: Linear, affine: Affine) -> Array | None:
    """Return the folded weight, None if it stays as it is."""
    if bool((affine.factor == 1).all()):
        return None
    if editor.n_uses(linear.node.inputs[1]) != 1:
        raise RefusedError(f"the weight of '{_label(linear.node)}' is shared")
    factor = np.broadcast_to(affine.factor, (linear.n_out,)).reshape(linear.view)
    weight = linear.weight
    wide = np.asarray(weight, np.float64)
    if linear.node.op_type == "ConvTranspose":
        wide = wide.reshape(linear.view[0], -1, *weight.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite((wide * factor).reshape(weight.shape).astype(weight.dtype))


def _shifted(editor: Editor, node: NodeView, linear: Linear, affine: Affine) -> Array | None:
    """Return the folded bias, None if there is none before and after."""
    if linear.bias is None and not affine.shift.any():
        return None
    if linear.node.op_type == "MatMul" and linear.bias is None:
        raise RefusedError("a MatMul has no bias to take the shift")
    beta = _number(linear.node, "beta", 1.0) if linear.node.op_type == "Gemm" else 1.0
    if beta == 0:
        raise RefusedError("the Gemm ignores its bias (beta=0)")
    with np.errstate(over="ignore", invalid="ignore"):
        before = 0 if linear.bias is None else np.asarray(linear.bias, np.float64)
        bias = before * affine.factor + affine.shift / beta
        bias = np.broadcast_to(bias, (linear.n_out,)).astype(linear.weight.dtype)
    n_constant_bytes = affine.shift.size * bias.itemsize
    if linear.bias is None and bias.nbytes > n_constant_bytes + NODE_OVERHEAD_BYTES:
        raise RefusedError("a bias for each channel takes more bytes than the one number it replaces")
    return _finite(bias)


def _finite(array: Array) -> Array:
    if not bool(np.isfinite(array).all()):
        raise RefusedError("the folded values are not finite")
    return array


def _is_matrix(editor: Editor, producers: Producers, node: NodeView | None) -> bool:
    """Whether a node's output certainly has rank 2."""
    while node is not None and not node.domain:
        if node.op_type in ("Flatten", "Gemm"):
            return True
        other = editor.constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.op_type == "Reshape":
            return other is not None and other.shape == (2,)
        is_product = node.op_type == "MatMul" and other is not None and other.ndim == 2
        is_sum = node.op_type in ("Add", "Mul", "Sub", "Div") and other is not None and other.ndim < 3
        if not (is_product or is_sum or node.op_type in _SAME_RANK):
            return False
        node = producers.get(node.inputs[0])
    return False


def _number(node: NodeView, name: str, default: float) -> float:
    value = node.attributes.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def _label(node: NodeView) -> str:
    return node.name or node.outputs[0]
