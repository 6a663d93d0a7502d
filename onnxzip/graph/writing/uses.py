"""Which node uses a value, told so that a person finds it in the original model: "Conv 12 of 23"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import onnx
from onnx.defs import SchemaError

from onnxzip.graph.reading.layouts import STANDARD_DOMAINS
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import reads_of

_PASSING_ON = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators that hand a weight on to the one that computes with it."""


def uses_of(model: Model, n_nodes: int, values: Collection[str]) -> dict[str, str]:
    """Return by which node each value is used, as that node's place among those of its type.

    Args:
        model: the model.
        n_nodes: how many of its first nodes decode weights, and are no places.
        values: names of weights.

    Returns:
        E.g. "Conv 12 of 23" by value; "LSTM 1 of 2, R" where a node uses several of the values, with the
        name that ONNX gives the input; nothing of a value that no node reads.
    """
    nodes = model.proto.graph.node[n_nodes:]
    totals = Counter(node.op_type for node in nodes)
    counts: Counter[str] = Counter()
    carried = {value: [value] for value in values}
    found: dict[str, tuple[str, str]] = {}
    for node in nodes:
        counts[node.op_type] += 1
        read = {name for name in reads_of(node) if name in carried}
        if node.op_type in _PASSING_ON and node.input and node.input[0] in read and node.output:
            carried[node.output[0]] = carried[node.input[0]]
            continue
        place = f"{node.op_type} {counts[node.op_type]} of {totals[node.op_type]}"
        for name in read:
            for value in carried[name]:
                found.setdefault(value, (place, _input_name(node, name)))
    shared = Counter(place for place, _ in found.values())
    return {
        value: f"{place}, {where}" if shared[place] > 1 and where else place
        for value, (place, where) in found.items()
    }


def _input_name(node: onnx.NodeProto, value: str) -> str:
    """Return what ONNX calls the input of a node that takes a value, "" where that is not known."""
    places = [i for i, name in enumerate(node.input) if name == value]
    if node.domain not in STANDARD_DOMAINS or not places:
        return ""
    try:
        inputs = onnx.defs.get_schema(node.op_type).inputs
    except SchemaError:
        return ""
    return str(inputs[min(places[0], len(inputs) - 1)].name)


_LONGEST_SHORT_NAME = 3
"""Characters of the names that are made up: those of 200,000 values have so many."""


def is_short_name(model: Model, value: str) -> bool:
    """Whether the name of a value in a marked model was made up by `shorten_names`.

    It is as short as those, and the nodes have lost their names with it.
    """
    nodes = (node for node in model.proto.graph.node if node.domain in STANDARD_DOMAINS)
    return len(value) <= _LONGEST_SHORT_NAME and not any(node.name for node in nodes)
