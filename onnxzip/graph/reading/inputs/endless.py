"""Loops that may never end: how often they run is for what flows in to say, not for the graph."""

from __future__ import annotations

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import Body, iter_bodies
from onnxzip.graph.reading.tensors import constant_value, tensor_array

_MAX_TRIPS = 1 << 20
"""Trips of a loop that ends for sure; exporters write the greatest int64 for a `while` without any."""


def endless_loop(model: Model) -> str:
    """Return in words which Loop, at any depth, no constant number of trips ends; "" for none."""
    for body in iter_bodies(model.proto):
        trips = _short_counts(model, body)
        for node in body.node:
            is_loop = node.op_type == "Loop" and node.domain in ("", "ai.onnx")
            if is_loop and (not node.input or node.input[0] not in trips):
                return f"Loop '{node.name or next(filter(None, node.output), '')}'"
    return ""


def _short_counts(model: Model, body: Body) -> set[str]:
    """Return the constants of a body that are numbers of trips, and few."""
    counts: dict[str, onnx.TensorProto] = {t.name: t for t in getattr(body, "initializer", ())}
    for node in body.node:
        if (value := constant_value(node)) is not None:
            counts[node.output[0]] = value
    known = model.arrays if body is model.proto.graph else {}
    return {
        name
        for name, tensor in counts.items()
        if tensor.data_type == onnx.TensorProto.INT64
        and list(tensor.dims) in ([], [1])
        and (known[name] if name in known else tensor_array(tensor)).item() <= _MAX_TRIPS
    }
