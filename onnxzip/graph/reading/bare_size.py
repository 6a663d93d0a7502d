"""What a model takes that no weight is left of: less than any file that can be made of it."""

from __future__ import annotations

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import iter_bodies


def bare_bytes(model: Model) -> int:
    """Return a size that no compressed form of a model can fall below.

    That of its graph without any tensor, text or inner name: operators, attributes, what it takes and
    gives stay.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for field in ("doc_string", "producer_name", "producer_version", "metadata_props", "training_info"):
        proto.ClearField(field)
    for body in iter_bodies(proto):
        for field in ("initializer", "sparse_initializer", "value_info", "doc_string"):
            if isinstance(body, onnx.GraphProto):
                body.ClearField(field)
        for node in body.node:
            _strip(node)
    return int(proto.ByteSize())


def _strip(node: onnx.NodeProto) -> None:
    for field in ("name", "doc_string", "metadata_props"):
        node.ClearField(field)
    for names in (node.input, node.output):
        names[:] = [""] * len(names)
    for attribute in node.attribute:
        attribute.ClearField("t")
        attribute.ClearField("doc_string")
