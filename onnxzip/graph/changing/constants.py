"""Other values for initializers of the main graph."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.records.aliases import Array


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
