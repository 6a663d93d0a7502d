"""`share`: what a model holds twice is stored once, and what it computes stays as it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.graph import GraphEditor, prune, read_model, to_proto
from onnxzip.passbase import GraphPass
from tests.casebook.kit import Draft, value
from tests.graph.running import run

Share: type[GraphPass] = importlib.import_module("onnxzip.passes.share").Share
ROWS, COLUMNS = 24, 40


def share(proto: onnx.ModelProto, *kept: str) -> tuple[onnx.ModelProto, list[str]]:
    """Run the pass as the pipeline does; return the model and what was done."""
    model = read_model(proto)
    editor = GraphEditor(model, kept.__contains__)
    texts = [f"{record.target}: {record.description}" for record in Share().rewrite(editor)]
    editor.commit()
    prune(model)
    return to_proto(model), texts


def two(first: np.ndarray, second: np.ndarray, *, as_nodes: bool = False) -> onnx.ModelProto:
    """Return a model that answers with a product of each of two weights."""
    draft = Draft()
    for name, array in (("first", first), ("second", second)):
        if as_nodes:
            draft.add("Constant", [], name, value=onnx.numpy_helper.from_array(array))
        else:
            draft.tensor(name, array)
        draft.add("Cast", [name], f"{name}_cast", to=onnx.TensorProto.FLOAT)
        draft.add("Mul", [f"{name}_cast", "x"], f"{name}_y")
    outputs = [value("first_y", list(first.shape)), value("second_y", list(second.shape))]
    return draft.model([value("x", [1])], outputs)


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


PLANE, KERNEL = weight(ROWS, COLUMNS), weight(8, 4, 3, 3)
HALF = PLANE.astype(np.float16)
TABLE = np.random.default_rng(1).integers(-99, 99, (64, 40)).astype(np.int8)
FOLLOWS: dict[str, tuple[np.ndarray, np.ndarray, list[str]]] = {
    "equal": (PLANE, PLANE.copy(), []),
    "transposed": (PLANE, np.ascontiguousarray(PLANE.T), ["Transpose"]),
    "square_transposed": (PLANE[:, :ROWS], np.ascontiguousarray(PLANE[:, :ROWS].T), ["Transpose"]),
    "reshaped": (PLANE, PLANE.reshape(ROWS, 5, 8), ["Reshape"]),
    "kernel_moved": (KERNEL, np.ascontiguousarray(KERNEL.transpose(2, 3, 1, 0)), ["Transpose"]),
    "scaled": (PLANE, PLANE * np.float32(0.3), ["Mul"]),
    "negated_and_transposed": (PLANE, -np.ascontiguousarray(PLANE.T), ["Transpose", "Mul"]),
    "rounded": (PLANE, HALF.astype(np.float32), ["Cast", "Cast"]),
    "half": (PLANE, HALF, ["Cast"]),
    "half_first": (HALF, PLANE, ["Cast"]),
    "widened": (HALF, HALF.astype(np.float32), ["Cast"]),
    "integers": (TABLE, np.ascontiguousarray(TABLE.T), ["Transpose"]),
    "zeros": (np.zeros_like(PLANE), np.zeros_like(PLANE), []),
}


@pytest.mark.parametrize("as_nodes", [False, True])
@pytest.mark.parametrize("name", FOLLOWS)
def test_what_follows_is_stored_once(name: str, as_nodes: bool) -> None:
    first, second, steps = FOLLOWS[name]
    proto = two(first, second, as_nodes=as_nodes)
    shared, texts = share(proto)
    onnx.checker.check_model(shared, full_check=True)
    assert len(texts) == 1
    added = [node.op_type for node in shared.graph.node if node.op_type != "Constant"]
    plain = [node.op_type for node in proto.graph.node if node.op_type != "Constant"]
    assert sorted(added) == sorted([*plain, *steps])
    assert shared.ByteSize() < proto.ByteSize() - 0.9 * min(first.nbytes, second.nbytes)
    feeds = {"x": np.array([1.5], np.float32)}
    for found, wanted in zip(run(shared, feeds), run(proto, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert share(shared)[1] == []


NEARLY = PLANE.copy()
NEARLY[3, 7] = np.nextafter(NEARLY[3, 7], np.float32(9))
DIFFERENT: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "another": (PLANE, weight(ROWS, COLUMNS, seed=1)),
    "one_bit": (PLANE, NEARLY),
    "other_order": (PLANE, PLANE.reshape(COLUMNS, ROWS).T.copy()),
    "shuffled": (PLANE, PLANE[::-1].copy()),
    "too_small": (PLANE[:5], PLANE[:5].copy()),
    "other_type": (TABLE, TABLE.astype(np.int16)),
    "moved_by_a_constant": (PLANE, PLANE + 1),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_does_not_follow_stays(name: str) -> None:
    proto = two(*DIFFERENT[name])
    shared, texts = share(proto)
    assert texts == []
    assert len(shared.graph.initializer) == 2


def test_weights_that_are_kept_stay_their_own() -> None:
    for kept in ("first", "second"):
        assert share(two(PLANE, PLANE.copy()), kept)[1] == []


def test_an_output_and_an_overridable_input_stay() -> None:
    for change in (_answer_with_second, _override_second):
        proto = two(PLANE, PLANE.copy())
        change(proto)
        assert share(proto)[1] == []


def _answer_with_second(proto: onnx.ModelProto) -> None:
    proto.graph.output.append(value("second", [ROWS, COLUMNS]))


def _override_second(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(value("second", [ROWS, COLUMNS]))


def test_many_equal_layers_have_one_weight() -> None:
    draft = Draft()
    last = "x"
    for i in range(5):
        last = draft.add("MatMul", [last, draft.tensor(f"w{i}", weight(32, 32))], f"h{i}")
        last = draft.add("Tanh", [last], f"t{i}")
    proto = draft.model([value("x", [2, 32])], [value(last, [2, 32])])
    shared, texts = share(proto)
    assert [text.split(":")[0] for text in texts] == ["w1", "w2", "w3", "w4"]
    assert [tensor.name for tensor in shared.graph.initializer] == ["w0"]


@pytest.mark.parametrize("turn", [np.ndarray.copy, lambda table: np.ascontiguousarray(table.T)])
def test_a_tied_head_costs_nothing(turn: Callable[[np.ndarray], np.ndarray]) -> None:
    table = weight(300, 32)

    def tied(*, twice: bool) -> onnx.ModelProto:
        draft = Draft()
        draft.add("Gather", [draft.tensor("table", table), "ids"], "e")
        draft.add("Tanh", ["e"], "t")
        head = turn(table) if twice else table
        name = draft.tensor("head", head) if twice else "table"
        draft.add("Reshape", ["t", draft.tensor("flat", np.array([-1, 32]))], "f")
        draft.add("Gemm", ["f", name], "y", transB=int(head.shape == table.shape))
        ids = value("ids", ["n"], onnx.TensorProto.INT64)
        return draft.model([ids], [value("y", ["n", 300])])

    once, both = (onnxzip.compress(tied(twice=twice)) for twice in (False, True))
    assert both.report.bytes_after < 1.05 * once.report.bytes_after
    assert all(check.passed for check in both.report.checks)


def test_weights_that_cannot_be_coded_are_stored_once_all_the_same() -> None:
    table = np.random.default_rng(2).integers(-128, 128, (64, 64)).astype(np.int8)
    result = onnxzip.compress(two(table, np.ascontiguousarray(table.T)))
    assert result.report.bytes_after < 0.6 * result.report.bytes_before
    assert result.report.layers == ()
    exact = onnxzip.compress(two(PLANE, np.ascontiguousarray(PLANE.T)), tolerance=1e-9)
    assert exact.report.bytes_after < 0.6 * exact.report.bytes_before


def test_a_size_is_that_of_what_is_left() -> None:
    draft = Draft()
    plane = weight(96, 96) / 10
    for name, array in (("first", plane), ("second", np.ascontiguousarray(plane.T))):
        draft.add("MatMul", ["x", draft.tensor(name, array)], f"{name}_y")
    outputs = [value("first_y", ["n", 96]), value("second_y", ["n", 96])]
    proto = draft.model([value("x", ["n", 96])], outputs)
    report = onnxzip.compress(proto, target_size=18_000).report
    assert 12_000 < report.bytes_after <= 18_000
    assert max(check.value for check in report.checks if check.kind == "drift") < 0.1


def assert_equal_answers(
    first: onnx.ModelProto, second: onnx.ModelProto, feeds: dict[str, np.ndarray]
) -> None:
    expected, found = run(first, feeds), run(second, feeds)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_factor_that_has_no_inverse_is_found_in_either_order() -> None:
    """Products are rounded: one divides them by 1.7 in vain."""
    for first, second in ((PLANE, PLANE * np.float32(1.7)), (PLANE * np.float32(1.7), PLANE)):
        proto = two(first, second)
        shared, texts = share(proto)
        assert len(texts) == 1
        assert "times 1.7" in texts[0]
        feeds = {"x": np.ones(1, np.float32)}
        assert_equal_answers(proto, shared, feeds)


def branches(then: np.ndarray, other: np.ndarray, main: np.ndarray | None) -> onnx.ModelProto:
    """Return an If with a weight in each branch, one of them a Constant node's, and one behind it."""
    draft = Draft()
    draft.add("Greater", ["s", draft.tensor("zero", np.float32(0))], "c")
    graphs = []
    for name, array in (("then", then), ("other", other)):
        node = onnx.helper.make_node("MatMul", ["x", f"w_{name}"], [f"{name}_y"])
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), f"w_{name}")
        nodes, inside = [node], [tensor]
        if name == "then":
            constant = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
            nodes, inside = [constant, node], []
        ports = [value(f"{name}_y", [2, ROWS])]
        graphs.append(onnx.helper.make_graph(nodes, name, [], ports, inside))
    made = "y" if main is None else "h"
    draft.add("If", ["c"], made, then_branch=graphs[0], else_branch=graphs[1])
    if main is not None:
        draft.add("MatMul", ["h", draft.tensor("w_main", main)], "y")
    inputs = [value("x", [2, ROWS]), value("s", [])]
    return draft.model(inputs, [value("y", [2, ROWS])])


