"""Finds the small float tensors (biases, norms) that may be stored in fewer bits, and the largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from onnxzip.graph.reading.layouts import STANDARD_DOMAINS, default_layout
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import iter_bodies, subgraphs
from onnxzip.graph.reading.tensors import constant_value, is_kept_exactly, n_elements, n_raw_bytes
from onnxzip.graph.reading.weights import MIN_ELEMENTS
from onnxzip.records.layer import Layer

MIN_SMALL_ELEMENTS = 8
"""Fewer save under 16 bytes at 16 bits, less than the value_info entry of one more output takes."""

_LARGEST = 1e38
"""Less than a third of the largest float32, so that scales and sums stay finite."""

_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (1, 2)),
    **dict.fromkeys(("Add", "Sub", "Mul", "MatMul"), (0, 1)),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), (1, 2)),
    "BatchNormalization": (1, 2, 3),  # not the variance: it must not become zero
    "PRelu": (1,),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2, 3)),
}
"""Where a tensor's relative error moves the output by as much: nowhere that it scales or decides."""


def find_small_layers(model: Model) -> list[Layer]:
    """Return the float32 initializers of the main graph that are too small to be layers of their own.

    They have MIN_SMALL_ELEMENTS elements or more, none infinite or nearly so, and only operators that
    add or multiply by them read them.
    """
    graph = model.proto.graph
    bound = {v.name for v in (*graph.input, *graph.output)}
    found = {t.name: t for t in graph.initializer if t.name not in bound and _is_small(t)}
    readers: dict[str, list[str]] = {name: [] for name in found}
    refused: set[str] = set()
    graphs = [graph]  # a function's names are its own
    while graphs:
        body = graphs.pop()
        refused.update(v.name for v in body.output)
        for node in body.node:
            graphs.extend(subgraphs(node))
            for i, name in enumerate(node.input):
                if name in found and _suits(node, i):
                    readers[name].append(node.op_type)
                elif name in found:
                    refused.add(name)
    layers = []
    for name, tensor in found.items():
        array = model.array(tensor)
        if readers[name] and name not in refused and (np.abs(array) < _LARGEST).all():
            layers.append(Layer(name, readers[name][0], array, default_layout(array.ndim)))
    return layers


def _is_small(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == tensor.FLOAT and MIN_SMALL_ELEMENTS <= n_elements(tensor) < MIN_ELEMENTS


def _suits(node: onnx.NodeProto, index: int) -> bool:
    return node.domain in STANDARD_DOMAINS and index in _INPUTS.get(node.op_type, ())


@dataclass(frozen=True)
class Constant:
    """A constant tensor of a model: an initializer, or what a Constant node holds.

    Attributes:
        type_name: its element type in lower case, as ONNX calls it.
    """

    name: str
    type_name: str
    shape: tuple[int, ...]
    n_elements: int
    n_bytes: int
    is_integer: bool


def largest_constant(model: Model) -> Constant | None:
    """Return the constant tensor that has most elements, at any depth; None where there is none."""
    found = max(_constants(model.proto), key=lambda pair: n_elements(pair[1]), default=None)
    if found is None:
        return None
    name, tensor = found
    return Constant(
        name,
        onnx.TensorProto.DataType.Name(tensor.data_type).lower(),
        tuple(tensor.dims),
        n_elements(tensor),
        0 if tensor.data_type == tensor.STRING else n_raw_bytes(tensor),
        is_kept_exactly(tensor),
    )


def _constants(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for body in iter_bodies(proto):
        if isinstance(body, onnx.GraphProto):
            yield from ((tensor.name, tensor) for tensor in body.initializer)
            yield from ((t.values.name, t.values) for t in body.sparse_initializer)
        for node in body.node:
            tensor = constant_value(node)
            if tensor is not None:
                yield node.output[0], tensor
