"""Batch norms, scales and biases are folded where that is exact to 1e-5, else a reason is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.casebook.kit import Draft, value
from tests.cases import Case
from tests.graph.running import RUNNABLE, assert_close, run
from tests.passes.folding import batch_norm, check, fold, op_types, parameters, refuse


@pytest.mark.parametrize("case", RUNNABLE, ids=str)
def test_folded_models_compute_the_same(case: Case) -> None:
    proto = case.build()
    folded, rewrites, _ = fold(proto)
    assert (len(rewrites) == 0) or len(folded.graph.node) < len(proto.graph.node)
    assert folded.ByteSize() <= proto.ByteSize()
    names = {t.name for t in proto.graph.initializer}
    assert [v for v in folded.graph.input if v.name not in names] == [
        v for v in proto.graph.input if v.name not in names
    ]
    assert list(folded.graph.output) == list(proto.graph.output)
    if case.finite:
        for seed in (0, 1):
            assert_close(run(folded, case.feeds(seed)), run(proto, case.feeds(seed)))


def convolution(
    tail: Callable[[Draft, str], None],
    group: int = 1,
    bias: bool = True,
    transposed: bool = False,
    n_axes: int = 2,
    dtype: Any = np.float32,
    opset: int = 17,
    extra_outputs: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """Return a Conv of 8 to 12 channels named h, followed by what `tail` adds up to y."""
    draft = Draft()
    shape = (8, 12 // group) if transposed else (12, 8 // group)
    names = [draft.weight("weight", *shape, *(3,) * n_axes, dtype=dtype)]
    names += [draft.weight("bias", 12, dtype=dtype)] if bias else []
    draft.add("ConvTranspose" if transposed else "Conv", ["x", *names], "h", group=group)
    tail(draft, "h")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    outputs = [value(name, None, kind) for name in ("y", *extra_outputs)]
    return draft.model([value("x", [2, 8, *(6,) * n_axes], kind)], outputs, opset=opset)


def operate(op_type: str, shape: tuple[int, ...], first: bool = False) -> Callable[[Draft, str], None]:
    """Return a tail y = data op constant, or constant op data."""

    def tail(draft: Draft, data: str) -> None:
        kind = {TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}
        dtype = kind.get(draft.initializers[0].data_type, np.float32)
        constant = draft.tensor("constant", draft.rng.uniform(0.5, 2, shape).astype(dtype))
        draft.add(op_type, [constant, data] if first else [data, constant], "y")

    return tail


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 14, 15, 17, 21])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_behind_conv(bias: bool, opset: int) -> None:
    attributes = {"epsilon": 1e-3}
    proto = convolution(lambda d, h: batch_norm(d, h, **attributes), bias=bias, opset=opset)
    folded = check(proto, ["Conv"], (2, 8, 6, 6))
    assert [n.name for n in folded.graph.node] == ["node_h"]
    assert {"weight", "bias"} >= {t.name for t in folded.graph.initializer if "bias" not in t.name}


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_batch_norm_behind_any_convolution(group: int, transposed: bool, n_axes: int) -> None:
    proto = convolution(batch_norm, group=group, transposed=transposed, n_axes=n_axes)
    check(proto, [proto.graph.node[0].op_type], (2, 8, *(6,) * n_axes))


def test_depthwise_batch_norm() -> None:
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 12, 1, 3, 3)], "h", group=12)
    batch_norm(draft, "h")
    check(draft.model([value("x", [2, 12, 6, 6])], [value("y", None)]), ["Conv"], (2, 12, 6, 6))


def test_float64_is_folded_and_float16_is_not() -> None:
    """Onnxruntime has no Conv in float64 on the CPU, so a Gemm shows it."""
    draft = Draft()
    draft.add("Gemm", ["x", draft.weight("weight", 8, 12, dtype=np.float64)], "h")
    batch_norm(draft, "h")
    kind = TensorProto.DOUBLE
    proto = draft.model([value("x", [5, 8], kind)], [value("y", None, kind)])
    folded = check(proto, ["Gemm"], (5, 8), np.float64)
    feeds = {"x": np.random.default_rng(0).standard_normal((5, 8))}
    assert_close(run(folded, feeds), run(proto, feeds), 1e-13)
    refuse(convolution(batch_norm, dtype=np.float16), "float16: rounding it again is not exact")
    refuse(convolution(operate("Mul", (12, 1, 1)), dtype=np.float16), "float16")


@pytest.mark.parametrize("op_type", ["Mul", "Add", "Sub", "Div"])
@pytest.mark.parametrize("shape", [(12, 1, 1), (1, 12, 1, 1), (), (1,), (1, 1, 1)])
@pytest.mark.parametrize("first", [False, True])
def test_scale_and_shift_behind_conv(op_type: str, shape: tuple[int, ...], first: bool) -> None:
    proto = convolution(operate(op_type, shape, first))
    if op_type == "Div" and first:
        folded, rewrites, _ = fold(proto)
        assert op_types(folded) == ["Conv", "Div"]
        assert not rewrites
    else:
        check(proto, ["Conv"], (2, 8, 6, 6))


@pytest.mark.parametrize("transposed", [False, True])
def test_chain_folds_into_one(transposed: bool) -> None:
    def tail(draft: Draft, data: str) -> None:
        for i, op_type in enumerate(("Mul", "Add", "Div", "Sub")):
            constant = draft.tensor(f"c{i}", draft.rng.uniform(0.5, 2, (12, 1, 1)).astype(np.float32))
            data = draft.add(op_type, [data, constant], f"t{i}")
        batch_norm(draft, data)

    proto = convolution(tail, transposed=transposed, group=2, bias=False)
    folded = check(proto, [proto.graph.node[0].op_type], (2, 8, 6, 6))
    assert "weight" in {t.name for t in folded.graph.initializer}, "a folded weight keeps its name"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((4,), "not one number per channel"),
        ((12, 1, 4), "not one number per channel"),
        ((2, 12, 1, 1), "not one number per channel"),
        ((2, 1, 1, 1), "not one number per channel"),
        ((1, 1, 12, 1, 1), "not one number per channel"),
    ],
)
def test_constants_that_are_not_per_channel_are_refused(shape: tuple[int, ...], reason: str) -> None:
    refuse(convolution(operate("Mul", shape)), reason)


def test_one_channel_does_not_broadcast() -> None:
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 1, 8, 3, 3)], "h")
    operate("Mul", (5, 1, 1))(draft, "h")
    refuse(draft.model([value("x", [2, 8, 6, 6])], [value("y", None)]), "not one number per channel")


def test_batch_norm_with_statistics_per_position() -> None:
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 12, 8, 3, 3)], "h")
    batch_norm(draft, "h", spatial=0)
    proto = draft.model([value("x", [2, 8, 3, 3])], [value("y", None)], opset=7)
    refuse(proto, "spatial=0")


def test_batch_norm_in_training_mode() -> None:
    refuse(convolution(lambda d, h: batch_norm(d, h, training_mode=1)), "training mode")

    def five(draft: Draft, data: str) -> None:
        outputs = ["y", "m", "v", "sm", "sv"]
        draft.add("BatchNormalization", [data, *parameters(draft, 12)], outputs)

    refuse(convolution(five, opset=9, extra_outputs=("m",)), "training mode")


def test_batch_norm_with_parameters_that_are_no_constants() -> None:
    def tail(draft: Draft, data: str) -> None:
        names = parameters(draft, 12)
        draft.add("BatchNormalization", [data, draft.add("Relu", [data], "r"), *names[1:]], "y")

    def alone(draft: Draft, data: str) -> None:
        names = parameters(draft, 12)
        draft.add("BatchNormalization", [data, "scale", *names[1:]], "y")

    proto = convolution(alone)
    proto.graph.input.append(value("scale", [12]))
    refuse(proto, "parameters are not one constant per channel")
    refuse(convolution(tail), "also read elsewhere")


def test_conv_output_that_others_need_is_kept() -> None:
    refuse(convolution(batch_norm, extra_outputs=("h",)), "'h' is also read elsewhere")


def test_conv_output_read_in_a_body_is_kept() -> None:
    def tail(draft: Draft, data: str) -> None:
        bodies = []
        for name in ("Relu", "Neg"):
            inner = Draft()
            inner.add(name, [data], f"{name}_out")
            bodies.append(inner.graph([], [value(f"{name}_out", None)], name))
        draft.add("If", ["c"], "z", then_branch=bodies[0], else_branch=bodies[1])
        batch_norm(draft, data)

    proto = convolution(tail, extra_outputs=("z",))
    proto.graph.input.append(value("c", [], TensorProto.BOOL))
    refuse(proto, "'h' is also read elsewhere")


def test_shared_weight_is_scaled_nowhere_but_may_get_a_bias() -> None:
    def tail(op_type: str) -> Callable[[Draft, str], None]:
        def add(draft: Draft, data: str) -> None:
            operate(op_type, (12, 1, 1))(draft, data)
            draft.add("Conv", ["x", "weight"], "other")

        return add

    refuse(convolution(tail("Mul"), extra_outputs=("other",)), "the weight of 'node_h' is shared")
    check(convolution(tail("Add"), extra_outputs=("other",)), ["Conv", "Conv"], (2, 8, 6, 6))


def test_shared_bias_is_copied() -> None:
    def tail(draft: Draft, data: str) -> None:
        batch_norm(draft, data)
        draft.add("Conv", ["x", draft.weight("w2", 12, 8, 3, 3), "bias"], "other")

    check(convolution(tail, extra_outputs=("other",)), ["Conv", "Conv"], (2, 8, 6, 6))


def test_weights_that_are_not_constant() -> None:
    proto = convolution(batch_norm)
    proto.graph.input.append(value("weight", [12, 8, 3, 3]))
    refuse(proto, "the weight of 'node_h' is not constant")
    proto = convolution(batch_norm)
    proto.graph.input.append(value("bias", [12]))
    refuse(proto, "the bias of 'node_h' is not one constant per channel")


def test_values_that_would_overflow_are_refused() -> None:
    def zero(draft: Draft, data: str) -> None:
        draft.add("Div", [data, draft.tensor("constant", np.zeros((12, 1, 1), np.float32))], "y")

    def negative(draft: Draft, data: str) -> None:
        names = parameters(draft, 12)
        names[3] = draft.tensor("bad", np.full(12, -1, np.float32))
        draft.add("BatchNormalization", [data, *names], "y")

    def large(draft: Draft, data: str) -> None:
        draft.add("Mul", [data, draft.tensor("constant", np.full((12, 1, 1), 3e38, np.float32))], "y")

    def weighty(draft: Draft, data: str) -> None:
        draft.initializers[0].raw_data = np.full((12, 8, 3, 3), 9, np.float32).tobytes()
        large(draft, data)

    refuse(convolution(zero), "not finite")
    refuse(convolution(negative), "not finite")
    refuse(convolution(weighty), "not finite")


def test_a_single_number_does_not_become_a_vector() -> None:
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 64, 8, 3, 3)], "h")
    operate("Add", ())(draft, "h")
    refuse(draft.model([value("x", [2, 8, 6, 6])], [value("y", None)]), "takes more bytes")


def test_activations_are_no_constants() -> None:
    def residual(draft: Draft, data: str) -> None:
        draft.add("Mul", [data, draft.add("Sigmoid", [data], "s")], "y")

    folded, rewrites, skips = fold(convolution(residual))
    assert op_types(folded) == ["Conv", "Sigmoid", "Mul"]
    assert not rewrites
    assert not skips


GEMM_ATTRIBUTES = [
    {},
    {"transB": 1},
    {"alpha": 0.5, "beta": -2.0},
    {"transA": 1, "transB": 1, "alpha": 2.0, "beta": 0.25},
]


def gemm(
    tail: Callable[[Draft, str], None], bias: tuple[int, ...] | None, opset: int = 17, **attributes: Any
) -> onnx.ModelProto:
    draft = Draft()
    shape = (12, 8) if attributes.get("transB") else (8, 12)
    names = [draft.weight("weight", *shape)]
    if bias is not None:
        names.append(draft.tensor("bias", np.asarray(draft.rng.standard_normal(bias), np.float32)))
    draft.add("Gemm", ["x", *names], "h", **attributes)
    tail(draft, "h")
    dims = [8, 5] if attributes.get("transA") else [5, 8]
    return draft.model([value("x", dims)], [value("y", None)], opset=opset)


def gemm_shape(attributes: dict[str, Any]) -> tuple[int, int]:
    return (8, 5) if attributes.get("transA") else (5, 8)


@pytest.mark.parametrize("attributes", GEMM_ATTRIBUTES)
@pytest.mark.parametrize("bias", [None, (), (1,), (12,), (1, 12), (1, 1)])
@pytest.mark.parametrize("op_type", ["BatchNormalization", "Mul", "Add", "Sub"])
def test_gemm(attributes: dict[str, Any], bias: tuple[int, ...] | None, op_type: str) -> None:
    tail = batch_norm if op_type == "BatchNormalization" else operate(op_type, (1, 12))
    check(gemm(tail, bias, **attributes), ["Gemm"], gemm_shape(attributes))


@pytest.mark.parametrize("shape", [(), (12,), (1, 12)])
def test_gemm_at_opset_7(shape: tuple[int, ...]) -> None:
    check(gemm(operate("Mul", shape), (12,), opset=7), ["Gemm"], (5, 8))


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (gemm(operate("Mul", (5, 1)), None), "not one number per channel"),
        (gemm(operate("Mul", (5, 12)), None), "not one number per channel"),
        (gemm(operate("Mul", (12,)), (5, 12)), "not one constant per channel"),
        (gemm(operate("Mul", (12,)), (5, 1)), "not one constant per channel"),
        (gemm(operate("Add", (12,)), (12,), beta=0.0), "beta=0"),
    ],
)
def test_gemm_refused(proto: onnx.ModelProto, reason: str) -> None:
    refuse(proto, reason)


def test_gemm_bias_per_row_is_not_one_per_channel() -> None:
    """With as many rows as channels, the sizes alone do not tell."""
    draft = Draft()
    names = [draft.weight("weight", 8, 12), draft.weight("bias", 12, 1)]
    draft.add("Gemm", ["x", *names], "h")
    operate("Mul", (12,))(draft, "h")
    refuse(draft.model([value("x", [12, 8])], [value("y", None)]), "one constant per row")


def matmul(
    tail: Callable[[Draft, str], None], bias: bool, weight: tuple[int, ...] = (8, 12), flat: bool = False
) -> onnx.ModelProto:
    draft = Draft()
    data = draft.add("Flatten", ["x"], "flat") if flat else "x"
    data = draft.add("MatMul", [data, draft.weight("weight", *weight)], "m")
    if bias:
        data = draft.add("Add", [draft.weight("bias", weight[-1]), data], "h")
    tail(draft, data)
    return draft.model([value("x", [2, 5, 8] if not flat else [5, 2, 4])], [value("y", None)])


@pytest.mark.parametrize("op_type", ["Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (12,)])
def test_scale_behind_matmul(op_type: str, shape: tuple[int, ...]) -> None:
    check(matmul(operate(op_type, shape), bias=False), ["MatMul"], (2, 5, 8))


@pytest.mark.parametrize("op_type", ["Mul", "Div", "Add", "Sub"])
def test_scale_and_shift_behind_matmul_with_bias(op_type: str) -> None:
    check(matmul(operate(op_type, (12,)), bias=True), ["MatMul", "Add"], (2, 5, 8))


def test_batched_matmul() -> None:
    check(matmul(operate("Mul", (12,)), bias=True, weight=(2, 8, 12)), ["MatMul", "Add"], (2, 5, 8))


def test_batch_norm_behind_matmul_with_bias() -> None:
    check(matmul(batch_norm, bias=True, flat=True), ["Flatten", "MatMul", "Add"], (5, 2, 4))


def test_batch_norm_behind_matmul_of_unknown_rank() -> None:
    """The channel of a batch norm is axis 1, the column of the weight is the last one."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 8, 12)], "m")
    draft.add("Add", ["m", draft.weight("bias", 12)], "h")
    batch_norm(draft, "h")
    refuse(draft.model([value("x", [2, 12, 8])], [value("y", None)]), "which axis")


