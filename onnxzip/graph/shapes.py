"""Counts multiply-accumulates from inferred shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from onnxzip.graph.model import Model
from onnxzip.types import Layer


def annotate_layers(
    model: Model, layers: Sequence[Layer], input_shapes: Mapping[str, tuple[int, ...]]
) -> list[Layer]:
    """Fill `macs` of the layers whose consumers' output shapes follow from the input shapes.

    A Conv, Gemm or MatMul costs one multiply-accumulate for each weight that each of its output
    positions reads: macs = n_output_elements * n_weights / n_out. Layers whose shape stays unknown
    keep macs None, and are never put in computed form.
    """
    shapes = _infer(model, input_shapes)
    return [replace(layer, macs=_count_macs(model, layer, shapes)) for layer in layers]


def _infer(model: Model, input_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
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
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found


def _count_macs(model: Model, layer: Layer, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    if not layer.can_compute:
        return None
    total = 0
    for node in model.proto.graph.node:
        if layer.name in node.input:
            shape = shapes.get(node.output[0])
            if shape is None:
                return None
            n_batch, n_out, _, _ = layer.sizes
            n_weights_per_output = layer.weight.size // max(n_batch * n_out, 1)
            total += int(np.prod(shape, dtype=np.int64)) * n_weights_per_output
    return total or None
