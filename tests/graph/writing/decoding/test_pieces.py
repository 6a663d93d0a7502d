"""Decoders in pieces: what each makes, hands on and forgets, and how much is held at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxzip
from onnxzip.graph import (
    Model,
    claims_of,
    decoder,
    most_bytes_in_use,
    piece_model,
    pieces_of,
    read_mark,
    read_model,
    to_proto,
)
from tests.cases import CASES
from tests.graph.running import run

N_LAYERS, SIZE = 6, 1000


def model_of(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Model:
    ports = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    opsets = [helper.make_opsetid("", 17)]
    return read_model(helper.make_model(graph, ir_version=8, opset_imports=opsets))


def shared_stream() -> tuple[Model, int]:
    """Return a model of six weights that are cut out of one stream, and its number of decode nodes.

    The second one is the first one's double, and a node of the last one comes first.
    """
    stream = np.arange(N_LAYERS * SIZE, dtype=np.float32)
    parts = [f"part{i}" for i in range(N_LAYERS)]
    nodes = [
        helper.make_node("Cast", ["last step"], ["s5"], to=1),
        helper.make_node("Add", ["stream", "one"], ["moved"]),
        helper.make_node("Mul", ["moved", "one"], ["scaled"]),
        helper.make_node("Split", ["scaled", "sizes"], parts, axis=0),
        *(helper.make_node("Mul", [parts[i], f"s{i}"], [f"w{i}"]) for i in (0, 2, 3, 4, 5)),
        helper.make_node("Add", ["w0", "w0"], ["w1"]),
    ]
    n_nodes = len(nodes)
    nodes += [helper.make_node("Sum", ["x", *(f"w{i}" for i in range(N_LAYERS))], ["y"])]
    constants = {
        "stream": stream,
        "one": np.ones(1, np.float32),
        "last step": np.ones(1, np.int8),
        "sizes": np.full(N_LAYERS, SIZE),
        **{f"s{i}": np.full(1, i, np.float32) for i in (0, 2, 3, 4)},
    }
    return model_of(nodes, constants), n_nodes


def test_each_weight_is_made_once_and_handed_on_no_longer_than_needed() -> None:
    model, n_nodes = shared_stream()
    pieces = pieces_of(model, n_nodes)
    assert [name for piece in pieces for name in piece.decoded] == ["w0", "w2", "w3", "w4", "w5", "w1"]
    assert sorted(i for piece in pieces for i in piece.nodes) == list(range(n_nodes))
    first, *others = pieces
    assert first.fed == ()
    assert first.shared == ("part2", "part3", "part4", "part5", "w0")
    assert [piece.fed for piece in others] == [("part2",), ("part3",), ("part4",), ("part5",), ("w0",)]
    assert [piece.spent for piece in others] == [piece.fed for piece in others]
    assert all(piece.shared == () for piece in others)


def test_what_is_held_at_once_is_counted() -> None:
    """At a Split what is cut, and its parts: more than later the parts that are left, and a weight."""
    model, n_nodes = shared_stream()
    assert most_bytes_in_use(model, n_nodes) == 2 * N_LAYERS * 4 * SIZE


def test_weights_of_their_own_are_held_one_at_a_time() -> None:
    """Each on its way from eight bits to what is wanted, where all of them were held before."""
    kinds = [(f"c{i}", f"f{i}", f"w{i}") for i in range(10)]
    nodes = [helper.make_node("Cast", [c], [f], to=1) for c, f, _ in kinds]
    nodes += [helper.make_node("Mul", [f, "step"], [w]) for _, f, w in kinds]
    nodes.append(helper.make_node("Sum", ["x", *(w for _, _, w in kinds)], ["y"]))
    constants = {"step": np.ones(1, np.float32), **{c: np.zeros(SIZE, np.int8) for c, _, _ in kinds}}
    model = model_of(nodes, constants)
    assert most_bytes_in_use(model, 20) == 2 * 4 * SIZE
    assert claims_of(model, 20).n_needed_bytes == 11 * 4 * SIZE


def test_what_no_weight_needs_does_not_run() -> None:
    model, n_nodes = shared_stream()
    idle = helper.make_node("Concat", ["stream", "stream"], ["nothing"], axis=0)
    nodes = list(model.proto.graph.node)
    del model.proto.graph.node[:]
    model.proto.graph.node.extend([idle, *nodes])
    assert all(0 not in piece.nodes for piece in pieces_of(model, n_nodes + 1))


def test_one_node_may_make_what_several_pieces_would() -> None:
    """Decoded values that come out of one Split are there with the first of them."""
    model, _ = shared_stream()
    nodes = model.proto.graph.node
    del nodes[4:]
    nodes.append(helper.make_node("Sum", ["x", *(f"part{i}" for i in range(N_LAYERS))], ["y"]))
    (piece,) = pieces_of(model, 4)
    assert piece.decoded == tuple(f"part{i}" for i in range(N_LAYERS))


def test_small_weights_go_together() -> None:
    """A few hundred biases are no reason for a few hundred sessions."""
    names = [f"w{i}" for i in range(1000)]
    nodes = [helper.make_node("Add", ["one", "one"], [name]) for name in names]
    nodes.append(helper.make_node("Sum", ["x", *names], ["y"]))
    pieces = pieces_of(model_of(nodes, {"one": np.ones(1, np.float32)}), 1000)
    assert 60 < len(pieces) < 130
    assert [name for piece in pieces for name in piece.decoded] == names


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("name", ["residual_network", "bfloat16_cast", "tied_embedding"])
def test_pieces_make_what_the_whole_decoder_makes(name: str, level: int, tmp_path: Path) -> None:
    """Bit for bit, of our own files; and they hold no more at once than that."""
    out = tmp_path / "small.onnx"
    onnxzip.compress(CASES[name].write(tmp_path), out, level=level, skip=("fold",))
    model = read_model(out)
    n_nodes, _ = read_mark(model)
    claims = claims_of(model, n_nodes)
    wanted = run(to_proto(decoder(model, n_nodes)), {})
    plain = {t.name: t for t in onnxzip.decompress(out).graph.initializer}
    for key, array in wanted.items():
        np.testing.assert_array_equal(numpy_helper.to_array(plain[key]).astype(array.dtype), array)
    assert most_bytes_in_use(model, n_nodes) <= claims.n_needed_bytes + claims.n_decoded_bytes
    for piece in pieces_of(model, n_nodes):
        onnx.checker.check_model(to_proto(piece_model(model, piece, claims.values)), full_check=True)
