"""Computes a node whose inputs are constant, where the standard and onnxruntime agree on the result.

onnx's reference implementation is right for the newest operator sets mostly: with 1.23 the Unsqueeze of
opset 11 puts negative axes elsewhere. onnxruntime has operators of its own reading too. What shape
inference, the reference and onnxruntime all say is what any runtime computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxzip.errors import InputError
from onnxzip.graph.reading.model import MIN_DETACHED_BYTES
from onnxzip.graph.reading.tensors import element_type, tensor_dtype
from onnxzip.records.aliases import Array
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import open_session

_MAX_GROWTH = 2
"""A folded node may give this many times the bytes that it takes: a Cast from float32 to double."""

_MIN_EVALUATED_BYTES = 1 << 20
"""Results up to 1 MiB are small beside any model whose size matters, however much they grew."""

_IR_VERSION = 8
"""Of onnx 1.10, which onnxruntime 1.17 knows; constants may be inputs as well from 4 on."""

_ROUNDING = 1e-6
"""Of the largest number: ten times what float32 rounds, as sums and exponentials are not computed alike
everywhere."""


def evaluate(
    node: onnx.NodeProto, known: Mapping[str, Array], opsets: Iterable[onnx.OperatorSetIdProto]
) -> Array | None:
    """Compute a node with one output.

    Args:
        node: the node.
        known: its inputs, all of them constant.
        opsets: imports of its model.

    Returns:
        The result. None where the reference has no implementation, where the result is not of the type
        and shape that inference gives it or not what onnxruntime computes, and where it is far larger
        than the inputs (Expand, Range).
    """
    model = _one_node_model(node, known, opsets)
    inferred = _inferred_type(model, sum(array.nbytes for array in known.values()))
    if inferred is None:
        return None
    try:
        with np.errstate(all="ignore"):  # Inf is as good a result as any
            (result,) = ReferenceEvaluator(model).run(None, dict(known))
    except Exception:  # the reference implementations of operators raise whatever numpy raises
        return None
    array = np.asarray(result)
    is_as_inferred = (array.dtype, array.shape) == inferred
    return array if is_as_inferred and _is_confirmed(model, known, array) else None


def _is_confirmed(model: onnx.ModelProto, known: Mapping[str, Array], array: Array) -> bool:
    """Whether onnxruntime computes the same; its Python interface has no types that numpy lacks."""
    if any(a.dtype.isbuiltin != 1 for a in (array, *known.values())):
        return True
    try:
        source = LoadableModel(model.SerializeToString(), "constant node")
        with open_session(source, optimisation="off", n_threads=1) as session:
            found = session.run(known)[model.graph.output[0].name]
    except InputError:
        return False
    if (found.dtype, found.shape) != (array.dtype, array.shape):
        return False
    if array.dtype.kind != "f":
        return np.array_equal(found, array)
    size = np.abs(array).max(initial=0.0, where=np.isfinite(array))
    return np.allclose(found, array, rtol=0, atol=_ROUNDING * size, equal_nan=True)


def _one_node_model(
    node: onnx.NodeProto, known: Mapping[str, Array], opsets: Iterable[onnx.OperatorSetIdProto]
) -> onnx.ModelProto:
    """Return a model of this node alone; small constants are in it for shape inference to see."""
    small = {n: a for n, a in known.items() if a.nbytes < MIN_DETACHED_BYTES}
    graph = onnx.helper.make_graph(
        [node],
        "fold",
        [
            onnx.helper.make_tensor_value_info(n, element_type(a.dtype), a.shape)
            for n, a in known.items()
        ],
        [onnx.ValueInfoProto(name=node.output[0])],
        [onnx.numpy_helper.from_array(array, name) for name, array in small.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def _inferred_type(
    model: onnx.ModelProto, n_input_bytes: int
) -> tuple[np.dtype[np.generic], tuple[int, ...]] | None:
    """Return type and shape of a one-node model's output, None if unknown or far too large."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return None
    tensor = inferred.tensor_type
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    dtype, shape = tensor_dtype(tensor.elem_type), tuple(d.dim_value for d in tensor.shape.dim)
    n_bytes = dtype.itemsize * float(np.prod(shape, dtype=np.float64))
    limit = max(_MAX_GROWTH * n_input_bytes, _MIN_EVALUATED_BYTES)
    return (dtype, shape) if n_bytes <= limit else None
