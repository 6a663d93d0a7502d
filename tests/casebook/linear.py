"""Gemm, MatMul, Gather and what stands between them and their weights."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto

from tests.casebook.kit import BATCH, Draft, case, register, value

INT32 = TensorProto.INT32
INT64 = TensorProto.INT64
X64 = value("x", [BATCH, 64])
Y48 = value("y", [BATCH, 48])


def _gemm(trans_a: int, trans_b: int, alpha: float, beta: float, bias: bool) -> onnx.ModelProto:
    draft = Draft()
    weight = draft.weight("weight", *((48, 64) if trans_b else (64, 48)))
    inputs = ["x", weight, draft.weight("bias", 48)] if bias else ["x", weight]
    draft.add("Gemm", inputs, "y", transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)
    data = value("x", [64, BATCH] if trans_a else [BATCH, 64])
    return draft.model([data], [Y48])


for _a, _b, _bias in itertools.product((0, 1), (0, 1), (False, True)):
    for _alpha, _beta in ((1.0, 1.0), (0.5, -2.0)):
        register(
            f"gemm_transA{_a}_transB{_b}_alpha{_alpha:g}_beta{_beta:g}{'' if _bias else '_no_bias'}",
            partial(_gemm, _a, _b, _alpha, _beta, _bias),
            n_weights=1,
            notes="One Gemm with the given attributes.",
        )


@case()
def gemm_constant_left() -> onnx.ModelProto:
    """Gemm whose A is the weight and whose B is the activation."""
    draft = Draft()
    draft.add("Gemm", [draft.weight("weight", 48, 64), "x"], "y", alpha=0.5)
    return draft.model([value("x", [64, BATCH])], [value("y", [48, BATCH])])


@case()
def gemm_matrix_bias() -> onnx.ModelProto:
    """Gemm whose C is a full (batch, out) matrix that depends on the input, not a constant."""
    draft = Draft()
    draft.add("Gemm", ["x", draft.weight("weight", 64, 64), "c"], "y", beta=0.25)
    return draft.model([X64, value("c", [BATCH, 64])], [value("y", [BATCH, 64])])


@case(n_weights=2)
def two_layer_perceptron() -> onnx.ModelProto:
    """Gemm, Relu, Gemm: the plainest model there is."""
    draft = Draft()
    hidden = draft.add("Gemm", ["x", draft.weight("w1", 96, 64), draft.weight("b1", 96)], "h", transB=1)
    active = draft.add("Relu", [hidden], "r")
    draft.add("Gemm", [active, draft.weight("w2", 48, 96), draft.weight("b2", 48)], "y", transB=1)
    return draft.model([X64], [Y48])


def _matmul(
    left: bool, weight: tuple[int, ...], data: list[int | str], result: list[int | str]
) -> onnx.ModelProto:
    draft = Draft()
    name = draft.weight("weight", *weight)
    draft.add("MatMul", [name, "x"] if left else ["x", name], "y")
    return draft.model([value("x", data)], [value("y", result)])


MATMULS: dict[str, tuple[bool, tuple[int, ...], list[int | str], list[int | str]]] = {
    "matmul_right": (False, (64, 48), [BATCH, 64], [BATCH, 48]),
    "matmul_right_3d": (False, (64, 48), [BATCH, "sequence", 64], [BATCH, "sequence", 48]),
    "matmul_left": (True, (48, 64), [64, BATCH], [48, BATCH]),
    "matmul_left_3d": (True, (48, 64), [BATCH, 64, 5], [BATCH, 48, 5]),
    "matmul_batched": (False, (4, 64, 48), [4, BATCH, 64], [4, BATCH, 48]),
    "matmul_batched_broadcast": (False, (3, 1, 64, 48), [2, BATCH, 64], [3, 2, BATCH, 48]),
    "matmul_left_batched": (True, (4, 48, 64), [4, 64, BATCH], [4, 48, BATCH]),
    "matmul_vector": (False, (4096,), [BATCH, 4096], [BATCH]),
}
for _name, _arguments in MATMULS.items():
    register(_name, partial(_matmul, *_arguments), n_weights=1, notes="One MatMul.")


@case()
def einsum_weight() -> onnx.ModelProto:
    """A weight that an Einsum reads."""
    draft = Draft()
    draft.add("Einsum", ["x", draft.weight("weight", 4, 64, 16)], "y", equation="bi,hio->bho")
    return draft.model([X64], [value("y", [BATCH, 4, 16])])


def _gather(index_type: int, axis: int) -> onnx.ModelProto:
    draft = Draft()
    table = draft.weight("table", *((200, 32) if axis == 0 else (32, 200)))
    draft.add("Gather", [table, "ids"], "y", axis=axis)
    result: list[int | str] = [BATCH, "sequence", 32] if axis == 0 else [32, BATCH, "sequence"]
    return draft.model([value("ids", [BATCH, "sequence"], index_type)], [value("y", result)])


for _name, _type, _axis in (("int64", INT64, 0), ("int32", INT32, 0), ("axis1", INT64, 1)):
    register(
        f"gather_{_name}",
        partial(_gather, _type, _axis),
        n_weights=1,
        notes="Embedding table; ids must stay below 200.",
        bounds={"ids": 200},
    )


@case(bounds={"ids": 200})
def tied_embedding() -> onnx.ModelProto:
    """One table read by a Gather and, behind a Transpose, by the MatMul that makes the logits."""
    draft = Draft()
    table = draft.weight("table", 200, 32)
    rows = draft.add("Gather", [table, "ids"], "rows")
    turned = draft.add("Transpose", [table], "turned", perm=[1, 0])
    draft.add("MatMul", [draft.add("Tanh", [rows], "hidden"), turned], "logits")
    ids = value("ids", [BATCH, "sequence"], INT64)
    return draft.model([ids], [value("logits", [BATCH, "sequence", 200])])


@case()
def shared_weight() -> onnx.ModelProto:
    """One weight, two MatMuls."""
    draft = Draft()
    weight = draft.weight("weight", 64, 64)
    draft.add("MatMul", [draft.add("Tanh", [draft.add("MatMul", ["x", weight], "h")], "t"), weight], "y")
    return draft.model([X64], [value("y", [BATCH, 64])])


@case()
def shared_by_different_operators() -> onnx.ModelProto:
    """One square weight as B of a Gemm with transB, A of a MatMul, and an addend."""
    draft = Draft()
    weight = draft.weight("weight", 64, 64)
    first = draft.add("Gemm", ["x", weight], "a", transB=1)
    second = draft.add("MatMul", [weight, "x"], "b")
    draft.add("Add", [draft.add("Add", [first, second], "ab"), weight], "y")
    return draft.model([value("x", [64, 64])], [value("y", [64, 64])])


@case(n_weights=2)
def duplicate_weights() -> onnx.ModelProto:
    """Two initializers with equal contents and different names."""
    draft = Draft()
    first = draft.weight("first", 64, 64)
    array = onnx.numpy_helper.to_array(draft.initializers[0])
    second = draft.tensor("second", array)
    draft.add("MatMul", [draft.add("MatMul", ["x", first], "h"), second], "y")
    return draft.model([X64], [value("y", [BATCH, 64])])


@case()
def weight_is_output() -> onnx.ModelProto:
    """The weight is read by a MatMul and is a graph output under its own name."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "y")
    return draft.model([X64], [Y48, value("weight", [64, 48])])


