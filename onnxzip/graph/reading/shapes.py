"""Shapes: those a model states of its inputs and outputs, and those that are inferred.

Inferred to count multiply-accumulates, and to tell which value_info entries are needed.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import read_by
from onnxzip.report.record import Port

_WIDE_NAMES = {"float": "float32", "double": "float64"}
"""The usual names of element types whose name in ONNX does not tell their width."""


def read_ports(model: Model) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return the inputs that have to be fed, and the outputs, as the model states them."""
    graph = model.proto.graph
    known = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = (value for value in graph.input if value.name not in known)
    return tuple(map(_port, inputs)), tuple(map(_port, graph.output))


def _port(value: onnx.ValueInfoProto) -> Port:
    if value.type.WhichOneof("value") != "tensor_type":
        return Port(value.name, _type_text(value.type), None)
    tensor = value.type.tensor_type
    element = _element_text(tensor.elem_type)
    return Port(value.name, _WIDE_NAMES.get(element, element), _dims(tensor))


def _dims(tensor: onnx.TypeProto.Tensor) -> tuple[int | str, ...] | None:
    """Return the stated sizes; a negative one, which some exporters write, is a free one."""
    if not tensor.HasField("shape"):
        return None
    sizes = ((d.HasField("dim_value") and d.dim_value >= 0, d) for d in tensor.shape.dim)
    return tuple(d.dim_value if is_fixed else d.dim_param or "?" for is_fixed, d in sizes)


def _type_text(value: onnx.TypeProto) -> str:
    """Return a type in ONNX's text form, "seq(float[1,n])"; "?" where none is stated."""
    match value.WhichOneof("value"):
        case "tensor_type":
            return _tensor_text(value.tensor_type)
        case "sparse_tensor_type":
            return f"sparse_tensor({_tensor_text(value.sparse_tensor_type)})"
        case "sequence_type":
            return f"seq({_type_text(value.sequence_type.elem_type)})"
        case "optional_type":
            return f"optional({_type_text(value.optional_type.elem_type)})"
        case "map_type":
            key = _element_text(value.map_type.key_type)
            return f"map({key}, {_type_text(value.map_type.value_type)})"
    return "?"


def _tensor_text(tensor: onnx.TypeProto.Tensor) -> str:
    """Return e.g. "float[1,n]", "float" for a scalar, "float[]" for an unknown rank."""
    dims = _dims(tensor)
    shape = f"[{','.join(map(str, dims or ()))}]" if dims != () else ""
    return _element_text(tensor.elem_type) + shape


def _element_text(element_type: int) -> str:
    known = element_type in onnx.TensorProto.DataType.values() and element_type
    return onnx.TensorProto.DataType.Name(element_type).lower() if known else "?"


def decoder_types(model: Model, n_decode_nodes: int) -> dict[str, onnx.ValueInfoProto]:
    """Return type and shape of what the first `n_decode_nodes` nodes make, inferred or as written."""
    graph = model.proto.graph
    nodes = graph.node[:n_decode_nodes]
    made = {o for node in nodes for o in node.output}
    read = read_by(nodes)
    part = onnx.ModelProto(ir_version=model.proto.ir_version)
    part.opset_import.extend(model.proto.opset_import)
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(t for t in graph.initializer if t.name in read)
    written = {v.name: v for v in graph.value_info if v.name in made}
    types = dict(written)
    for name, value in _infer_values(part, data_prop=False).items():
        if _is_static(value) or name not in written:
            types[name] = value
    return types


def _is_static(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)


def needed_value_info(model: Model, n_decode_nodes: int) -> set[str]:
    """Return the main graph's value_info entries that a file cannot spare.

    They are those that shape inference does not find without them. A runtime folds and fuses nodes only
    where it knows their shapes, so that it would optimise the model in another way if such an entry (of
    a symbolic inference, say) were dropped.

    Args:
        model: the model.
        n_decode_nodes: how many of its first nodes decode weights.
    """
    entries = {v.name: v.type for v in model.proto.graph.value_info}
    bare = model.copy()
    del bare.proto.graph.value_info[:]
    decoded = decoder_types(bare, n_decode_nodes)
    stripped = onnx.ModelProto()
    stripped.CopyFrom(bare.proto)
    del stripped.graph.node[:n_decode_nodes]  # onnx would propagate all the decoder's constants
    stripped.graph.value_info.extend(decoded.values())
    found = {**_infer_values(stripped, data_prop=True), **decoded}
    return {name for name, known in entries.items() if name not in found or found[name].type != known}


def _infer_values(proto: onnx.ModelProto, *, data_prop: bool) -> dict[str, onnx.ValueInfoProto]:
    """Return the types that shape inference finds; none where it fails."""
    inferred = inferred_model(proto, data_prop=data_prop)
    return {} if inferred is None else {v.name: v for v in inferred.graph.value_info}


def inferred_model(proto: onnx.ModelProto, *, data_prop: bool) -> onnx.ModelProto | None:
    """Return a copy with the types that shape inference finds, None where it fails.

    Args:
        proto: the model.
        data_prop: whether to follow computed shapes, too, and with them all constants.
    """
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=data_prop)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return None


def infer_shapes(
    model: Model, input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the main graph's values that follow from those of the inputs, by name."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for value in proto.graph.input:
        if value.name in input_shapes:
            elem_type = value.type.tensor_type.elem_type
            value.CopyFrom(
                onnx.helper.make_tensor_value_info(value.name, elem_type, input_shapes[value.name])
            )
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = inferred_model(proto, data_prop=True)
    if inferred is None:
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        if _is_static(value):
            found[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return found
