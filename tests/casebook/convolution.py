"""Conv and ConvTranspose in every shape, and what folds into them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.casebook.kit import BATCH, Draft, case, register, value

IMAGE = value("x", [BATCH, 16, 10, 12])


def _convolve(
    op_type: str, weight: tuple[int, ...], data: tuple[int, ...], bias: int, attributes: dict[str, Any]
) -> onnx.ModelProto:
    draft = Draft()
    inputs = ["x", draft.weight("weight", *weight)]
    if bias:
        inputs.append(draft.weight("bias", bias))
    draft.add(op_type, inputs, "y", **attributes)
    return draft.model([value("x", [BATCH, *data])], [value("y", [BATCH, *[None] * len(data)])])


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = {
    "conv1d": ((32, 16, 5), (16, 20), 32, {"pads": [2, 2], "strides": [2]}),
    "conv2d": ((32, 16, 3, 3), (16, 10, 12), 32, {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
    "conv2d_no_bias": ((32, 16, 3, 3), (16, 10, 12), 0, {}),
    "conv2d_pointwise": ((64, 32, 1, 1), (32, 6, 7), 64, {}),
    "conv2d_strides_uneven_pads": (
        (32, 16, 3, 5),
        (16, 10, 12),
        32,
        {"strides": [2, 3], "pads": [0, 1, 2, 3]},
    ),
    "conv2d_groups": ((32, 8, 3, 3), (16, 10, 12), 32, {"group": 2}),
    "conv2d_dilation": ((32, 16, 3, 3), (16, 10, 12), 32, {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "conv2d_depthwise": ((128, 1, 3, 3), (128, 8, 8), 128, {"group": 128, "pads": [1, 1, 1, 1]}),
    "conv2d_depthwise_multiplier": ((128, 1, 3, 3), (64, 8, 8), 128, {"group": 64}),
    "conv2d_same_upper": (
        (32, 16, 4, 4),
        (16, 10, 12),
        32,
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ),
    "conv2d_same_lower": ((32, 16, 4, 4), (16, 10, 12), 32, {"auto_pad": "SAME_LOWER"}),
    "conv2d_valid": ((32, 16, 3, 3), (16, 10, 12), 32, {"auto_pad": "VALID"}),
    "conv2d_large_kernel": ((8, 8, 11, 11), (8, 16, 16), 8, {"pads": [5, 5, 5, 5]}),
    "conv3d": ((16, 8, 3, 3, 3), (8, 6, 7, 8), 16, {"pads": [1, 1, 1, 1, 1, 1]}),
    "conv3d_groups": ((32, 4, 3, 3, 3), (8, 6, 7, 8), 32, {"group": 2}),
}
TRANSPOSED: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = {
    "conv_transpose1d": ((16, 32, 4), (16, 9), 32, {"strides": [2], "pads": [1, 1]}),
    "conv_transpose2d": ((16, 32, 4, 4), (16, 5, 6), 32, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "conv_transpose2d_no_bias": ((16, 32, 2, 2), (16, 5, 6), 0, {"strides": [2, 2]}),
    "conv_transpose2d_groups": ((16, 16, 3, 3), (16, 5, 6), 32, {"group": 2}),
    "conv_transpose2d_output_padding": (
        (16, 32, 3, 3),
        (16, 5, 6),
        32,
        {"strides": [2, 2], "output_padding": [1, 1]},
    ),
    "conv_transpose3d": ((8, 16, 2, 2, 2), (8, 3, 4, 5), 16, {"strides": [2, 2, 2]}),
}
for _op, _table in (("Conv", CONVOLUTIONS), ("ConvTranspose", TRANSPOSED)):
    for _name, _arguments in _table.items():
        register(_name, partial(_convolve, _op, *_arguments), n_weights=1, notes=f"One {_op}.")


@case()
def conv2d_dynamic_size() -> onnx.ModelProto:
    """Height and width are symbolic: the multiply-accumulates are unknown."""
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 32, 16, 3, 3)], "y", pads=[1, 1, 1, 1])
    sizes: list[int | str] = ["height", "width"]
    return draft.model([value("x", [BATCH, 16, *sizes])], [value("y", [BATCH, 32, *sizes])])


@case()
def conv2d_constant_weight() -> onnx.ModelProto:
    """The kernel and the bias are Constant nodes, as some exporters write them."""
    draft = Draft()
    inputs = ["x", draft.constant("weight", 32, 16, 3, 3), draft.constant("bias", 32)]
    draft.add("Conv", inputs, "y", pads=[1, 1, 1, 1])
    return draft.model([IMAGE], [value("y", [BATCH, 32, 10, 12])])


def _normalise(draft: Draft, data: str, n_channels: int, output: str) -> str:
    names = [draft.weight(f"{output}_{n}", n_channels) for n in ("gamma", "beta", "mean")]
    variance = draft.rng.uniform(0.5, 2, n_channels).astype(np.float32)
    names.append(draft.tensor(f"{output}_var", variance))
    return draft.add("BatchNormalization", [data, *names], output)


def _conv_batch_norm(bias: bool, group: int) -> onnx.ModelProto:
    draft = Draft()
    inputs = ["x", draft.weight("weight", 32, 16 // group, 3, 3)]
    inputs += [draft.weight("bias", 32)] if bias else []
    hidden = draft.add("Conv", inputs, "c", pads=[1, 1, 1, 1], group=group)
    active = draft.add("Relu", [_normalise(draft, hidden, 32, "n")], "r")
    draft.add("Conv", [active, draft.weight("last", 32, 32, 1, 1)], "y")
    return draft.model([IMAGE], [value("y", [BATCH, 32, 10, 12])])


for _name, _bias, _group in (
    ("conv_batch_norm", True, 1),
    ("conv_batch_norm_no_bias", False, 1),
    ("conv_batch_norm_groups", True, 4),
):
    register(
        _name,
        partial(_conv_batch_norm, _bias, _group),
        n_weights=2,
        notes="Conv, BatchNormalization, Relu.",
    )


@case()
def conv_transpose_batch_norm() -> onnx.ModelProto:
    """ConvTranspose then BatchNormalization: the output axis of the weight is axis 1."""
    draft = Draft()
    hidden = draft.add("ConvTranspose", ["x", draft.weight("weight", 16, 32, 2, 2)], "c", strides=[2, 2])
    _normalise(draft, hidden, 32, "y")
    return draft.model([IMAGE], [value("y", [BATCH, 32, 20, 24])])


@case()
def batch_norm_before_conv() -> onnx.ModelProto:
    """BatchNormalization before a padded Conv: folding it backwards is wrong at the border."""
    draft = Draft()
    hidden = _normalise(draft, "x", 16, "n")
    draft.add("Conv", [hidden, draft.weight("weight", 32, 16, 3, 3)], "y", pads=[1, 1, 1, 1])
    return draft.model([IMAGE], [value("y", [BATCH, 32, 10, 12])])


@case()
def conv_output_read_twice() -> onnx.ModelProto:
    """The Conv feeds a BatchNormalization and another reader: it must not be folded."""
    draft = Draft()
    hidden = draft.add("Conv", ["x", draft.weight("weight", 32, 16, 3, 3)], "c")
    draft.add("Add", [_normalise(draft, hidden, 32, "n"), hidden], "y")
    return draft.model([IMAGE], [value("y", [BATCH, 32, 8, 10])])


@case()
def conv_shared_batch_norm() -> onnx.ModelProto:
    """Two Convs share one weight and only the first is followed by BatchNormalization."""
    draft = Draft()
    weight = draft.weight("weight", 16, 16, 3, 3)
    first = draft.add("Conv", ["x", weight], "c1", pads=[1, 1, 1, 1])
    draft.add("Conv", [_normalise(draft, first, 16, "n"), weight], "y", pads=[1, 1, 1, 1])
    return draft.model([IMAGE], [value("y", [BATCH, 16, 10, 12])])


@case()
def conv_mul_add() -> onnx.ModelProto:
    """Conv, Mul by (1, out, 1, 1), Add of (out, 1, 1)."""
    draft = Draft()
    hidden = draft.add(
        "Conv", ["x", draft.weight("weight", 32, 16, 3, 3), draft.weight("bias", 32)], "c"
    )
    scaled = draft.add("Mul", [hidden, draft.weight("scale", 1, 32, 1, 1)], "s")
    draft.add("Add", [scaled, draft.weight("shift", 32, 1, 1)], "y")
    return draft.model([IMAGE], [value("y", [BATCH, 32, 8, 10])])


@case()
def conv_mul_by_width() -> onnx.ModelProto:
    """Conv, then Mul by a vector over the width (12 values): looks foldable and is not."""
    draft = Draft()
    hidden = draft.add("Conv", ["x", draft.weight("weight", 12, 16, 3, 3)], "c", pads=[1, 1, 1, 1])
    draft.add("Mul", [hidden, draft.weight("scale", 12)], "y")
    return draft.model([IMAGE], [value("y", [BATCH, 12, 10, 12])])


@case(n_weights=3)
def residual_network() -> onnx.ModelProto:
    """Two 3x3 convolutions with a shortcut, pooling and a classifier."""
    draft = Draft()
    first = draft.add("Conv", ["x", draft.weight("w1", 16, 16, 3, 3)], "c1", pads=[1, 1, 1, 1])
    active = draft.add("Relu", [first], "r1")
    second = draft.add("Conv", [active, draft.weight("w2", 16, 16, 3, 3)], "c2", pads=[1, 1, 1, 1])
    pooled = draft.add("GlobalAveragePool", [draft.add("Add", ["x", second], "sum")], "p")
    flat = draft.add("Flatten", [pooled], "f")
    draft.add("Gemm", [flat, draft.weight("w3", 100, 16), draft.weight("b3", 100)], "logits", transB=1)
    return draft.model([IMAGE], [value("logits", [BATCH, 100])])
