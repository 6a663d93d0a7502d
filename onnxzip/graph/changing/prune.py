"""Removes what nothing reads any more."""

from __future__ import annotations

from onnxzip.graph.changing.fields import delete_if, replace_all
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import local_names, reads_of

_RUNTIME_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Domains of the ONNX standard, none of whose operators does anything but compute its outputs."""


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
    if removed:
        replace_all(graph.node, [graph.node[i] for i in sorted(kept)])
    _drop_unread(model, used)
    return removed


def _drop_unread(model: Model, used: set[str]) -> None:
    """Drop the initializers that are not used, and what value_info says of values that are gone."""
    graph = model.proto.graph
    overridable = {v.name for v in graph.input} if model.proto.ir_version >= 4 else set()
    unread = {t.name for t in graph.initializer} - used - overridable
    drop_initializers(model, unread)
    # at IR 3, where an initializer has to be an input too
    delete_if(graph.input, lambda value: value.name in unread)
    present = local_names(graph)
    delete_if(graph.value_info, lambda value: value.name not in present)


def drop_initializers(model: Model, names: set[str]) -> None:
    """Remove initializers of the main graph and their arrays."""
    delete_if(model.proto.graph.initializer, lambda tensor: tensor.name in names)
    for name in names:
        model.arrays.pop(name, None)
