"""Whether `fold` computes a node that reads constants only, and how large its result is at least."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxzip.passbase import NodeView
from onnxzip.records.aliases import Array

_RANDOM = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Multinomial", "Bernoulli"),
)
_MOVES = (
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Concat"),
    *("Shape", "Size", "Cast", "ConstantOfShape"),
)
_ARITHMETIC = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal", "Floor", "Ceil"),
    *("Min", "Max", "MatMul", "Equal", "Less", "Greater", "Not", "And", "Or", "Where"),
)
_CAST_DTYPES: Mapping[int, str] = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16"},
}
"""TensorProto.DataType by number, the types that constants are computed in."""


def evaluation_refusal(node: NodeView, arrays: list[Array]) -> str:
    """Return why a node with constant inputs is not computed, "" if it may be."""
    if node.op_type in _RANDOM:
        return "its result is random"
    if node.op_type not in (*_MOVES, *_ARITHMETIC):
        return f"{node.op_type} is not computed ahead"
    names = {array.dtype.name for array in arrays}
    if not names <= set(_CAST_DTYPES.values()):
        return f"{', '.join(sorted(names))} is not computed ahead"
    if node.op_type in _ARITHMETIC and names & {"float16", "bfloat16"}:
        return "arithmetic in 16 bits is not the same everywhere"
    kinds = {array.dtype.kind for array in arrays}
    if node.op_type == "Div" and kinds != {"f"}:
        return "integer division is not the same everywhere"
    target = _CAST_DTYPES.get(int(np.asarray(node.attributes.get("to", 1)).item()), "")
    if node.op_type == "Cast" and (not target or (kinds & {"f", "V"} and "int" in target)):
        return "this conversion is not the same everywhere"
    return ""


def least_bytes(node: NodeView, first: Array) -> int:
    """Return a size that the result has at least, so that hopeless conversions are not computed."""
    target = _CAST_DTYPES.get(int(np.asarray(node.attributes.get("to", 0)).item()), "")
    if node.op_type != "Cast" or not target:
        return 0
    return first.size * (2 if target == "bfloat16" else np.dtype(target).itemsize)
