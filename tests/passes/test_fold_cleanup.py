"""Identities, constants and dead nodes: gone where that changes nothing, else left with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.casebook.kit import Draft, value
from tests.graph.running import assert_close, run
from tests.passes.folding import batch_norm, check, fold, op_types, refuse


def around(
    op_type: str,
    inputs: tuple[Any, ...] = (),
    outputs: tuple[str, ...] = ("i",),
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return y = neg(op(relu(x), *inputs))."""
    draft = Draft()
    draft.add("Relu", ["x"], "r")
    names = ["" if a is None else draft.tensor(f"c{k}", a) for k, a in enumerate(inputs)]
    draft.add(op_type, ["r", *names], outputs, **attributes)
    draft.add("Neg", ["i"], "y")
    return draft.model([value("x", [2, 8])], [value("y", None)], opset=opset)


NO_PADS = np.zeros(4, np.int64)
IDENTITIES = {
    "identity": around("Identity"),
    "dropout_7": around("Dropout", opset=7, ratio=0.5),
    "dropout_10_mask": around("Dropout", outputs=("i", "mask"), opset=10, ratio=0.5),
    "dropout_12": around("Dropout", (np.float32(0.5),), opset=12),
    "dropout_13_false": around("Dropout", (np.float32(0.5), np.array(False)), ("i", "mask"), opset=13),
    "dropout_no_ratio": around("Dropout", (None, np.array(False))),
    "transpose": around("Transpose", perm=[0, 1]),
    "concat": around("Concat", axis=0),
    "sum": around("Sum"),
    "max": around("Max"),
    "pad_10": around("Pad", opset=10, pads=[0, 0, 0, 0]),
    "pad_17": around("Pad", (NO_PADS,)),
    "pad_value": around("Pad", (NO_PADS, np.float32(3))),
}


@pytest.mark.parametrize("proto", IDENTITIES.values(), ids=IDENTITIES.keys())
def test_identities_are_removed(proto: onnx.ModelProto) -> None:
    folded = check(proto, ["Relu", "Neg"], (2, 8))
    assert [n.name for n in folded.graph.node] == ["node_r", "node_y"]
    assert not folded.graph.initializer


DIFFERENT = {
    "transpose": around("Transpose", perm=[1, 0]),
    "transpose_default": around("Transpose"),
    "pad": around("Pad", (np.array([0, 1, 0, 0], np.int64),)),
    "pad_10": around("Pad", opset=10, pads=[0, 1, 0, 0]),
    "cast": around("Cast", to=TensorProto.DOUBLE),
    "cast_of_an_unknown_type": around("Cast", to=TensorProto.FLOAT),
    "reshape": around("Reshape", (np.array([2, 8], np.int64),)),
}


@pytest.mark.parametrize("proto", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_is_or_may_be_no_identity_stays(proto: onnx.ModelProto) -> None:
    folded, rewrites, skips = fold(proto)
    assert op_types(folded) == op_types(proto)
    assert not rewrites
    assert not skips


def test_dropout_in_training_mode_or_with_a_mask_is_refused() -> None:
    refuse(around("Dropout", (np.float32(0.5), np.array(True))), "training mode")
    proto = around("Dropout", (np.float32(0.5),))
    proto.graph.node[1].input.append("mode")
    proto.graph.input.append(value("mode", [], TensorProto.BOOL))
    refuse(proto, "training mode")
    proto = around("Dropout", outputs=("i", "mask"))
    proto.graph.output.append(value("mask", None, TensorProto.BOOL))
    refuse(proto, "mask")


@pytest.mark.parametrize(("first", "second"), [("Cast", "Cast"), ("Greater", "Cast"), ("Shape", "Cast")])
def test_cast_to_the_type_it_certainly_has(first: str, second: str) -> None:
    draft = Draft()
    to = {"Cast": TensorProto.FLOAT16, "Greater": TensorProto.BOOL, "Shape": TensorProto.INT64}[first]
    if first == "Greater":
        draft.add("Greater", ["x", draft.tensor("zero", np.float32(0))], "a")
    else:
        draft.add(first, ["x"], "a", **({"to": to} if first == "Cast" else {}))
    draft.add("Unsqueeze", ["a", draft.tensor("axes", np.array([0], np.int64))], "b")
    draft.add(second, ["b"], "c", to=to)
    draft.add("Cast", ["c"], "y", to=TensorProto.FLOAT)
    proto = draft.model([value("x", [2, 8])], [value("y", None)])
    check(proto, [first, "Unsqueeze", "Cast"], (2, 8))


def test_graph_output_keeps_its_name() -> None:
    """Its producer is renamed, also for the other readers of the value."""
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 12, 8, 3, 3)], "h")
    draft.add("Relu", ["h"], "branch")
    draft.add("Identity", ["h"], "y")
    proto = draft.model([value("x", [2, 8, 6, 6])], [value("y", None), value("branch", None)])
    folded = check(proto, ["Conv", "Relu"], (2, 8, 6, 6))
    assert [list(n.output) for n in folded.graph.node] == [["y"], ["branch"]]


