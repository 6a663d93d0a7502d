"""Reads, changes and writes ONNX graphs: the only package that imports onnx and onnx_graphsurgeon."""

from onnx import ModelProto

from onnxzip.disk.own_copy import release_pages, share_with_disk
from onnxzip.graph.changing.chaining.lone_node import INPUT, lone_node
from onnxzip.graph.changing.chaining.replacing import with_chains
from onnxzip.graph.changing.chaining.sites import Site, find_sites
from onnxzip.graph.changing.constants import with_constants, with_copied_constants
from onnxzip.graph.changing.cutting.stages import Stage, StagedModel
from onnxzip.graph.changing.editor import GraphEditor
from onnxzip.graph.changing.first_layers import FirstLayer, with_first_layers
from onnxzip.graph.changing.fresh_names import with_node_names
from onnxzip.graph.changing.hoisting import companions, freeze_inputs, hoist_weights, make_overridable
from onnxzip.graph.changing.operand_outputs import with_operand_outputs, with_value_outputs
from onnxzip.graph.changing.opset import DECODE_OPSET, INT8_OPSET, PACKED_OPSET, raise_opset
from onnxzip.graph.changing.partition import Partition, PartitionedModel, partition_model
from onnxzip.graph.changing.prune import prune
from onnxzip.graph.changing.short_names import shorten_names
from onnxzip.graph.reading.bare_size import bare_bytes
from onnxzip.graph.reading.costs.kernels import KernelOwners
from onnxzip.graph.reading.costs.run_cost import run_cost
from onnxzip.graph.reading.indices.ranges import index_ranges, part_ranges
from onnxzip.graph.reading.inputs.dependence import (
    squashed_outputs,
    unsized_outputs,
    varying_outputs,
    weights_behind,
)
from onnxzip.graph.reading.inputs.endless import endless_loop
from onnxzip.graph.reading.inputs.first_scaling import first_scalings
from onnxzip.graph.reading.inputs.fitting_sizes import FittingSizes
from onnxzip.graph.reading.inputs.fixed_sizes import fixed_sizes
from onnxzip.graph.reading.inputs.masks import masks
from onnxzip.graph.reading.inputs.randomness import random_outputs
from onnxzip.graph.reading.inputs.unranked import guess_shapes
from onnxzip.graph.reading.integers.kernels import (
    CARRIERS,
    JOINS,
    MOVERS,
    IntegerNode,
    float_nodes,
    integer_nodes,
)
from onnxzip.graph.reading.model import Model, ModelLike, PlainModel, detach, plain_model, read_model
from onnxzip.graph.reading.operands import Operand, find_operands
from onnxzip.graph.reading.shapes import read_ports
from onnxzip.graph.reading.small_tensors import find_small_layers, largest_constant
from onnxzip.graph.reading.structure import count_differences, structure
from onnxzip.graph.reading.weights import MIN_ELEMENTS, MIN_INTEGER_BYTES, find_layers
from onnxzip.graph.writing.builder import EmitStored, GraphBuilder
from onnxzip.graph.writing.decoder_claims import claims_of
from onnxzip.graph.writing.decoder_view import (
    decoded_names,
    decoded_shapes,
    decoded_types,
    decoder,
    decoder_bytes,
    decoder_inputs,
    widen_outputs,
    with_plain_weights,
)
from onnxzip.graph.writing.decoding.load_memory import largest_output, load_bytes, oversized_nodes
from onnxzip.graph.writing.decoding.pieces import most_bytes_in_use, piece_model, pieces_of
from onnxzip.graph.writing.decoding.rounds import Round, round_of, rounds_of
from onnxzip.graph.writing.files import (
    MAX_INLINE_BYTES,
    check_output,
    check_unread,
    inline_bytes,
    n_bytes_of,
    to_proto,
    write_model,
)
from onnxzip.graph.writing.loadable import loadable
from onnxzip.graph.writing.mark import (
    STEPS,
    StoredValue,
    is_intact,
    is_marked,
    large_constants,
    read_judgement,
    read_mark,
    read_origin,
    write_mark,
)
from onnxzip.graph.writing.mark_text import Judgement, RoundedValues
from onnxzip.graph.writing.origin import UNKNOWN_ORIGIN, Origin, weights_checksum
from onnxzip.graph.writing.uses import is_short_name, uses_of

__all__ = [
    "CARRIERS",
    "DECODE_OPSET",
    "INPUT",
    "INT8_OPSET",
    "JOINS",
    "MAX_INLINE_BYTES",
    "MIN_ELEMENTS",
    "MIN_INTEGER_BYTES",
    "MOVERS",
    "PACKED_OPSET",
    "STEPS",
    "UNKNOWN_ORIGIN",
    "EmitStored",
    "FirstLayer",
    "FittingSizes",
    "GraphBuilder",
    "GraphEditor",
    "IntegerNode",
    "Judgement",
    "KernelOwners",
    "Model",
    "ModelLike",
    "ModelProto",
    "Operand",
    "Origin",
    "Partition",
    "PartitionedModel",
    "PlainModel",
    "Round",
    "RoundedValues",
    "Site",
    "Stage",
    "StagedModel",
    "StoredValue",
    "bare_bytes",
    "check_output",
    "check_unread",
    "claims_of",
    "companions",
    "count_differences",
    "decoded_names",
    "decoded_shapes",
    "decoded_types",
    "decoder",
    "decoder_bytes",
    "decoder_inputs",
    "detach",
    "endless_loop",
    "find_layers",
    "find_operands",
    "find_sites",
    "find_small_layers",
    "first_scalings",
    "fixed_sizes",
    "float_nodes",
    "freeze_inputs",
    "guess_shapes",
    "hoist_weights",
    "index_ranges",
    "inline_bytes",
    "integer_nodes",
    "is_intact",
    "is_marked",
    "is_short_name",
    "large_constants",
    "largest_constant",
    "largest_output",
    "load_bytes",
    "loadable",
    "lone_node",
    "make_overridable",
    "masks",
    "most_bytes_in_use",
    "n_bytes_of",
    "oversized_nodes",
    "part_ranges",
    "partition_model",
    "piece_model",
    "pieces_of",
    "plain_model",
    "prune",
    "raise_opset",
    "random_outputs",
    "read_judgement",
    "read_mark",
    "read_model",
    "read_origin",
    "read_ports",
    "release_pages",
    "round_of",
    "rounds_of",
    "run_cost",
    "share_with_disk",
    "shorten_names",
    "squashed_outputs",
    "structure",
    "to_proto",
    "unsized_outputs",
    "uses_of",
    "varying_outputs",
    "weights_behind",
    "weights_checksum",
    "widen_outputs",
    "with_chains",
    "with_constants",
    "with_copied_constants",
    "with_first_layers",
    "with_node_names",
    "with_operand_outputs",
    "with_plain_weights",
    "with_value_outputs",
    "write_mark",
    "write_model",
]
