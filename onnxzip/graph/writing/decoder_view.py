"""Takes the decode subgraph of a compressed model apart again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from onnxzip.graph.changing.fields import delete_if
from onnxzip.graph.changing.narrow.nodes import is_output_read_as_float, widening
from onnxzip.graph.reading.model import Model, add_initializer
from onnxzip.graph.reading.scope import reads_of
from onnxzip.graph.reading.tensors import tensor_dtype
from onnxzip.graph.writing.decoder_claims import claims_of
from onnxzip.graph.writing.decoding.pieces import Piece, piece_model
from onnxzip.records.aliases import Array

KEY = "onnxzip"


def decoded_names(model: Model, n_nodes: int) -> list[str]:
    """Return the values that the first `n_nodes` nodes make for the others, in node order."""
    nodes = model.proto.graph.node
    read: set[str] = {v.name for v in model.proto.graph.output}
    for node in nodes[n_nodes:]:
        read |= set(reads_of(node))
    return [output for node in nodes[:n_nodes] for output in node.output if output in read]


def decoded_shapes(model: Model, n_nodes: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the decoded values, in node order.

    Raises:
        ModelError: the nodes are no decoder of ours.
    """
    claims = claims_of(model, n_nodes)
    return {name: claims.values[name].shape for name in claims.decoded}


def decoder_inputs(model: Model, n_nodes: int) -> set[str]:
    """Return the names of the initializers that the first `n_nodes` nodes read and nothing else does."""
    graph = model.proto.graph
    read = {name for node in graph.node[:n_nodes] for name in node.input}
    read.difference_update(v.name for v in graph.output)
    for node in graph.node[n_nodes:]:
        read.difference_update(reads_of(node))
    return {t.name for t in graph.initializer} & read


def decoder_bytes(model: Model, n_nodes: int) -> int:
    """Return how many bytes of a model's file are its decoder.

    They are the first `n_nodes` nodes, the initializers that only those read, and the value_info entries
    of what they make. An array in a file of its own counts as if it stood in the model's.
    """
    graph = model.proto.graph
    made = {output for node in graph.node[:n_nodes] for output in node.output}
    inputs = decoder_inputs(model, n_nodes)
    sizes = [int(node.ByteSize()) for node in graph.node[:n_nodes]]
    sizes += [int(v.ByteSize()) for v in graph.value_info if v.name in made]
    sizes += [_tensor_bytes(t, model.arrays.get(t.name)) for t in graph.initializer if t.name in inputs]
    return sum(map(_field_bytes, sizes))


def _tensor_bytes(tensor: onnx.TensorProto, array: Array | None) -> int:
    """Return the size of a tensor's message with its values, which may be detached."""
    if array is None:
        return int(tensor.ByteSize())
    bare = onnx.TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("data_location")
    bare.ClearField("external_data")
    return int(bare.ByteSize()) + _field_bytes(array.nbytes)


def _field_bytes(n_bytes: int) -> int:
    """Return what a field of so many bytes takes in its message: tag and length (a varint) as well."""
    return 1 + max(1, -(-n_bytes.bit_length() // 7)) + n_bytes


def decoder(model: Model, n_nodes: int) -> Model:
    """Return a model without inputs whose outputs are the decoded values.

    bfloat16 and narrow types come out as float32, exactly: onnxruntime's Python interface has none.

    Raises:
        ModelError: the nodes are no decoder of ours.
    """
    claims = claims_of(model, n_nodes)
    whole = Piece(tuple(range(n_nodes)), fed=(), decoded=claims.decoded, shared=(), spent=())
    result = piece_model(model, whole, claims.values)
    widen_outputs(result)
    return result


def widen_outputs(model: Model) -> None:
    """Let float32 come out in place of bfloat16 and of narrow types, under the same names."""
    graph = model.proto.graph
    for output in graph.output:
        data_type = output.type.tensor_type.elem_type
        if not is_output_read_as_float(data_type):
            continue
        narrow = f"{output.name}/narrow"
        for node in graph.node:
            for names in (node.output, node.input):
                for i, name in enumerate(names):
                    if name == output.name:
                        names[i] = narrow
        node, constants = widening(narrow, output.name, data_type, model.opset)
        graph.node.append(node)
        graph.initializer.extend(constants)
        output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def with_plain_weights(model: Model, n_nodes: int, weights: Mapping[str, Array]) -> Model:
    """Return the model without its decode nodes, the decoded values stored as initializers."""
    result = model.copy()
    graph = result.proto.graph
    made = {o for node in graph.node[:n_nodes] for o in node.output}
    del graph.node[:n_nodes]
    delete_if(graph.value_info, lambda v: v.name in made)
    read: set[str] = {v.name for v in (*graph.output, *graph.input)}
    for node in graph.node:
        read |= set(reads_of(node))
    for tensor in graph.initializer:
        if tensor.name not in read:
            result.arrays.pop(tensor.name, None)
    delete_if(graph.initializer, lambda t: t.name not in read)
    for name, array in weights.items():
        add_initializer(result, name, array)
    delete_if(result.proto.metadata_props, lambda e: e.key == KEY)
    return result


def decoded_types(model: Model, n_nodes: int) -> dict[str, np.dtype[np.generic]]:
    """Return the element types of what the first `n_nodes` nodes make, by value name."""
    values = claims_of(model, n_nodes).values
    return {name: tensor_dtype(value.data_type) for name, value in values.items()}
