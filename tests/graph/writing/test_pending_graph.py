"""Nodes while they are collected: which are written, under which names, reading what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.reading.model import MIN_DETACHED_BYTES, Model
from onnxzip.graph.writing.pending_graph import PendingGraph
from onnxzip.records.aliases import AttributeValue
from onnxzip.records.payload import IntegerGrid

FLAT, SQUARE, TALL = (16,), (4, 4), (8, 2)


@pytest.fixture
def graph() -> PendingGraph:
    return PendingGraph(FreshNames(()), 17)


def reshape(graph: PendingGraph, value: str, shape: Sequence[int]) -> str:
    target = graph.constant(np.asarray(shape, np.int64))
    return graph.add("Reshape", [value, target], [shape], np.float32, {})[0]


def scale(graph: PendingGraph, value: str, by: Sequence[float] = (2.0,)) -> str:
    factor = graph.constant(np.asarray(by, np.float32))
    return graph.add("Mul", [value, factor], [graph.shape(value)], np.float32, {})[0]


def written(graph: PendingGraph, **homes: str) -> list[str]:
    """Finish the graph with these values as weights; return its nodes as "op input -> output"."""
    for home, value in homes.items():
        graph.give_home(value, home)
    graph.finish()
    nodes = graph.export_nodes()
    types = {v.name: v.type.tensor_type for v in graph.export_value_info()}
    shapes = {name: [d.dim_value for d in known.shape.dim] for name, known in types.items()}
    assert list(shapes) == [output for node in nodes for output in node.output]
    return [f"{n.op_type} {n.input[0]} -> {n.output[0]} {shapes[n.output[0]]}" for n in nodes]


def test_equal_small_constants_are_one(graph: PendingGraph) -> None:
    name = graph.constant(np.zeros(4, np.float32))
    assert graph.constant(np.zeros(4, np.float32)) == name
    others = [np.ones(4, np.float32), np.zeros((2, 2), np.float32), np.zeros(4, np.int32)]
    assert len({name, *map(graph.constant, others)}) == 4


def test_large_constants_are_not_compared(graph: PendingGraph) -> None:
    small, large = np.zeros(MIN_DETACHED_BYTES - 1, np.uint8), np.zeros(MIN_DETACHED_BYTES, np.uint8)
    assert graph.constant(small) == graph.constant(small)
    assert graph.constant(large) != graph.constant(large)


def test_only_constants_that_are_read_are_written(graph: PendingGraph) -> None:
    read = graph.constant(np.arange(16, dtype=np.float32))
    graph.constant(np.ones(3, np.float32))
    dropped = graph.constant(np.ones(5, np.float32))
    graph.add("Neg", [dropped], [(5,)], np.float32, {})
    (negative,) = graph.add("Neg", [read], [FLAT], np.float32, {})
    assert written(graph, w=negative) == [f"Neg {read} -> w [16]"]
    model = Model(onnx.ModelProto())
    graph.add_constants(model)
    assert [t.name for t in model.proto.graph.initializer] == [read]


def test_a_reshape_of_a_reshape_reads_what_the_first_one_does(graph: PendingGraph) -> None:
    value = graph.constant(np.arange(16, dtype=np.float32))
    last = reshape(graph, reshape(graph, reshape(graph, value, SQUARE), TALL), SQUARE)
    assert written(graph, w=last) == [f"Reshape {value} -> w [4, 4]"]


def test_a_reshape_that_others_read_stays(graph: PendingGraph) -> None:
    value = graph.constant(np.arange(16, dtype=np.float32))
    first = reshape(graph, value, SQUARE)
    last = reshape(graph, first, TALL)
    assert written(graph, a=first, b=last) == [
        f"Reshape {value} -> a [4, 4]",
        f"Reshape {value} -> b [8, 2]",
    ]


def test_a_reshape_before_a_scaling_and_another_reshape_goes(graph: PendingGraph) -> None:
    value = graph.constant(np.arange(16, dtype=np.float32))
    product = scale(graph, reshape(graph, value, SQUARE))
    assert written(graph, w=reshape(graph, product, TALL)) == [
        f"Mul {value} -> {product} [16]",
        f"Reshape {product} -> w [8, 2]",
    ]


@pytest.mark.parametrize("reader", ["nothing", "weight", "decode node"])
def test_a_scaling_keeps_its_shape_where_others_than_a_reshape_read_it(
    graph: PendingGraph, reader: str
) -> None:
    value = graph.constant(np.arange(16, dtype=np.float32))
    shaped = reshape(graph, value, SQUARE)
    product = scale(graph, shaped)
    homes = {"w": reshape(graph, product, TALL)}
    if reader == "weight":
        homes["v"] = product
    elif reader == "decode node":
        homes["v"] = graph.add("Neg", [product], [SQUARE], np.float32, {})[0]
    kept = written(graph, **homes)
    assert (f"Reshape {value} -> {shaped} [4, 4]" in kept) == (reader != "nothing")


def test_a_multiplication_by_several_numbers_keeps_its_shape(graph: PendingGraph) -> None:
    value = graph.constant(np.arange(16, dtype=np.float32))
    product = scale(graph, reshape(graph, value, SQUARE), [1, 2, 3, 4])
    assert len(written(graph, w=reshape(graph, product, TALL))) == 3


def test_a_promise_is_read_and_named_as_what_fulfils_it(graph: PendingGraph) -> None:
    promised, other = graph.promise(FLAT, np.float32), graph.promise(SQUARE, np.float32)
    assert (graph.shape(promised), graph.maker(promised)) == (FLAT, None)
    (summed,) = graph.add("Add", [promised, promised], [FLAT], np.float32, {})
    graph.give_home(promised, "v")
    graph.give_home(other, "w")
    n_readers = graph.n_nodes
    decoded = graph.add(
        "Split", [graph.constant(np.zeros(20, np.float32))], [FLAT, (4,)], np.float32, {}
    )
    graph.fulfil(promised, decoded[0])
    graph.fulfil(other, graph.constant(np.ones(SQUARE, np.float32)))
    graph.move_to_front(n_readers)
    graph.give_home(summed, "s")
    graph.finish()
    nodes = graph.export_nodes()
    assert [node.op_type for node in nodes] == ["Split", "Identity", "Add"]
    assert [list(node.output) for node in nodes] == [["v", decoded[1]], ["w"], ["s"]]
    assert list(nodes[2].input) == ["v", "v"]


def test_one_decoded_value_may_fulfil_two_promises(graph: PendingGraph) -> None:
    promises = [graph.promise(FLAT, np.float32) for _ in range(2)]
    for promised, home in zip(promises, "vw", strict=True):
        graph.give_home(promised, home)
    (decoded,) = graph.add("Neg", [graph.constant(np.zeros(16, np.float32))], [FLAT], np.float32, {})
    for promised in promises:
        graph.fulfil(promised, decoded)
    assert [line.split(" ", 1)[1] for line in written(graph)][1] == "v -> w [16]"


def test_attributes_are_exported(graph: PendingGraph) -> None:
    given: dict[str, AttributeValue] = {"axis": 1, "perm": (0, 1), "mode": "a"}
    (made,) = graph.add("Clip", [graph.constant(np.ones(FLAT, np.float32))], [FLAT], np.float32, given)
    graph.give_home(made, "w")
    graph.finish()
    (node,) = graph.export_nodes()
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {
        "axis": 1,
        "perm": [0, 1],
        "mode": b"a",
    }


def test_steps_of_the_model_that_are_stored_too_are_read_where_they_are_decoded(
    graph: PendingGraph, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = IntegerGrid(np.ones(16, np.float32), 0, "w.steps", "w.zeros")
    integers = graph.rounded(graph.constant(np.ones(FLAT, np.float32)), grid)
    steps = scale(graph, graph.constant(np.ones(FLAT, np.float32)))
    lines = written(graph, w=integers, **{"w.steps": steps})
    assert sorted(line.split(" ")[0] for line in lines) == ["Mul", "QuantizeLinear"]
    rounding = next(n for n in graph.export_nodes() if n.op_type == "QuantizeLinear")
    assert list(rounding.input)[1:] == ["w.steps", "w.zeros"]
    assert capfd.readouterr() == ("", "")  # two values of one name make graphsurgeon warn
