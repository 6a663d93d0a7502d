"""Models from ONNX's text syntax: values that are declared and not made become random initializers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import parser


def model_from_text(text: str, seed: int = 0) -> onnx.ModelProto:
    """Parse a model; its weights are normal, scaled so that a layer's output is about its input's size.

    Args:
        text: a model as `onnx.parser` reads it, weights declared like values: <float[16, 24] w>.
        seed: of the weights.
    """
    proto = parser.parse_model(text)
    graph = proto.graph
    made = {output for node in graph.node for output in node.output}
    rng = np.random.default_rng(seed)
    declared = {v.name: v for v in graph.value_info if v.name not in made}
    for name, value in declared.items():
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        n_inner = int(np.prod(dims[1:])) if len(dims) > 2 else dims[0]
        array = rng.standard_normal(dims) * (2 / n_inner) ** 0.5
        graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    kept = [v for v in graph.value_info if v.name not in declared]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return proto
