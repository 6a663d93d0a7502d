"""Reads, rewrites and writes ONNX graphs: the only package that imports onnx and onnx_graphsurgeon."""

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
    "annotate_layers",
    "count_differences",
    "find_layers",
    "lift_weights",
    "prune",
    "raise_opset",
    "read_model",
    "structure",
    "to_proto",
    "write_model",
]
