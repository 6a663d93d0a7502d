"""Other values for initializers of the main graph, and initializers that are no constants to kernels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx

from onnxzip.graph.changing.fields import replace_all
from onnxzip.graph.changing.fresh_names import FreshNames
from onnxzip.graph.changing.narrow.nodes import narrowing
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.tensors import tensor_array, tensor_dtype
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import is_narrow


def with_constants(model: Model, constants: Mapping[str, Array]) -> Model:
    """Return the model with other values for some initializers of the main graph."""
    if not constants:
        return model
    changed = model.copy()
    for tensor in changed.proto.graph.initializer:
        if tensor.name in constants and tensor.name in changed.arrays:
            changed.arrays[tensor.name] = constants[tensor.name]
        elif tensor.name in constants:
            tensor.CopyFrom(onnx.numpy_helper.from_array(constants[tensor.name], tensor.name))
    return changed


def with_copied_constants(model: Model, names: Collection[str]) -> Model:
    """Return the model with an Identity behind some initializers of the main graph, under their names.

    Where a session optimises nothing, they are then no constants: what a decoded weight is to a kernel.
    """
    changed = model.copy()
    graph, fresh = changed.proto.graph, FreshNames(model.names())
    copies = []
    for tensor in list(graph.initializer):
        if tensor.name in names:
            name, tensor.name = tensor.name, fresh.new(tensor.name)
            if is_narrow(tensor_dtype(tensor.data_type)):
                copies.append(_narrow_copy(changed, tensor, name))
                continue
            copies.append(onnx.helper.make_node("Identity", [tensor.name], [name]))
            if name in changed.arrays:
                changed.arrays[tensor.name] = changed.arrays.pop(name)
    replace_all(graph.node, [*copies, *graph.node])
    return changed


def _narrow_copy(model: Model, tensor: onnx.TensorProto, name: str) -> onnx.NodeProto:
    """Let a node make narrow numbers of an initializer in float32: onnxruntime copies none of them."""
    dtype = tensor_dtype(tensor.data_type)
    values = tensor_array(tensor).astype(np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    node, constants = narrowing(tensor.name, name, dtype, model.opset)
    model.proto.graph.initializer.extend(constants)
    return node
