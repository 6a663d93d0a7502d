"""Finds the small float tensors (biases, norms) that may be stored in fewer bits."""

from __future__ import annotations

import numpy as np
import onnx

from onnxzip.graph.reading.layouts import STANDARD_DOMAINS, default_layout
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import subgraphs
from onnxzip.graph.reading.tensors import n_elements
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