def test_renamed_producer_can_still_be_folded_into() -> None:
    """The Conv reads a value that was renamed in the same sweep, and then takes in a batch norm."""
    draft = Draft()
    draft.add("Relu", ["x"], "r")
    draft.add("Conv", ["r", draft.weight("weight", 12, 8, 3, 3)], "h")
    draft.add("Identity", ["r"], "z")
    batch_norm(draft, "h")
    proto = draft.model([value("x", [2, 8, 6, 6])], [value("y", None), value("z", None)])
    folded = check(proto, ["Relu", "Conv"], (2, 8, 6, 6))
    assert folded.graph.node[1].input[0] == "z"


def test_input_that_is_handed_out_needs_its_identity() -> None:
    draft = Draft()
    draft.add("Identity", ["x"], "y")
    refuse(draft.model([value("x", [2, 8])], [value("y", None)]), "gives graph output 'y' its name")


def test_value_with_two_output_names_needs_one_identity() -> None:
    draft = Draft()
    draft.add("Relu", ["x"], "r")
    draft.add("Identity", ["r"], "y")
    draft.add("Identity", ["r"], "z")
    proto = draft.model([value("x", [2, 8])], [value("y", None), value("z", None)])
    check(proto, ["Relu", "Identity"], (2, 8))


def test_identity_of_a_value_that_bodies_read() -> None:
    bodies = []
    for name in ("Abs", "Neg"):
        inner = Draft()
        inner.add(name, ["i"], f"{name}_out")
        bodies.append(inner.graph([], [value(f"{name}_out", None)], name))
    draft = Draft()
    draft.add("Identity", [draft.add("Relu", ["x"], "r")], "i")
    draft.add(
        "If", [draft.tensor("c", np.array(True))], "y", then_branch=bodies[0], else_branch=bodies[1]
    )
    check(draft.model([value("x", [2, 8])], [value("y", None)]), ["Relu", "If"], (2, 8))


# ---------------------------------------------------------------- constants and dead nodes


def computed(op_type: str, arrays: list[Any], opset: int = 17, **attributes: Any) -> onnx.ModelProto:
    """Return y = x + cast(op(*arrays))."""
    draft = Draft()
    names = [draft.tensor(f"c{k}", array) for k, array in enumerate(arrays)]
    draft.add(op_type, names, "constant", **attributes)
    draft.add("Cast", ["constant"], "float", to=TensorProto.FLOAT)
    draft.add("Add", ["x", "float"], "y")
    return draft.model([value("x", [1])], [value("y", None)], opset=opset)


A = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)
B = np.linspace(0.5, 3, 24, dtype=np.float32).reshape(4, 6)
INDEX = np.array([0, 2, -1, 1], np.int64)
COMPUTED = {
    "transpose": computed("Transpose", [A]),
    "transpose_perm": computed("Transpose", [A.reshape(2, 2, 6)], perm=[2, 0, 1]),
    "reshape": computed("Reshape", [A, np.array([0, -1, 2], np.int64)]),
    "squeeze": computed("Squeeze", [A[None], np.array([0], np.int64)]),
    "squeeze_11": computed("Squeeze", [A[None]], opset=11, axes=[0]),
    "unsqueeze": computed("Unsqueeze", [A, np.array([0, 3], np.int64)]),
    "unsqueeze_11": computed("Unsqueeze", [A], opset=11, axes=[0, 3]),
    "flatten": computed("Flatten", [A.reshape(2, 2, 6)], axis=2),
    "slice": computed("Slice", [A, *(np.array([v], np.int64) for v in (5, 0, 1, -2))]),
    "slice_9": computed("Slice", [A], opset=9, axes=[1], starts=[1], ends=[-1]),
    "gather": computed("Gather", [A, INDEX], axis=1),
    "concat": computed("Concat", [A, B], axis=-1),
    "add": computed("Add", [A, B[:1]]),
    "sub": computed("Sub", [A, B]),
    "mul": computed("Mul", [A, np.float32(3)]),
    "div": computed("Div", [A, B]),
    "neg": computed("Neg", [A]),
    "abs": computed("Abs", [A]),
    "sqrt": computed("Sqrt", [B]),
    "exp": computed("Exp", [A]),
    "log": computed("Log", [B]),
    "reciprocal": computed("Reciprocal", [B]),
    "floor": computed("Floor", [A]),
    "ceil": computed("Ceil", [A]),
    "min": computed("Min", [A, B]),
    "max": computed("Max", [A, B]),
    "matmul": computed("MatMul", [A, B.T]),
    "not": computed("Not", [A > 0]),
    "equal": computed("Equal", [INDEX, INDEX[::-1].copy()]),
    "where": computed("Where", [A > 0, A, B]),
    "shape": computed("Shape", [A]),
    "shape_15": computed("Shape", [A], start=1, end=2),
    "size": computed("Size", [A]),
    "fill": computed("ConstantOfShape", [np.array([2, 3], np.int64)]),
    "cast": computed("Cast", [INDEX], to=TensorProto.INT32),
    "cast_double": computed("Cast", [A.astype(np.float64)], to=TensorProto.FLOAT16),
}


@pytest.mark.parametrize("proto", COMPUTED.values(), ids=COMPUTED.keys())
def test_constants_are_computed(proto: onnx.ModelProto) -> None:
    """Outputs stay bit-identical; only a Cast that would double the bytes may be left."""
    folded, rewrites, skips = fold(proto)
    assert op_types(folded) in (["Add"], ["Cast", "Add"])
    assert len(rewrites) + len(skips) == 2
    feeds = {"x": np.array([0.25], np.float32)}
    assert_close(run(folded, feeds), run(proto, feeds), 1e-6)
    assert folded.ByteSize() < proto.ByteSize()


def test_equal_constants_are_merged() -> None:
    draft = Draft()
    for name, number in (("a", 2.0), ("b", 2.0), ("c", 3.0)):
        draft.add("Constant", [], name, value=onnx.numpy_helper.from_array(np.float32([number])))
    draft.add("Tanh", ["x"], "t")
    for i, (left, right) in enumerate((("t", "a"), ("s0", "b"), ("s1", "c"))):
        draft.add("Pow", [left, right], f"s{i}")
    draft.add("Identity", ["s2"], "y")
    proto = draft.model([value("x", [4])], [value("y", [4])])
    folded, rewrites, _ = fold(proto)
    assert op_types(folded).count("Constant") == 2
    assert "1 small constants merged with equal ones" in [r.description for r in rewrites]
    feeds = {"x": np.linspace(-1, 1, 4, dtype=np.float32)}
    assert_close(run(folded, feeds), run(proto, feeds), 0)


LEFT = {
    "larger": (
        computed("ConstantOfShape", [np.array([64, 64], np.int64)]),
        "more bytes",
    ),
    "wider": (computed("Cast", [A.astype(np.float16)], to=TensorProto.DOUBLE), "more bytes"),
    "outer": (computed("Mul", [A[:1], A.T[:, :1]]), "more bytes"),
    "random": (computed("RandomUniformLike", [A]), "random"),
    "bernoulli": (computed("Bernoulli", [np.abs(A) / 2]), "random"),
    "half": (computed("Add", [A.astype(np.float16), B.astype(np.float16)]), "16 bits"),
    "integer_division": (computed("Div", [INDEX, np.array(2)]), "integer division"),
    "truncation": (computed("Cast", [A], to=TensorProto.INT32), "conversion"),
    "other": (computed("Tanh", [A]), "Tanh is not computed"),
}


