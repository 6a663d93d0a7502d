"""Bounds of integer inputs: how many rows the tables have that they index."""

from __future__ import annotations

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import iter_bodies

_SAME_VALUES = ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Flatten", "Expand")
"""Operators whose outputs hold values of their first input and no others."""


def index_bounds(model: Model) -> dict[str, int]:
    """Return, for each graph input that indexes constant tables by Gather, the rows of the smallest.

    An index is followed back through nodes that only move or convert values, and into nested
    graphs, which read the main graph's names.
    """
    sources: dict[str, str] = {v.name: v.name for v in model.proto.graph.input}
    rows = {t.name: tuple(t.dims) for t in model.proto.graph.initializer}
    bounds: dict[str, int] = {}
    for body in iter_bodies(model.proto):
        if isinstance(body, onnx.GraphProto):
            rows.update({t.name: tuple(t.dims) for t in body.initializer})
        for node in body.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                rows[node.output[0]] = tuple(node.attribute[0].t.dims)
            elif node.op_type in _SAME_VALUES and node.input[0] in sources:
                sources[node.output[0]] = sources[node.input[0]]
            elif node.op_type == "Gather" and node.input[1] in sources and node.input[0] in rows:
                axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
                shape = rows[node.input[0]]
                if shape and -len(shape) <= axis < len(shape):
                    name = sources[node.input[1]]
                    bounds[name] = min(int(shape[axis]), bounds.get(name, int(shape[axis])))
    return bounds