SQUARE = PLANE[:, :ROWS].copy()


@pytest.mark.parametrize("main", [None, SQUARE * np.float32(0.3)], ids=["branches", "main_too"])
@pytest.mark.parametrize("other", [SQUARE, SQUARE.T, SQUARE * np.float32(0.7)])
def test_branches_share_with_each_other_and_with_the_main_graph(
    other: np.ndarray, main: np.ndarray | None
) -> None:
    proto = branches(SQUARE, other, main)
    shared, texts = share(proto)
    onnx.checker.check_model(shared, full_check=True)
    assert len(texts) == (1 if main is None else 2)
    assert len(shared.SerializeToString()) < len(proto.SerializeToString()) / (1 + len(texts)) * 1.4
    x = weight(2, ROWS, seed=5)
    for condition in (1, -1):
        feeds = {"x": x, "s": np.array(condition, np.float32)}
        assert_equal_answers(proto, shared, feeds)


def test_a_kept_weight_of_a_branch_stays_where_it_is() -> None:
    proto = branches(SQUARE, SQUARE, None)
    _, (text,) = share(proto)
    path = text.split(": ")[0]
    shared, texts = share(proto, path)
    assert texts == []
    assert shared.SerializeToString() == to_proto(read_model(proto)).SerializeToString()


def test_functions_share() -> None:
    """Each call gets the one weight as an input more."""
    functions = []
    for name in ("A", "B"):
        constant = onnx.helper.make_node(
            "Constant", [], ["w"], value=onnx.numpy_helper.from_array(SQUARE)
        )
        nodes = [constant, onnx.helper.make_node("MatMul", ["a", "w"], ["b"])]
        imports = [onnx.helper.make_opsetid("", 17)]
        functions.append(onnx.helper.make_function("local", name, ["a"], ["b"], nodes, imports))
    draft = Draft()
    draft.nodes.append(onnx.helper.make_node("A", ["x"], ["h"], domain="local"))
    draft.nodes.append(onnx.helper.make_node("B", ["h"], ["y"], domain="local"))
    proto = draft.model([value("x", [2, ROWS])], [value("y", [2, ROWS])])
    proto.functions.extend(functions)
    proto.opset_import.append(onnx.helper.make_opsetid("local", 1))
    shared, texts = share(proto)
    assert len(texts) == 1
    assert len(shared.SerializeToString()) < 0.7 * len(proto.SerializeToString())
    feeds = {"x": weight(2, ROWS, seed=5)}
    assert_equal_answers(proto, shared, feeds)
