"""Shapes: those a model states of its inputs and outputs, and those that are inferred.

Inferred to count multiply-accumulates, and to tell which value_info entries are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import read_by
from onnxzip.graph.reading.tensors import n_elements
from onnxzip.report.record import Port

_WIDE_NAMES = {"float": "float32", "double": "float64"}
"""The usual names of element types whose name in ONNX does not tell their width."""


_MOST_FOLLOWED = 1 << 10
"""Numbers in constants whose values shape inference sees: sizes, axes and indices."""


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
    return shapes_behind(without_data(model), input_shapes)


def without_data(model: Model) -> onnx.ModelProto:
    """Return the model as shape inference needs it: of large constants the shapes alone."""
    light = onnx.ModelProto(ir_version=model.proto.ir_version)
    light.opset_import.extend(model.proto.opset_import)
    light.functions.extend(model.proto.functions)
    graph = model.proto.graph
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    light.graph.sparse_initializer.extend(graph.sparse_initializer)
    for tensor in graph.initializer:
        if n_elements(tensor) <= _MOST_FOLLOWED:
            light.graph.initializer.append(tensor)
        else:
            light.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    return light


def shapes_behind(
    light: onnx.ModelProto, input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that follow from those of the inputs, by name.

    Args:
        light: of `without_data`; its inputs get these shapes.
        input_shapes: by input name.
    """
    for value in light.graph.input:
        if value.name in input_shapes:
            elem_type = value.type.tensor_type.elem_type
            value.CopyFrom(
                onnx.helper.make_tensor_value_info(value.name, elem_type, input_shapes[value.name])
            )
    held = [node for node in light.graph.node if node.op_type == "Slice"]
    found = {tensor.name: tuple(tensor.dims) for tensor in light.graph.initializer}
    while True:
        safe = [node for node in held if all(size > 0 for size in found.get(node.input[0], (0,)))]
        held = [node for node in held if node not in safe]
        found = _shapes_without(light, held)
        is_sound = all(size > 0 for shape in found.values() for size in shape)
        if not (is_sound and any(node.input[0] in found for node in held)):
            return found


def _shapes_without(
    light: onnx.ModelProto, held: Sequence[onnx.NodeProto]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that follow where the outputs of some nodes have none.

    onnx (1.22) ends the process where a Slice takes sizes below 0, which it infers for a convolution of
    less than its kernel: a Slice is inferred once the sizes of what it takes are known.
    """
    part = light
    if held:
        gone = {name for node in held for name in node.output}
        part = onnx.ModelProto()
        part.CopyFrom(light)
        del part.graph.node[:]
        part.graph.node.extend(node for node in light.graph.node if gone.isdisjoint(node.output))
    inferred = inferred_model(part, data_prop=True)
    if inferred is None:
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        if _is_static(value):
            found[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return found
