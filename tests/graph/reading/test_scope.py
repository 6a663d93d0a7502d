"""Names across nested bodies, the order of nodes, and the faults in both."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from onnxzip.errors import ModelError
from onnxzip.graph import read_model
from onnxzip.graph.reading.scope import iter_bodies, local_names, reads_of, sorted_nodes
from tests.casebook.kit import Draft, value
from tests.cases import CASES


def test_bodies_are_found_at_any_depth() -> None:
    assert len(list(iter_bodies(CASES["if_nested"].build()))) == 5
    assert len(list(iter_bodies(CASES["function_calls_function"].build()))) == 3


def test_a_node_reads_what_its_bodies_capture_and_not_what_they_define() -> None:
    proto = CASES["if_initializers"].build()
    assert sorted(set(reads_of(proto.graph.node[0]))) == ["condition", "x"]
    nested = CASES["if_nested"].build()
    reads = set(reads_of(nested.graph.node[0]))
    assert "outer_weight" in reads
    assert not reads & {n for a in nested.graph.node[0].attribute for n in local_names(a.g)}


def test_sorting_leaves_a_sorted_graph_as_it_is() -> None:
    for case in CASES.values():
        graph = case.build().graph
        if case.name != "unsorted_nodes":
            assert sorted_nodes(graph, "x") == list(graph.node)


def test_a_body_that_reads_a_later_value_counts_for_the_order() -> None:
    proto = CASES["if_captured_and_outside"].build()
    proto.graph.node.reverse()
    names = [n.name for n in sorted_nodes(proto.graph, "x")]
    assert names == [n.name for n in CASES["if_captured_and_outside"].build().graph.node]


def broken(change: str) -> onnx.ModelProto:
    inner = Draft()
    inner.add("Relu", ["nowhere" if change == "body" else "x"], "inner_out")
    branch = inner.graph(
        [], [value("absent" if change == "body output" else "inner_out", [2])], "branch"
    )
    draft = Draft()
    draft.add("If", ["c"], "h", then_branch=branch, else_branch=branch)
    draft.add("Relu", ["h"], "y")
    proto = draft.model([value("x", [2]), value("c", [], onnx.TensorProto.BOOL)], [value("y", [2])])
    if change == "function":
        node = helper.make_node("Relu", ["unknown"], ["b"])
        opsets = [helper.make_opsetid("", 17)]
        proto.functions.append(helper.make_function("d", "Fun", ["a"], ["b"], [node], opsets))
        proto.opset_import.append(helper.make_opsetid("d", 1))
        proto.graph.node.append(helper.make_node("Fun", ["h"], ["unread"], domain="d"))
    return proto


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("body", "Relu node 'node_inner_out' reads 'nowhere', which nothing produces"),
        ("body output", "nothing produces the output 'absent'"),
        ("function", "function 'Fun': Relu node 'b' reads 'unknown'"),
    ],
)
def test_faults_are_named(change: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_model(broken(change))
    read_model(broken("nothing"))


def test_names_that_are_no_utf8() -> None:
    data = CASES["matmul_right"].build().SerializeToString().replace(b"weight", b"w\xffight")
    with pytest.raises(ModelError, match=r"UTF-8|parse"):
        read_model(data)
