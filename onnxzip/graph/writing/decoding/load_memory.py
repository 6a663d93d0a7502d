"""Load memory: bytes that decode nodes put out, counted before anything runs, as all shapes are static.

A session that folds constants keeps what each node put out until the graph is folded, and much of it to
the end (peaks over files: tests/bench/loading.py). So the sum over all nodes is what loading costs.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import read_by
from onnxzip.graph.writing.decoder_claims import claims_of
from onnxzip.graph.writing.decoder_rules import Value
from onnxzip.passbase import LARGEST_EXPANDED
from onnxzip.records.shares import apportion


@dataclass(frozen=True)
class NodeOutput:
    """What a decode node takes and puts out.

    Attributes:
        index: of the node in the graph.
        n_input_bytes: of all its inputs, one that it reads twice counted twice.
        n_bytes: of all its outputs.
    """

    index: int
    op_type: str
    n_input_bytes: int
    n_bytes: int


def load_bytes(model: Model, n_nodes: int) -> dict[str, int]:
    """Return what the first `n_nodes` nodes put out for each decoded value, in bytes.

    What several values need is shared out: what a node and those before it put out by the sizes of its
    outputs, and that of an output by what the nodes that read it put out themselves. The bytes sum up to
    those of all nodes that any decoded value needs.

    Raises:
        ModelError: the nodes are no decoder of ours.
    """
    nodes, claims = model.proto.graph.node[:n_nodes], claims_of(model, n_nodes)
    sizes = {name: value.n_bytes for name, value in claims.values.items()}
    needed, readers = set(claims.decoded), dict[str, set[int]]()
    for i, node in reversed(list(enumerate(nodes))):
        if needed.intersection(node.output):
            needed.update(node.input)
            for name in node.input:
                readers.setdefault(name, set()).add(i)
    put_out = [sum(sizes[name] for name in node.output) for node in nodes]
    handed_on, found = [0] * n_nodes, dict.fromkeys(claims.decoded, 0)
    for i, node in enumerate(nodes):
        outputs = [name for name in node.output if name in needed]
        shares = apportion(put_out[i] + handed_on[i], [sizes[name] for name in outputs])
        for name, share in zip(outputs, shares, strict=True):
            takers = sorted(readers.get(name, ()))
            own = [sizes[name]] if name in found else []
            *rest, last = apportion(share, [*(put_out[k] for k in takers), *own])
            for k, part in zip(takers, rest if own else (*rest, last), strict=True):
                handed_on[k] += part
            if own:
                found[name] += last
    return found


def node_outputs(model: Model, n_nodes: int) -> list[NodeOutput]:
    """Return what each of the first `n_nodes` nodes takes and puts out.

    Raises:
        ModelError: the nodes are no decoder of ours.
    """
    graph = model.proto.graph
    read = read_by(graph.node[:n_nodes])
    stored = (tensor for tensor in graph.initializer if tensor.name in read)
    sizes = {t.name: Value(t.data_type, tuple(t.dims)).n_bytes for t in stored}
    sizes |= {name: value.n_bytes for name, value in claims_of(model, n_nodes).values.items()}
    return [
        NodeOutput(i, node.op_type, *(sum(sizes[name] for name in n) for n in (node.input, node.output)))
        for i, node in enumerate(graph.node[:n_nodes])
    ]


def largest_output(model: Model, n_nodes: int) -> NodeOutput | None:
    """Return the first of the nodes that puts out most, None where there are no nodes."""
    return max(node_outputs(model, n_nodes), key=lambda node: node.n_bytes, default=None)


def oversized_nodes(model: Model, n_nodes: int) -> list[NodeOutput]:
    """Return the nodes that put out more than they take, and more than 1 MiB."""
    return [
        node
        for node in node_outputs(model, n_nodes)
        if node.n_bytes > max(node.n_input_bytes, LARGEST_EXPANDED)
    ]