def test_batch_norm_behind_matmul_without_bias() -> None:
    refuse(matmul(batch_norm, bias=False, flat=True), "no bias to take the shift")


def test_matrix_shaped_scale_may_change_the_rank_of_a_matmul() -> None:
    refuse(matmul(operate("Mul", (1, 12)), bias=False), "not one number per channel")


def test_matmul_by_a_vector_has_no_channels() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 8)], "h")
    operate("Mul", (8,))(draft, "h")
    proto = draft.model([value("x", [3, 8])], [value("y", None)])
    folded, rewrites, _ = fold(draft.model([value("x", [8, 8])], [value("y", None)]))
    assert op_types(folded) == op_types(proto)
    assert not rewrites


def test_nothing_is_folded_into_a_gather() -> None:
    draft = Draft()
    draft.add("Relu", ["x"], "h")
    batch_norm_free = operate("Mul", (8,))
    draft.weight("unused", 2)
    batch_norm_free(draft, "h")
    _, rewrites, skips = fold(draft.model([value("x", [3, 8])], [value("y", None)]))
    assert not rewrites
    assert not skips


@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_random_chains_compute_the_same(data: st.DataObject) -> None:
    """Any sequence of the operators that fold knows, some of them with second readers."""
    draft = Draft(seed=data.draw(st.integers(0, 1000)))
    current = draft.add("Conv", ["x", draft.weight("weight", 12, 8, 3, 3)], "v0")
    outputs = []
    kinds = (
        "Mul",
        "Add",
        "Sub",
        "Div",
        "BatchNormalization",
        "Identity",
        "Dropout",
        "Relu",
        "Conv",
        "dead",
    )
    for i in range(1, data.draw(st.integers(1, 8))):
        kind = data.draw(st.sampled_from(kinds))
        name = f"v{i}"
        if kind in ("Mul", "Add", "Sub", "Div"):
            shape = data.draw(st.sampled_from([(), (12, 1, 1), (1, 12, 1, 1), (1,)]))
            constant = draft.tensor(f"c{i}", draft.rng.uniform(0.5, 2, shape).astype(np.float32))
            draft.add(kind, [current, constant], name)
        elif kind == "BatchNormalization":
            names = [
                draft.tensor(f"p{i}_{k}", draft.rng.uniform(0.5, 2, 12).astype(np.float32))
                for k in range(4)
            ]
            draft.add(kind, [current, *names], name)
        elif kind == "Conv":
            draft.add(kind, [current, draft.weight(f"w{i}", 12, 12, 1, 1)], name)
        elif kind == "dead":
            draft.add("Exp", [current], name)
            continue
        else:
            draft.add(kind, [current], name)
        current = name
        if data.draw(st.integers(0, 4)) == 0:
            outputs.append(value(current, None))
    draft.add("Identity", [current], "y")
    proto = draft.model([value("x", [2, 8, 5, 5])], [*outputs, value("y", None)])
    folded, _, _ = fold(proto)
    feeds = {"x": np.random.default_rng(2).standard_normal((2, 8, 5, 5)).astype(np.float32)}
    assert_close(run(folded, feeds), run(proto, feeds))
    assert "dead" not in {n.name for n in folded.graph.node}
