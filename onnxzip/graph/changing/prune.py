"""Removes what nothing reads any more."""

from __future__ import annotations

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import local_names, reads_of

_RUNTIME_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def prune(model: Model) -> list[str]:
    """Remove nodes and initializers nobody reads; return the removed nodes' names.

    Nodes of unknown domains stay, whether or not their outputs are read: they may have effects.
    """
    graph = model.proto.graph
    producers = {o: i for i, node in enumerate(graph.node) for o in node.output if o}
    alive = [i for i, node in enumerate(graph.node) if node.domain not in _RUNTIME_DOMAINS]
    used = {v.name for v in graph.output}
    alive += [producers[name] for name in used if name in producers]
    kept: set[int] = set()
    while alive:
        i = alive.pop()
        if i not in kept:
            kept.add(i)
            reads = reads_of(graph.node[i])
            used.update(reads)
            alive += [producers[name] for name in reads if name in producers]
    removed = [n.name or n.op_type for i, n in enumerate(graph.node) if i not in kept]
    nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in sorted(kept)]
    if removed:
        del graph.node[:]
        graph.node.extend(nodes)
    _drop_unread(model, used)
    return removed


def _drop_unread(model: Model, used: set[str]) -> None:
    """Drop the initializers that are not used, and what value_info says of values that are gone."""
    graph = model.proto.graph
    overridable = {v.name for v in graph.input} if model.proto.ir_version >= 4 else set()
    unread = {t.name for t in graph.initializer} - used - overridable
    drop_initializers(model, unread)
    for i in reversed(range(len(graph.input))):
        if graph.input[i].name in unread:  # at IR 3, where an initializer has to be an input too
            del graph.input[i]
    present = local_names(graph)
    for i in reversed(range(len(graph.value_info))):
        if graph.value_info[i].name not in present:
            del graph.value_info[i]


def drop_initializers(model: Model, names: set[str]) -> None:
    """Remove initializers of the main graph and their arrays."""
    graph = model.proto.graph
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name in names:
            model.arrays.pop(graph.initializer[i].name, None)
            del graph.initializer[i]
