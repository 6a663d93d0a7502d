"""Models whose large tensors are integers already, and integer tables."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper

from tests.casebook.kit import BATCH, Draft, case, register, value

X = value("x", [BATCH, 64])
Y = value("y", [BATCH, 48])


def _int8(draft: Draft, name: str, *shape: int) -> str:
    return draft.tensor(
        name, np.clip(np.round(draft.rng.normal(0, 30, shape)), -127, 127).astype(np.int8)
    )


def _requantise(draft: Draft, data: str) -> str:
    """Put a QuantizeLinear / DequantizeLinear pair behind an activation."""
    scale = draft.tensor(f"{data}_scale", np.float32(0.05))
    zero = draft.tensor(f"{data}_zero", np.uint8(128))
    packed = draft.add("QuantizeLinear", [data, scale, zero], f"{data}_q")
    return draft.add("DequantizeLinear", [packed, scale, zero], f"{data}_dq")


@case(n_weights=0)
def qdq_int8() -> onnx.ModelProto:
    """Static QDQ as onnxruntime writes it: int8 Conv weight per channel, int8 Gemm weight per tensor."""
    draft = Draft()
    scales = draft.tensor("w1_scale", draft.rng.uniform(0.001, 0.01, 16).astype(np.float32))
    zeros = draft.tensor("w1_zero", np.zeros(16, np.int8))
    kernel = draft.add(
        "DequantizeLinear", [_int8(draft, "w1", 16, 8, 3, 3), scales, zeros], "w1_dq", axis=0
    )
    hidden = draft.add("Conv", [_requantise(draft, "x"), kernel], "c")
    flat = draft.add("Flatten", [_requantise(draft, draft.add("Relu", [hidden], "r"))], "f")
    scale, zero = draft.tensor("w2_scale", np.float32(0.004)), draft.tensor("w2_zero", np.int8(0))
    matrix = draft.add("DequantizeLinear", [_int8(draft, "w2", 48, 256), scale, zero], "w2_dq")
    draft.add("Gemm", [_requantise(draft, flat), matrix], "y", transB=1)
    return draft.model([value("x", [BATCH, 8, 6, 6])], [Y])


@case(n_weights=0)
def behind_dequantize() -> onnx.ModelProto:
    """Weight-only int8: DequantizeLinear(int8 weight) straight into a float MatMul."""
    draft = Draft()
    scale = draft.tensor("scale", draft.rng.uniform(0.001, 0.01, 48).astype(np.float32))
    weight = draft.add("DequantizeLinear", [_int8(draft, "weight", 64, 48), scale], "dq", axis=1)
    draft.add("MatMul", ["x", weight], "y")
    return draft.model([X], [Y])


@case(n_weights=0)
def matmul_integer() -> onnx.ModelProto:
    """Dynamic quantisation: DynamicQuantizeLinear and MatMulInteger."""
    draft = Draft()
    draft.add("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"])
    weight = _int8(draft, "weight", 64, 48)
    product = draft.add("MatMulInteger", ["q", weight, "zero"], "i")
    wide = draft.add("Cast", [product], "f", to=TensorProto.FLOAT)
    factor = draft.add("Mul", ["scale", draft.tensor("w_scale", np.float32(0.01))], "factor")
    draft.add("Mul", [wide, factor], "y")
    return draft.model([X], [Y])


@case(n_weights=0)
def qlinear_conv() -> onnx.ModelProto:
    """QOperator form: QLinearConv with an int8 weight and an int32 bias."""
    draft = Draft()
    scale, zero = draft.tensor("scale", np.float32(0.05)), draft.tensor("zero", np.uint8(128))
    packed = draft.add("QuantizeLinear", ["x", scale, zero], "q")
    weight = _int8(draft, "weight", 16, 8, 3, 3)
    w_scale, w_zero = draft.tensor("w_scale", np.float32(0.01)), draft.tensor("w_zero", np.int8(0))
    bias = draft.tensor("bias", draft.rng.integers(-500, 500, 16).astype(np.int32))
    inputs = [packed, scale, zero, weight, w_scale, w_zero, scale, zero, bias]
    draft.add("DequantizeLinear", [draft.add("QLinearConv", inputs, "c"), scale, zero], "y")
    return draft.model([value("x", [BATCH, 8, 6, 6])], [value("y", [BATCH, 16, 4, 4])])


@case(n_weights=0)
def int4_blocks() -> onnx.ModelProto:
    """Opset 21: an int4 weight with one scale per block of 16."""
    draft = Draft()
    numbers = draft.rng.integers(-7, 8, 64 * 48)
    draft.initializers.append(helper.make_tensor("weight", TensorProto.INT4, [64, 48], numbers.tolist()))
    scale = draft.tensor("scale", draft.rng.uniform(0.01, 0.1, (4, 48)).astype(np.float32))
    wide = draft.add("DequantizeLinear", ["weight", scale], "dq", axis=0, block_size=16)
    draft.add("MatMul", ["x", wide], "y")
    return draft.model([X], [Y], opset=21)


@case(n_weights=1)
def fake_quantised_weight() -> onnx.ModelProto:
    """A float weight that goes through QuantizeLinear and DequantizeLinear in the graph."""
    draft = Draft()
    scale, zero = draft.tensor("scale", np.float32(0.01)), draft.tensor("zero", np.int8(0))
    packed = draft.add("QuantizeLinear", [draft.weight("weight", 64, 48), scale, zero], "q")
    draft.add("MatMul", ["x", draft.add("DequantizeLinear", [packed, scale, zero], "dq")], "y")
    return draft.model([X], [Y])


def _table(dtype: DTypeLike) -> onnx.ModelProto:
    draft = Draft()
    table = draft.weight("table", 500, 16, dtype=dtype)
    draft.add("Gather", [table, "ids"], "y")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ids = value("ids", [BATCH], TensorProto.INT64)
    return draft.model([ids], [value("y", [BATCH, 16], kind)])


for _dtype in (np.uint8, np.int16, np.int32, np.int64):
    register(
        f"table_{np.dtype(_dtype).name}",
        partial(_table, _dtype),
        n_weights=0,
        notes="A large integer table: lossless or left alone.",
        bounds={"ids": 500},
    )


@case(n_weights=0)
def boolean_mask() -> onnx.ModelProto:
    """A large boolean initializer in a Where."""
    draft = Draft()
    mask = draft.tensor("mask", np.tri(64, dtype=np.bool_))
    draft.add("Where", [mask, "x", draft.tensor("zero", np.float32(0))], "y")
    return draft.model([value("x", [64, 64])], [value("y", [64, 64])])
