"""Which node uses a weight, in words."""

from __future__ import annotations

import onnx.helper as oh
from onnx import NodeProto, TensorProto

from onnxzip.graph.reading.model import Model
from onnxzip.graph.writing.uses import is_short_name, uses_of


def model_of(*nodes: NodeProto) -> Model:
    value = oh.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return Model(oh.make_model(oh.make_graph(list(nodes), "g", [], [value])))


def test_a_place_among_its_kind_and_the_input_where_several_are_read() -> None:
    model = model_of(
        oh.make_node("Identity", ["stream"], ["a"]),  # decodes
        oh.make_node("Conv", ["x", "a", "b"], ["h"]),
        oh.make_node("Conv", ["h", "c"], ["i"]),
        oh.make_node("Transpose", ["d"], ["d2"]),
        oh.make_node("LSTM", ["i", "d2", "e"], ["y"]),
        oh.make_node("Odd", ["y", "f"], ["z"], domain="my.own"),
    )
    assert uses_of(model, 1, {*"abcdefg"}) == {
        "a": "Conv 1 of 2, W",
        "b": "Conv 1 of 2, B",
        "c": "Conv 2 of 2",
        "d": "LSTM 1 of 1, W",
        "e": "LSTM 1 of 1, R",
        "f": "Odd 1 of 1",
    }


def test_names_are_made_up_where_nodes_have_none() -> None:
    bare = model_of(oh.make_node("Conv", ["x", "a"], ["y"]))
    assert is_short_name(bare, "aB3")
    assert not is_short_name(bare, "conv.weight")
    named = model_of(oh.make_node("Conv", ["x", "a"], ["y"], name="conv1"))
    assert not is_short_name(named, "a")
