"""Takes the decode subgraph of a compressed model apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnxzip.graph.reading.model import Model, add_initializer
from onnxzip.graph.reading.scope import reads_of
from onnxzip.graph.reading.shapes import decoder_types
from onnxzip.graph.reading.tensors import tensor_dtype
from onnxzip.records.aliases import Array

KEY = "onnxzip"


def decoded_names(model: Model, n_nodes: int) -> list[str]:
    """Return the values that the first `n_nodes` nodes make for the others, in node order."""
    nodes = model.proto.graph.node
    read: set[str] = {v.name for v in model.proto.graph.output}
    for node in nodes[n_nodes:]:
        read |= set(reads_of(node))
    return [output for node in nodes[:n_nodes] for output in node.output if output in read]


def decoder(model: Model, n_nodes: int) -> Model:
    """Return a model without inputs whose outputs are the decoded values.

    bfloat16 values come out as float32, exactly: onnxruntime's Python interface has no bfloat16.
    """
    result = Model(onnx.ModelProto(), {}, model.source)
    proto, graph = result.proto, result.proto.graph
    proto.ir_version = model.proto.ir_version
    proto.opset_import.extend(model.proto.opset_import)
    graph.name = "decoder"
    graph.node.extend(model.proto.graph.node[:n_nodes])
    read = {name for node in graph.node for name in node.input}
    for tensor in model.proto.graph.initializer:
        if tensor.name in read:
            graph.initializer.append(tensor)
            if tensor.name in model.arrays:
                result.arrays[tensor.name] = model.arrays[tensor.name]
    types = decoder_types(model, n_nodes)
    wanted = set(decoded_names(model, n_nodes))
    graph.output.extend(types[name] for name in types if name in wanted)
    _widen_bfloat16(graph)
    made = {o for node in graph.node for o in node.output} - wanted
    graph.value_info.extend(v for v in model.proto.graph.value_info if v.name in made)
    return result


def _widen_bfloat16(graph: onnx.GraphProto) -> None:
    """Put a Cast to float32 behind every bfloat16 output, which keeps its name."""
    for output in graph.output:
        if output.type.tensor_type.elem_type != onnx.TensorProto.BFLOAT16:
            continue
        narrow = f"{output.name}/bfloat16"
        for node in graph.node:
            for i, name in enumerate(node.output):
                if name == output.name:
                    node.output[i] = narrow
            for i, name in enumerate(node.input):
                if name == output.name:
                    node.input[i] = narrow
        graph.node.append(
            onnx.helper.make_node("Cast", [narrow], [output.name], to=onnx.TensorProto.FLOAT)
        )
        output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def with_plain_weights(model: Model, n_nodes: int, weights: Mapping[str, Array]) -> Model:
    """Return the model without its decode nodes, the decoded values stored as initializers."""
    result = model.copy()
    graph = result.proto.graph
    made = {o for node in graph.node[:n_nodes] for o in node.output}
    _delete(graph.node, range(n_nodes))
    _delete(graph.value_info, [i for i, v in enumerate(graph.value_info) if v.name in made])
    read: set[str] = {v.name for v in (*graph.output, *graph.input)}
    for node in graph.node:
        read |= set(reads_of(node))
    unread = [i for i, t in enumerate(graph.initializer) if t.name not in read]
    for i in unread:
        result.arrays.pop(graph.initializer[i].name, None)
    _delete(graph.initializer, unread)
    for name, array in weights.items():
        add_initializer(result, name, array)
    marks = [i for i, e in enumerate(result.proto.metadata_props) if e.key == KEY]
    _delete(result.proto.metadata_props, marks)
    return result


def _delete(field: Sequence[object], positions: Sequence[int]) -> None:
    for i in sorted(positions, reverse=True):
        del field[i]  # type: ignore[attr-defined]  # a repeated protobuf field


def static_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape that a value_info entry states."""
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def decoded_types(model: Model, n_nodes: int) -> dict[str, np.dtype[np.generic]]:
    """Return the element types of what the first `n_nodes` nodes make, by value name."""
    return {
        name: tensor_dtype(value.type.tensor_type.elem_type)
        for name, value in decoder_types(model, n_nodes).items()
    }
