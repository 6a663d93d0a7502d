"""Reads, rewrites and writes ONNX graphs: the only package that imports onnx and onnx_graphsurgeon."""

from onnx import ModelProto

from onnxzip.graph.archive import (
    Judgement,
    StoredValue,
    decode_inputs,
    decoded_names,
    decoded_types,
    decoder,
    float_initializers,
    is_intact,
    is_stamped,
    read_judgement,
    read_stamp,
    stamp,
    with_plain_weights,
)
from onnxzip.graph.builder import EmitStored, GraphBuilder
from onnxzip.graph.compare import count_differences, structure
from onnxzip.graph.edit import GraphEditor, prune
from onnxzip.graph.inputs import index_bounds
from onnxzip.graph.lift import lift_weights, make_overridable
from onnxzip.graph.mapping import release_pages, share_with_disk
from onnxzip.graph.model import Model, detach, read_model
from onnxzip.graph.opset import raise_opset
from onnxzip.graph.rename import shorten_names
from onnxzip.graph.shapes import annotate_layers
from onnxzip.graph.small import find_small_layers
from onnxzip.graph.stages import Stage, StagedModel, cut_stages, with_constants
from onnxzip.graph.taps import Tap, find_taps, with_taps
from onnxzip.graph.weights import find_layers
from onnxzip.graph.write import MAX_INLINE_BYTES, inline_bytes, n_bytes_of, to_proto, write_model

__all__ = [
    "MAX_INLINE_BYTES",
    "EmitStored",
    "GraphBuilder",
    "GraphEditor",
    "Judgement",
    "Model",
    "ModelProto",
    "Stage",
    "StagedModel",
    "StoredValue",
    "Tap",
    "annotate_layers",
    "count_differences",
    "cut_stages",
    "decode_inputs",
    "decoded_names",
    "decoded_types",
    "decoder",
    "detach",
    "find_layers",
    "find_small_layers",
    "find_taps",
    "float_initializers",
    "index_bounds",
    "inline_bytes",
    "is_intact",
    "is_stamped",
    "lift_weights",
    "make_overridable",
    "n_bytes_of",
    "prune",
    "raise_opset",
    "read_judgement",
    "read_model",
    "read_stamp",
    "release_pages",
    "share_with_disk",
    "shorten_names",
    "stamp",
    "structure",
    "to_proto",
    "with_constants",
    "with_plain_weights",
    "with_taps",
    "write_model",
]
