"""A decoder in pieces that run one after the other, so that few weights are in memory at once.

Each piece decodes a weight, or some small ones, with all the nodes they need that did not run yet. What
later pieces read as well, such as the parts of a stream that many weights share, is handed on, and
forgotten behind its last reader. Within a piece onnxruntime frees what nobody reads any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx

from onnxzip.graph.reading.costs.liveness import most_in_use
from onnxzip.graph.reading.model import Model
from onnxzip.graph.writing.decoder_claims import Claims, claims_of
from onnxzip.graph.writing.decoder_rules import Value

_N_PARTS = 64
"""Weights smaller than such a part of all go together: a session for each takes a few milliseconds."""


class Needs:
    """Tells which nodes values are made with.

    Args:
        nodes: a decoder's.
    """

    def __init__(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """See the class."""
        self._nodes = nodes
        self._maker = {name: i for i, node in enumerate(nodes) for name in node.output}

    def of(self, names: Collection[str], done: Collection[int] = frozenset()) -> set[int]:
        """Return the indices of the nodes that values need, besides those that are done, and theirs."""
        found = [self._maker[name] for name in names]
        needed: set[int] = set()
        while found:
            i = found.pop()
            if i not in needed and i not in done:
                needed.add(i)
                found += [self._maker[name] for name in self._nodes[i].input if name in self._maker]
        return needed


@dataclass(frozen=True)
class Piece:
    """Some nodes of a decoder.

    Attributes:
        nodes: their indices, in order.
        fed: names of what they read that earlier pieces make.
        decoded: names of the decoded values that they make.
        shared: names of what they make that later pieces read.
        spent: names among what is fed and shared so far that no later piece reads.
    """

    nodes: tuple[int, ...]
    fed: tuple[str, ...]
    decoded: tuple[str, ...]
    shared: tuple[str, ...]
    spent: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all that is to come out."""
        return tuple(dict.fromkeys((*self.decoded, *self.shared)))


def pieces_of(model: Model, n_nodes: int) -> list[Piece]:
    """Divide the first `n_nodes` nodes of a model; what no decoded value needs is left out.

    Raises:
        ModelError: they are no decoder of ours.
    """
    nodes = model.proto.graph.node[:n_nodes]
    claims = claims_of(model, n_nodes)
    parts = [part for part in _divide(nodes, _groups(claims)) if part]
    wanted = frozenset(claims.decoded)
    made_by = {name: k for k, part in enumerate(parts) for i in part for name in nodes[i].output}
    last = {
        name: k
        for k, part in enumerate(parts)
        for i in part
        for name in nodes[i].input
        if name in made_by
    }
    pieces = []
    for k, part in enumerate(parts):
        read = dict.fromkeys(name for i in part for name in nodes[i].input)
        made = [name for i in part for name in nodes[i].output]
        pieces.append(
            Piece(
                nodes=tuple(part),
                fed=tuple(name for name in read if made_by.get(name, k) < k),
                decoded=tuple(name for name in made if name in wanted),
                shared=tuple(name for name in made if last.get(name, k) > k),
                spent=tuple(name for name, end in last.items() if end == k and made_by[name] < k),
            )
        )
    return pieces


def piece_model(model: Model, piece: Piece, values: Mapping[str, Value]) -> Model:
    """Return a piece as a model of its own.

    Args:
        model: whose nodes and initializers it has.
        piece: what of it; `fed` are the inputs, `outputs` the outputs.
        values: what is known of all that decode nodes make, by name.
    """
    result = Model(onnx.ModelProto(), {}, model.source)
    proto, graph = result.proto, result.proto.graph
    proto.ir_version = model.proto.ir_version
    proto.opset_import.extend(model.proto.opset_import)
    graph.name = "decoder"
    graph.node.extend(model.proto.graph.node[i] for i in piece.nodes)
    read = {name for node in graph.node for name in node.input}
    for tensor in model.proto.graph.initializer:
        if tensor.name in read:
            graph.initializer.append(tensor)
            if tensor.name in model.arrays:
                result.arrays[tensor.name] = model.arrays[tensor.name]
    for ports, names in ((graph.input, piece.fed), (graph.output, piece.outputs)):
        for name in names:
            value = values[name]
            ports.append(onnx.helper.make_tensor_value_info(name, value.data_type, value.shape))
    return result


def most_bytes_in_use(model: Model, n_nodes: int) -> int:
    """Return the most bytes that nodes have made and that are kept, at any time, piece by piece.

    A decoded value is gone with its piece. What a piece is fed is counted as long as it runs.
    """
    values = claims_of(model, n_nodes).values
    sizes = {name: value.n_bytes for name, value in values.items()}
    held: set[str] = set()
    most = 0
    for piece in pieces_of(model, n_nodes):
        nodes = [model.proto.graph.node[i] for i in piece.nodes]
        most = max(most, sum(map(sizes.__getitem__, held)) + most_in_use(nodes, sizes, piece.outputs))
        held = (held | set(piece.shared)) - set(piece.spent)
    return most


def _groups(claims: Claims) -> list[list[str]]:
    """Return decoded values in order: alone, or in runs no larger than a part of all."""
    sizes = [claims.values[name].n_bytes for name in claims.decoded]
    limit = sum(sizes) // _N_PARTS
    groups: list[list[str]] = []
    n_left = 0
    for name, size in zip(claims.decoded, sizes, strict=True):
        if not groups or size > n_left:
            groups.append([])
            n_left = limit
        groups[-1].append(name)
        n_left -= size
    return groups


def _divide(nodes: Sequence[onnx.NodeProto], groups: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return for each group of values the indices of the nodes that it needs and none before it does."""
    needs, done = Needs(nodes), set[int]()
    parts: list[list[int]] = []
    for group in groups:
        part = needs.of(group, done)
        done |= part
        parts.append(sorted(part))
    return parts