def _behind(op_type: str) -> onnx.ModelProto:
    draft = Draft()
    inputs: list[str] = [draft.weight("weight", *((48, 64) if op_type == "Transpose" else (64, 48)))]
    attributes: dict[str, object] = {}
    if op_type == "Cast":
        draft.initializers.clear()
        inputs = [draft.weight("weight", 64, 48, dtype=np.float16)]
        attributes = {"to": TensorProto.FLOAT}
    elif op_type == "Transpose":
        attributes = {"perm": [1, 0]}
    elif op_type == "Reshape":
        inputs.append(draft.tensor("shape", np.array([64, 48], np.int64)))
    elif op_type == "Slice":
        bounds = ([0, 0], [64, 48])
        inputs += [
            draft.tensor(n, np.array(v, np.int64))
            for n, v in zip(("starts", "ends"), bounds, strict=True)
        ]
    draft.add("MatMul", ["x", draft.add(op_type, inputs, "behind", **attributes)], "y")
    return draft.model([X64], [Y48])


for _op in ("Transpose", "Cast", "Identity", "Reshape", "Slice", "Tanh"):
    register(
        f"behind_{_op.lower()}", partial(_behind, _op), n_weights=1, notes=f"MatMul({_op}(weight))."
    )


@case(n_weights=2)
def behind_concat() -> onnx.ModelProto:
    """Two halves that a Concat joins before a MatMul reads them."""
    draft = Draft()
    halves = [draft.weight("top", 32, 48), draft.weight("bottom", 32, 48)]
    draft.add("MatMul", ["x", draft.add("Concat", halves, "joined", axis=0)], "y")
    return draft.model([X64], [Y48])


@case(n_weights=2)
def gemm_batch_norm() -> onnx.ModelProto:
    """Gemm then BatchNormalization on (batch, features), then another Gemm."""
    draft = Draft()
    hidden = draft.add("Gemm", ["x", draft.weight("w1", 64, 64), draft.weight("b1", 64)], "h", transB=1)
    norm = [draft.weight(n, 64) for n in ("gamma", "beta", "mean")]
    norm.append(draft.tensor("var", draft.rng.uniform(0.5, 2, 64).astype(np.float32)))
    scaled = draft.add("BatchNormalization", [hidden, *norm], "n", epsilon=1e-3)
    draft.add("Gemm", [scaled, draft.weight("w2", 64, 48)], "y")
    return draft.model([X64], [Y48])


@case()
def identity_dropout_chain() -> onnx.ModelProto:
    """Identity, inference-mode Dropout and a second Identity around one MatMul; one dead node."""
    draft = Draft()
    start = draft.add("Identity", ["x"], "i1")
    ratio = draft.tensor("ratio", np.float32(0.5))
    dropped = draft.add("Dropout", [start, ratio], "d1")
    product = draft.add("MatMul", [dropped, draft.weight("weight", 64, 48)], "m")
    draft.add("Exp", [product], "dead")
    draft.add("Identity", [draft.add("Dropout", [product], ["d2", "mask"])], "y")
    return draft.model([X64], [Y48])


@case(n_weights=1)
def matmul_scale_shift() -> onnx.ModelProto:
    """MatMul, Mul by a row, Add of a row: foldable scale and bias."""
    draft = Draft()
    product = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "m")
    scaled = draft.add("Mul", [product, draft.weight("scale", 48)], "s")
    draft.add("Add", [draft.weight("shift", 48), scaled], "y")
    return draft.model([X64], [Y48])
