"""Operator sets and functions as onnxruntime takes them: what a file leaves open or says twice.

onnxruntime (Model::Model in its graph/model.cc; seen with 1.32) takes the last of several imports of
one domain, reads "ai.onnx" and "" as the same, and gives a domain that is not imported the newest
version that it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from onnxzip.errors import ModelError
from onnxzip.graph.reading.layouts import STANDARD_DOMAINS
from onnxzip.graph.reading.scope import subgraphs

MIN_OPSET = 1
"""The oldest there is. onnxruntime promises opsets from 7 on (its docs/Versioning.md), and says by name
which operator of an older one it does not know."""

_ADDED_OPSET = 17
"""Given to a model without nodes of ONNX's own domain, for what decodes its weights: it has all
operators of that, and onnxruntime 1.17, the oldest that is promised, knows it."""


def settle_imports(proto: onnx.ModelProto, source: str) -> None:
    """Leave one import of each domain, in place, and see that ONNX's own is among them.

    Raises:
        ModelError: there is none at all, which onnxruntime refuses, or the version is not known.
    """
    if not proto.opset_import:
        raise ModelError(f"{source}: imports no operator set; export the model again")
    last = {_plain(entry.domain): i for i, entry in enumerate(proto.opset_import)}
    for i in reversed(range(len(proto.opset_import))):
        if i not in last.values():
            del proto.opset_import[i]
    if "" not in last:
        is_used = any(_plain(node.domain) == "" for node in _with_inner(proto.graph.node))
        version = onnx.defs.onnx_opset_version() if is_used else _ADDED_OPSET
        proto.opset_import.append(onnx.helper.make_opsetid("", version))
    opset, newest = opset_version(proto, source), onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise ModelError(
            f"{source}: ai.onnx opset {opset} is not supported ({MIN_OPSET} to {newest} are); "
            + ("export the model again" if opset < MIN_OPSET else "upgrade onnx")
        )


def opset_version(proto: onnx.ModelProto, source: str) -> int:
    """Return the ai.onnx opset version.

    Raises:
        ModelError: the model imports none.
    """
    for entry in proto.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            return int(entry.version)
    raise ModelError(f"{source}: imports no ai.onnx operator set; export the model again")


def drop_uncalled_functions(proto: onnx.ModelProto) -> None:
    """Remove the functions that no node of the graph calls, by way of other functions or directly."""
    functions = {_key(f.domain, f.name, f): i for i, f in enumerate(proto.functions)}
    called: set[int] = set()
    bodies = [proto.graph.node]
    while bodies:
        for node in _with_inner(bodies.pop()):
            i = functions.get(_key(node.domain, node.op_type, node))
            if i is not None and i not in called:
                called.add(i)
                bodies.append(proto.functions[i].node)
    for i in reversed(range(len(proto.functions))):
        if i not in called:
            del proto.functions[i]


def _with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _with_inner(graph.node)


def _key(domain: str, name: str, message: onnx.NodeProto | onnx.FunctionProto) -> tuple[str, str, str]:
    return _plain(domain), name, getattr(message, "overload", "")


def _plain(domain: str) -> str:
    return "" if domain in STANDARD_DOMAINS else domain