@pytest.mark.parametrize(("proto", "reason"), LEFT.values(), ids=LEFT.keys())
def test_constants_that_are_left(proto: onnx.ModelProto, reason: str) -> None:
    folded, rewrites, skips = fold(proto)
    assert not rewrites
    assert op_types(folded) == op_types(proto)
    assert any(reason in skip.reason for skip in skips)


def test_inputs_that_others_read_are_not_freed() -> None:
    draft = Draft()
    draft.add("Transpose", [draft.weight("weight", 8, 12)], "turned")
    draft.add("MatMul", ["x", "weight"], "h")
    draft.add("MatMul", ["h", "turned"], "y")
    refuse(draft.model([value("x", [2, 8])], [value("y", None)]), "more bytes")


def test_constant_nodes_count_as_constants_and_chains_are_followed() -> None:
    draft = Draft()
    draft.constant("table", 8, 12)
    draft.add("Transpose", ["table"], "t1")
    draft.add("Neg", ["t1"], "t2")
    draft.add("Transpose", ["t2"], "t3")
    draft.add("MatMul", ["x", "t3"], "y")
    folded = check(draft.model([value("x", [2, 8])], [value("y", None)]), ["MatMul"], (2, 8))
    assert [t.name for t in folded.graph.initializer] == ["t3"]


def test_constant_graph_output_is_left() -> None:
    draft = Draft()
    draft.add("Transpose", [draft.weight("weight", 8, 12)], "turned")
    draft.add("Relu", ["x"], "y")
    proto = draft.model([value("x", [2, 8])], [value("y", None), value("turned", None)])
    refuse(proto, "gives a graph output its name")


def test_overridable_initializers_are_no_constants() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.add("Transpose", [draft.weight("weight", 12, 8)], "t")], "y")
    inputs = [value("x", [2, 8]), value("weight", [12, 8])]
    folded, rewrites, _ = fold(draft.model(inputs, [value("y", None)]))
    assert op_types(folded) == ["Transpose", "MatMul"]
    assert not rewrites


def test_unknown_domains_and_their_inputs_are_left() -> None:
    draft = Draft()
    draft.add("Mystery", [draft.weight("weight", 8, 8)], "m", domain="com.example")
    draft.add("Mystery", ["x"], "dead", domain="com.example")
    draft.add("MatMul", ["x", "m"], "y")
    proto = draft.model([value("x", [2, 8])], [value("y", None)], domains={"com.example": 1})
    folded, rewrites, _ = fold(proto)
    assert folded.graph.node == proto.graph.node
    assert not rewrites


def test_dead_nodes_go_with_all_that_only_they_read() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("dead_weight", 8, 64)], "d1")
    draft.add("Relu", ["d1"], "d2")
    draft.add("Split", ["x"], ["s1", "s2"], axis=1)
    draft.add("Relu", ["s1"], "y")
    folded = check(
        draft.model([value("x", [2, 8])], [value("y", None)], opset=11), ["Split", "Relu"], (2, 8)
    )
    assert not folded.graph.initializer


def test_bodies_are_left_alone() -> None:
    bodies = []
    for name in ("Abs", "Neg"):
        inner = Draft()
        inner.add("Identity", [inner.add(name, ["x"], f"{name}_a")], f"{name}_out")
        bodies.append(inner.graph([], [value(f"{name}_out", None)], name))
    draft = Draft()
    draft.add(
        "If", [draft.tensor("c", np.array(False))], "y", then_branch=bodies[0], else_branch=bodies[1]
    )
    proto = draft.model([value("x", [2, 8])], [value("y", None)])
    folded, rewrites, _ = fold(proto)
    assert folded == proto
    assert not rewrites
