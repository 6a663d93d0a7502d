"""Load memory: what decode nodes put out, whose it is, and which of them put out too much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxzip
from onnxzip.errors import ModelError
from onnxzip.graph import (
    Model,
    claims_of,
    largest_output,
    load_bytes,
    oversized_nodes,
    read_mark,
    read_model,
)
from tests.cases import CASES

MEGABYTE = 1 << 20


def model_of(
    nodes: list[onnx.NodeProto], constants: Mapping[str, np.ndarray], decoded: list[str]
) -> Model:
    """Return a model whose first nodes decode values that a Sum reads."""
    reader = helper.make_node("Sum", ["x", *decoded], ["y"])
    ports = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([*nodes, reader], "g", ports[:1], ports[1:], tensors)
    opsets = [helper.make_opsetid("", 17)]
    return read_model(helper.make_model(graph, ir_version=8, opset_imports=opsets))


def test_bytes_of_one_weight_are_those_of_its_nodes() -> None:
    nodes = [
        helper.make_node("Cast", ["c"], ["halves"], to=10),
        helper.make_node("Cast", ["halves"], ["floats"], to=1),
        helper.make_node("Mul", ["floats", "step"], ["w"]),
    ]
    constants = {"c": np.zeros(300, np.int8), "step": np.ones(1, np.float32)}
    assert load_bytes(model_of(nodes, constants, ["w"]), 3) == {"w": 300 * (2 + 4 + 4)}


def test_a_stream_is_shared_by_what_is_cut_out_of_it() -> None:
    """Not by the weights: a large one may take few numbers of it, as factors do."""
    nodes = [
        helper.make_node("Cast", ["c"], ["stream"], to=1),
        helper.make_node("Split", ["stream", "sizes"], ["a", "b"], axis=0),
        helper.make_node("Expand", ["a", "wide"], ["w0"]),
        helper.make_node("Mul", ["b", "step"], ["w1"]),
    ]
    constants = {
        "c": np.zeros(400, np.int8),
        "sizes": np.array([100, 300]),
        "wide": np.array([50, 100]),
        "step": np.ones(1, np.float32),
    }
    found = load_bytes(model_of(nodes, constants, ["w0", "w1"]), 4)
    assert found == {"w0": 2 * 400 + 4 * 5000, "w1": 2 * 1200 + 1200}


def test_a_weight_that_another_is_made_of_pays_its_part() -> None:
    nodes = [
        helper.make_node("Cast", ["c"], ["w0"], to=1),
        helper.make_node("Add", ["w0", "w0"], ["w1"]),
        helper.make_node("Concat", ["w0", "w0"], ["idle"], axis=0),
    ]
    found = load_bytes(model_of(nodes, {"c": np.zeros(100, np.int8)}, ["w0", "w1"]), 3)
    assert found == {"w0": 200, "w1": 200 + 400}


def test_nodes_above_their_inputs_are_found() -> None:
    """Whatever they put out up to a megabyte is free; what is read twice counts twice."""
    nodes = [
        helper.make_node("Expand", ["one", "small"], ["s"]),
        helper.make_node("Expand", ["one", "large"], ["l"]),
        helper.make_node("Concat", ["l", "l"], ["both"], axis=0),
        helper.make_node("Cast", ["both"], ["wide"], to=11),
        helper.make_node("Add", ["wide", "wide"], ["w"]),
        helper.make_node("Identity", ["s"], ["v"]),
    ]
    n_floats = MEGABYTE // 4
    constants = {
        "one": np.ones(1, np.float32),
        "small": np.array([n_floats]),
        "large": np.array([n_floats + 1]),
    }
    model = model_of(nodes, constants, ["w", "v"])
    found = [
        (node.index, node.op_type, node.n_input_bytes, node.n_bytes)
        for node in oversized_nodes(model, 6)
    ]
    large = MEGABYTE + 4
    assert found == [(1, "Expand", 4 + 8, large), (3, "Cast", 2 * large, 4 * large)]
    largest = largest_output(model, 6)
    assert largest is not None
    assert (largest.index, largest.n_bytes) == (3, 4 * large)


def test_a_plain_model_has_none() -> None:
    model = read_model(CASES["residual_network"].build())
    assert load_bytes(model, 0) == {}
    assert largest_output(model, 0) is None
    assert oversized_nodes(model, 0) == []


def test_a_decoder_of_others_is_refused() -> None:
    model = model_of([helper.make_node("Sin", ["c"], ["w"])], {"c": np.zeros(3, np.float32)}, ["w"])
    for count in (load_bytes, largest_output, oversized_nodes):
        with pytest.raises(ModelError, match="wrote no such decoder"):
            count(model, 1)


@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize("name", ["residual_network", "lstm_bidirectional", "tied_embedding"])
def test_bytes_sum_up_to_those_of_all_nodes(name: str, level: int, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    onnxzip.compress(CASES[name].write(tmp_path), out, level=level, skip=("fold", "codebook"))
    model = read_model(out)
    n_nodes, values = read_mark(model)
    found = load_bytes(model, n_nodes)
    assert set(found) == {value.name for value in values}
    assert sum(found.values()) == sum(v.n_bytes for v in claims_of(model, n_nodes).values.values())
