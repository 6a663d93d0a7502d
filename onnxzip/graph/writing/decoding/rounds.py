"""A decoder in rounds: a session of its own decodes each share of the weights, as if nodes read them.

A session that folds constants keeps what every decode node put out until the last one is done: several
times what all weights take. Rounds show what such a session does with far less memory. Other than a
piece (`pieces.py`), which is run as it is, a round holds all that its values need, to be folded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.reading.model import Model
from onnxzip.graph.writing.decoder_claims import claims_of
from onnxzip.graph.writing.decoder_view import widen_outputs, with_plain_weights
from onnxzip.graph.writing.decoding.pieces import Needs, Piece, piece_model
from onnxzip.records.aliases import Array


@dataclass(frozen=True, eq=False)
class Round:
    """A share of a decoder, as a model.

    Attributes:
        model: the decode nodes, and a Reshape for each value to a shape that is fed, so that onnxruntime
            can fold all nodes but these.
        n_nodes: how many nodes decode.
        n_bytes: what they put out together.
        fed: the shapes of the values, by the names of the inputs that they are fed to.
        outputs: what the reshaped values are called, by the values' names.
    """

    model: Model
    n_nodes: int
    n_bytes: int
    fed: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, str]

    def folded(self, decoded: Mapping[str, Array]) -> Model:
        """Return what has to be left of the model when it is folded: decoded values, by name, plain."""
        return with_plain_weights(
            self.model, self.n_nodes, {name: decoded[name] for name in self.outputs}
        )


def rounds_of(model: Model, n_nodes: int, most_bytes: int) -> list[tuple[str, ...]]:
    """Divide the values that the first `n_nodes` nodes of a model decode, in the order of the nodes.

    Args:
        model: a compressed model.
        n_nodes: how many nodes decode.
        most_bytes: what the nodes that a round needs may put out; one value alone may take more.

    Returns:
        The names of each round's values; one round where all of them fit, or there are none.

    Raises:
        ModelError: the nodes are no decoder of ours.
    """
    nodes, claims = model.proto.graph.node[:n_nodes], claims_of(model, n_nodes)
    put_out = [sum(claims.values[name].n_bytes for name in node.output) for node in nodes]
    rounds: list[list[str]] = [[]]
    needs, needed, n_bytes = Needs(nodes), set[int](), 0
    for name in claims.decoded:
        own = needs.of([name], needed)
        if rounds[-1] and n_bytes + sum(put_out[i] for i in own) > most_bytes:
            rounds.append([])
            needed, n_bytes = set(), 0
            own = needs.of([name])
        rounds[-1].append(name)
        needed |= own
        n_bytes += sum(put_out[i] for i in own)
    return [tuple(names) for names in rounds]


def round_of(model: Model, n_nodes: int, names: Sequence[str]) -> Round:
    """Return the round that decodes some of the values that the first `n_nodes` nodes make."""
    claims = claims_of(model, n_nodes)
    needed = sorted(Needs(model.proto.graph.node[:n_nodes]).of(names))
    piece = Piece(tuple(needed), fed=(), decoded=tuple(names), shared=(), spent=())
    result = piece_model(model, piece, claims.values)
    widen_outputs(result)
    graph, fresh = result.proto.graph, FreshNames(result.names())
    fed: dict[str, tuple[int, ...]] = {}
    outputs: dict[str, str] = {}
    for output in graph.output:
        name, shape = output.name, claims.values[output.name].shape
        port = onnx.helper.make_tensor_value_info(fresh.new(), onnx.TensorProto.INT64, [len(shape)])
        graph.input.append(port)
        output.name = fresh.new()
        graph.node.append(onnx.helper.make_node("Reshape", [name, port.name], [output.name]))
        fed[port.name], outputs[name] = shape, output.name
    made = (name for i in needed for name in model.proto.graph.node[i].output)
    n_bytes = sum(claims.values[name].n_bytes for name in made)
    return Round(result, len(needed), n_bytes, fed, outputs)
