"""Reads, rewrites and writes ONNX graphs: the only package that imports onnx and onnx_graphsurgeon."""

from onnxzip.graph.archive import (
    StoredValue,
    decoded_names,
    decoder,
    is_stamped,
    read_stamp,
    stamp,
    with_plain_weights,
)
from onnxzip.graph.builder import GraphBuilder
from onnxzip.graph.compare import count_differences, structure
from onnxzip.graph.edit import GraphEditor, prune
from onnxzip.graph.lift import lift_weights
from onnxzip.graph.model import Model, read_model
from onnxzip.graph.opset import raise_opset
from onnxzip.graph.shapes import annotate_layers
from onnxzip.graph.weights import find_layers
from onnxzip.graph.write import to_proto, write_model

__all__ = [
    "GraphBuilder",
    "GraphEditor",
    "Model",
    "StoredValue",
    "annotate_layers",
    "count_differences",
    "decoded_names",
    "decoder",
    "find_layers",
    "is_stamped",
    "lift_weights",
    "prune",
    "raise_opset",
    "read_model",
    "read_stamp",
    "stamp",
    "structure",
    "to_proto",
    "with_plain_weights",
    "write_model",
]
