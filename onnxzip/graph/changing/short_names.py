"""Gives internal values short names and drops what only people read; most files lose several percent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count, product

import onnx

from onnxzip.graph.changing.fields import delete_if
from onnxzip.graph.reading.layouts import STANDARD_DOMAINS
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.opsets.defaults import Defaults, opsets_of
from onnxzip.graph.reading.scope import subgraphs
from onnxzip.graph.reading.shapes import needed_value_info

_DIGITS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""What names are made of: ONNX's IR.md asks for C identifiers, which do not begin with a digit."""


def shorten_names(model: Model, n_decode_nodes: int) -> dict[str, str]:
    """Rename the main graph's values, nested graphs included, in place; the most used get the shortest.

    Names of graph inputs and outputs stay, as do symbolic dimensions, the model's own doc string and
    metadata, functions, names of nodes of unknown domains, and what the bodies of nodes that are not
    ONNX's own take and give: onnxruntime's BeamSearch finds its decoder's inputs by name. Node names,
    doc strings, metadata of nodes, attributes with default values, and value_info entries are dropped,
    except entries that shape inference would miss.

    Args:
        model: the model, changed in place.
        n_decode_nodes: how many of its first nodes decode weights.

    Returns:
        The new name by old name.
    """
    graph = model.proto.graph
    kept = {v.name for v in (*graph.input, *graph.output)} | _named_by_operators(graph)
    _drop_value_info(graph, needed_value_info(model, n_decode_nodes))
    counts = _count(graph)
    order = sorted((n for n in counts if n and n not in kept), key=lambda n: -counts[n])
    fresh = (name for name in _short_names() if name not in kept)
    names = dict(zip(order, fresh, strict=False))
    _rename(graph, names, Defaults(opsets_of(model.proto)))
    graph.ClearField("doc_string")
    model.arrays = {names.get(name, name): array for name, array in model.arrays.items()}
    return names


def _named_by_operators(graph: onnx.GraphProto) -> set[str]:
    """Return what bodies take and give, at any depth, whose operators may look for it by name."""
    found: set[str] = set()
    for node in graph.node:
        for body in subgraphs(node):
            if node.domain not in STANDARD_DOMAINS:
                found.update(v.name for v in (*body.input, *body.output))
            found |= _named_by_operators(body)
    return found


def _short_names() -> Iterator[str]:
    """Yield all names of letters and digits, shortest first."""
    for length in count(1):
        for digits in product(_DIGITS, repeat=length):
            if not digits[0].isdigit():
                yield "".join(digits)


def _count(graph: onnx.GraphProto) -> Counter[str]:
    """Count how often each name is written, in order of first appearance."""
    counts: Counter[str] = Counter()
    for node in graph.node:
        counts.update(node.input)
        counts.update(node.output)
        for inner in subgraphs(node):
            counts.update(_count(inner))
    counts.update(t.name for t in graph.initializer)
    counts.update(t.values.name for t in graph.sparse_initializer)
    counts.update(v.name for v in (*graph.input, *graph.output, *graph.value_info))
    return counts


def _drop_value_info(graph: onnx.GraphProto, kept: set[str]) -> None:
    delete_if(graph.value_info, lambda value: value.name not in kept)


def _drop_defaults(node: onnx.NodeProto, defaults: Defaults) -> None:
    delete_if(node.attribute, lambda attribute: defaults.has(node, attribute))


def _rename(graph: onnx.GraphProto, names: dict[str, str], defaults: Defaults) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        if node.domain in ("", "ai.onnx", "com.microsoft"):
            node.ClearField("name")
            _drop_defaults(node, defaults)
        node.ClearField("doc_string")
        del node.metadata_props[:]
        for inner in subgraphs(node):
            _drop_value_info(inner, set())
            _rename(inner, names, defaults)
            inner.ClearField("doc_string")
    tensors = [*graph.initializer, *(s.values for s in graph.sparse_initializer)]
    for tensor in tensors:
        tensor.name = names.get(tensor.name, tensor.name)
        tensor.ClearField("doc_string")
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = names.get(entry.value, entry.value)
