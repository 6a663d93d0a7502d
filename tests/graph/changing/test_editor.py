"""The editor of structural passes, and the final clean-up."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxzip.graph import GraphEditor, prune, read_model, to_proto
from onnxzip.graph.changing import evaluation
from onnxzip.passbase import NodeView
from tests.casebook.kit import Draft, value
from tests.cases import CASES, Case
from tests.graph.running import RUNNABLE, assert_identical, assert_same_behaviour, run

X, Y = value("x", [2, 8]), value("y", [2, 8])


def view(editor: GraphEditor, name: str) -> NodeView:
    return next(node for node in editor.nodes() if node.name == name)


def chain() -> onnx.ModelProto:
    """Return y = neg(relu(x) + c) + relu(x), c from a Constant node."""
    draft = Draft()
    draft.add("Relu", ["x"], "r")
    draft.add("Constant", [], "c", value=numpy_helper.from_array(np.full((2, 8), 2, np.float32)))
    draft.add("Add", ["r", "c"], "s")
    draft.add("Neg", ["s"], "n")
    draft.add("Add", ["n", "r"], "y")
    return draft.model([X], [Y])


@pytest.mark.parametrize("case", RUNNABLE, ids=str)
def test_no_edits_change_nothing(case: Case) -> None:
    proto = case.build()
    model = read_model(proto)
    GraphEditor(model).commit()
    assert sorted(n.SerializeToString() for n in model.proto.graph.node) == sorted(
        n.SerializeToString() for n in proto.graph.node
    )
    prune(model)
    assert_same_behaviour(model, proto, case)


def test_nodes_are_sorted() -> None:
    model = read_model(CASES["unsorted_nodes"].build())
    editor = GraphEditor(model)
    assert [node.op_type for node in editor.nodes()] == ["MatMul", "Relu"]
    editor.commit()
    onnx.checker.check_model(to_proto(model), full_check=True)


def test_uses_count_every_read_at_any_depth() -> None:
    editor = GraphEditor(read_model(chain()))
    assert [editor.n_uses(name) for name in ("x", "r", "c", "y", "absent")] == [1, 2, 1, 1, 0]
    nested = GraphEditor(read_model(CASES["if_captured"].build()))
    assert nested.n_uses("weight") == 2
    own = GraphEditor(read_model(CASES["if_initializers"].build()))
    assert own.n_uses("w") == 0, "the branches' own weights are not the main graph's"


def test_constants_are_initializers_and_constant_nodes_but_not_overridable_ones() -> None:
    editor = GraphEditor(read_model(chain()))
    np.testing.assert_array_equal(editor.constant("c"), np.full((2, 8), 2, np.float32))
    assert editor.constant("r") is None
    old = GraphEditor(read_model(CASES["ir3_initializers_are_inputs"].build()))
    assert old.constant("weight") is not None
    new = GraphEditor(read_model(CASES["ir8_overridable_initializers"].build()))
    assert new.constant("weight") is None
    listed = GraphEditor(read_model(CASES["constant_of_floats"].build()))
    np.testing.assert_array_equal(listed.constant("shape"), [64, 48])


def test_redirect_and_remove_keep_the_counts() -> None:
    model = read_model(chain())
    editor = GraphEditor(model)
    editor.remove(view(editor, "node_n"))
    editor.redirect("n", "s")
    assert (editor.n_uses("n"), editor.n_uses("s")) == (0, 1)
    assert view(editor, "node_y").inputs == ("s", "r")
    editor.commit()
    feeds = {"x": np.ones((2, 8), np.float32)}
    np.testing.assert_array_equal(run(to_proto(model), feeds)["y"], np.full((2, 8), 4, np.float32))


def test_redirect_reaches_into_bodies_but_not_behind_their_own_names() -> None:
    proto = CASES["if_captured_and_outside"].build()
    proto.graph.initializer.add().CopyFrom(
        numpy_helper.from_array(np.zeros((64, 48), np.float32), "zeros")
    )
    model = read_model(proto)
    editor = GraphEditor(model)
    n_before = editor.n_uses("weight")
    editor.redirect("weight", "zeros")
    assert (editor.n_uses("weight"), editor.n_uses("zeros")) == (0, n_before)
    assert n_before == 2
    branches = [a for n in model.proto.graph.node if n.op_type == "If" for a in n.attribute]
    assert any("zeros" in n.input for a in branches for n in a.g.node)


def test_evaluate_computes_and_types_the_result() -> None:
    draft = Draft()
    draft.tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
    draft.tensor("perm_shape", np.array([3, 2], np.int64))
    draft.tensor("large", np.array([30000, 30000], np.int64))
    draft.add("Transpose", ["a"], "t")
    draft.add("Reshape", ["a", "perm_shape"], "reshaped")
    draft.add("Shape", ["a"], "shape")
    draft.add("ConstantOfShape", ["large"], "huge")
    draft.add("Add", ["a", "x"], "y")
    draft.add("Reshape", ["a", "x_shape"], "bad")
    draft.tensor("x_shape", np.array([4, 2], np.int64))
    editor = GraphEditor(read_model(draft.model([value("x", [2, 3])], [value("y", [2, 3])])))
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(editor.evaluate(view(editor, "node_t")), a.T)
    np.testing.assert_array_equal(editor.evaluate(view(editor, "node_reshaped")), a.reshape(3, 2))
    shape = editor.evaluate(view(editor, "node_shape"))
    assert shape is not None
    assert shape.dtype == np.int64
    assert shape.tolist() == [2, 3]
    assert editor.evaluate(view(editor, "node_huge")) is None, "3.6 GB must not be computed"
    assert editor.evaluate(view(editor, "node_y")) is None
    assert editor.evaluate(view(editor, "node_bad")) is None


def test_new_constant_takes_over_the_name_of_the_one_it_replaces() -> None:
    model = read_model(CASES["matmul_right"].build())
    editor = GraphEditor(model)
    node = editor.nodes()[0]
    first = editor.add_constant(np.zeros((64, 48), np.float32), "weight")
    editor.set_inputs(node, [node.inputs[0], first])
    second = editor.add_constant(np.ones((64, 48), np.float32), first)
    editor.set_inputs(node, [node.inputs[0], second])
    editor.commit()
    prune(model)
    assert [t.name for t in model.proto.graph.initializer] == ["weight"]
    assert list(model.arrays) == ["weight"]
    feeds = CASES["matmul_right"].feeds()
    wanted = np.repeat(feeds["x"].sum(-1, keepdims=True), 48, -1)
    np.testing.assert_allclose(run(to_proto(model), feeds)["y"], wanted, rtol=1e-5, atol=1e-5)


def test_new_constant_does_not_take_a_name_that_is_still_read() -> None:
    model = read_model(CASES["shared_weight"].build())
    editor = GraphEditor(model)
    node = editor.nodes()[0]
    name = editor.add_constant(np.zeros((64, 48), np.float32), "weight")
    editor.set_inputs(node, [node.inputs[0], name])
    editor.commit()
    assert {t.name for t in model.proto.graph.initializer} == {"weight", name}


def test_new_constant_at_ir3_leaves_ir3() -> None:
    model = read_model(CASES["ir3_initializers_are_inputs"].build())
    editor = GraphEditor(model)
    node = editor.nodes()[0]
    name = editor.add_constant(np.zeros(48, np.float32), "bias")
    editor.set_inputs(node, [*node.inputs[:2], name])
    editor.commit()
    prune(model)
    assert model.proto.ir_version == 4
    assert [v.name for v in model.proto.graph.input] == ["x"]
    onnx.checker.check_model(to_proto(model), full_check=True)


def test_prune_removes_chains_and_what_only_they_read() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("used", 8, 8)], "y")
    draft.add("MatMul", ["x", draft.weight("only_dead", 8, 8)], "d1")
    draft.add("Relu", ["d1"], "d2")
    draft.weight("never", 64, 64)
    proto = draft.model([X], [Y])
    proto.graph.value_info.append(value("d1", [2, 8]))
    model = read_model(proto)
    assert prune(model) == ["node_d1", "node_d2"]
    assert [t.name for t in model.proto.graph.initializer] == ["used"]
    assert not model.proto.graph.value_info
    assert not set(model.arrays) - {"used"}
    assert prune(model) == []


def test_prune_keeps_unknown_domains_overridable_inputs_and_what_bodies_read() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("w", 8, 8)], "y")
    draft.add("Relu", ["x"], "logged")
    draft.nodes.append(helper.make_node("Log", ["logged"], [], domain="com.example"))
    proto = draft.model([X], [Y], domains={"com.example": 1})
    assert prune(read_model(proto)) == []
    assert prune(read_model(CASES["ir8_overridable_initializers"].build())) == []
    model = read_model(CASES["if_captured"].build())
    prune(model)
    feeds = CASES["if_captured"].feeds()
    assert_identical(run(to_proto(model), feeds), run(CASES["if_captured"].build(), feeds))


def test_prune_drops_inputs_of_unread_ir3_initializers() -> None:
    proto = CASES["ir3_initializers_are_inputs"].build()
    proto.graph.initializer.add().CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32), "spare"))
    proto.graph.input.append(value("spare", [3]))
    model = read_model(proto)
    prune(model)
    assert [v.name for v in model.proto.graph.input] == ["x", "weight", "bias"]


def test_strings_and_packed_types_are_no_constants() -> None:
    editor = GraphEditor(read_model(CASES["string_output"].build()))
    assert editor.constant("names") is None
    packed = GraphEditor(read_model(CASES["int4_blocks"].build()))
    types = {t.name: t.data_type for t in CASES["int4_blocks"].build().graph.initializer}
    assert onnx.TensorProto.INT4 in types.values() or onnx.TensorProto.UINT4 in types.values()
    for name, kind in types.items():
        is_packed = kind in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
        assert (packed.constant(name) is None) == is_packed


def test_at_ir4_an_initializer_that_is_an_input_may_be_overridden() -> None:
    proto = CASES["ir3_initializers_are_inputs"].build()
    proto.ir_version = 4
    assert GraphEditor(read_model(proto)).constant("weight") is None


def test_evaluate_gives_up_where_it_cannot_vouch_for_the_result() -> None:
    draft = Draft()
    draft.tensor("a", np.arange(6, dtype=np.float32))
    draft.tensor("two", np.array([3, 3], np.int64))
    draft.add("Split", ["a", "two"], ["s", "t"], axis=0)
    draft.add("NonZero", ["a"], "unknown_size")
    draft.add("Add", ["s", "x"], "y")
    editor = GraphEditor(read_model(draft.model([value("x", [3])], [value("y", [3])])))
    assert editor.evaluate(view(editor, "node_s")) is None, "it has two outputs"
    assert editor.evaluate(view(editor, "node_unknown_size")) is None


def test_evaluate_refuses_another_type_than_inference_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft()
    draft.tensor("a", np.arange(6, dtype=np.float32))
    draft.add("Neg", ["a"], "n")
    draft.add("Add", ["n", "x"], "y")
    editor = GraphEditor(read_model(draft.model([value("x", [6])], [value("y", [6])])))

    class Widening:
        def __init__(self, model: onnx.ModelProto) -> None: ...

        def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [-feeds["a"].astype(np.float64)]

    monkeypatch.setattr(evaluation, "ReferenceEvaluator", Widening)
    assert editor.evaluate(view(editor, "node_n")) is None


@pytest.mark.parametrize(("n_twice", "is_folded"), [(2, True), (3, False)])
def test_a_result_may_be_twice_as_large_as_its_inputs(n_twice: int, is_folded: bool) -> None:
    """Above 1 MiB, that is; the sizes are an input too."""
    draft = Draft()
    draft.tensor("a", np.ones((1, 1 << 18), np.float32))
    draft.tensor("size", np.array([n_twice, 1 << 18], np.int64))
    draft.add("Expand", ["a", "size"], "e")
    draft.add("Add", ["e", "x"], "y")
    shape = [n_twice, 1 << 18]
    editor = GraphEditor(read_model(draft.model([value("x", shape)], [value("y", shape)])))
    assert (editor.evaluate(view(editor, "node_e")) is not None) == is_folded


def test_new_constants_are_copies_that_nobody_can_change() -> None:
    editor = GraphEditor(read_model(chain()))
    for array in (np.ones(2, np.float32), np.ones(1024, np.float32)):
        name = editor.add_constant(array, "new")
        array[:] = 0
        found = editor.constant(name)
        assert found is not None
        assert (found == 1).all()
        assert not found.flags.writeable


def test_a_constant_node_may_change_its_output_and_go() -> None:
    editor = GraphEditor(read_model(chain()))
    editor.set_outputs(view(editor, "node_c"), ["d"])
    assert editor.constant("c") is None
    assert editor.constant("d") is not None
    editor.set_outputs(view(editor, "node_c"), ["d"])
    assert editor.constant("d") is not None
    editor.remove(view(editor, "node_c"))
    assert editor.constant("d") is None


def test_no_two_new_constants_take_one_name_nor_one_that_a_node_still_makes() -> None:
    model = read_model(chain())
    editor = GraphEditor(model)
    add, last = view(editor, "node_s"), view(editor, "node_y")
    names = [editor.add_constant(np.full((2, 8), i, np.float32), "c") for i in range(2)]
    made = editor.add_constant(np.ones((2, 8), np.float32), "n")
    editor.remove(view(editor, "node_c"))
    editor.set_inputs(add, names)
    editor.set_inputs(last, [made, "r"])
    editor.commit()
    found = {t.name for t in model.proto.graph.initializer}
    assert "c" in found
    assert "n" not in found, "node_n makes it, although nobody reads it"
    assert len(found) == 3
    onnx.checker.check_model(to_proto(model), full_check=True)


def test_redirect_changes_what_bodies_give_and_leaves_their_own_names() -> None:
    def branch(name: str, *nodes: onnx.NodeProto, gives: str) -> onnx.GraphProto:
        return helper.make_graph(nodes, name, [], [value(gives, [2, 8])])

    draft = Draft()
    draft.add("Relu", ["x"], "r")
    bodies = {
        "then_branch": branch("given", gives="r"),
        "else_branch": branch("own", helper.make_node("Neg", ["x"], ["r"]), gives="r"),
    }
    draft.add("If", [draft.tensor("c", np.array(True))], "y", **bodies)
    model = read_model(draft.model([X], [Y]))
    editor = GraphEditor(model)
    editor.redirect("r", "x")
    editor.commit()
    then, other = (a.g for a in model.proto.graph.node[-1].attribute)
    if then.name != "given":
        then, other = other, then
    assert [v.name for v in then.output] == ["x"]
    assert [v.name for v in other.output] == ["r"]
