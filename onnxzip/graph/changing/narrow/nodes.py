"""Nodes that make types of few operators, 4-bit integers and 8-bit floats, of float32 and back.

float32 to 4 bits is a QuantizeLinear by a step of 1: onnxruntime has a Cast to them from 1.23 on only.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxzip.graph.reading.layouts import QUANTISED_DOMAIN
from onnxzip.graph.reading.tensors import element_type, tensor_dtype
from onnxzip.records.elements.exact import FOUR_BITS, is_narrow

FOUR_BITS_OPSET = 21
"""From here on QuantizeLinear and DequantizeLinear take 4 bits (ONNX's Changelog.md); onnxruntime's own
operators of these names do so at any opset, and are what it writes itself below this one."""


def quantising_domain(opset: int) -> str:
    """Return the domain of the quantising operators that know 4 bits at an opset."""
    return "" if opset >= FOUR_BITS_OPSET else QUANTISED_DOMAIN


def is_output_read_as_float(data_type: int) -> bool:
    """Whether onnxruntime's Python interface gives no values of an element type as they are."""
    return data_type == onnx.TensorProto.BFLOAT16 or is_narrow(tensor_dtype(data_type))


def narrowing(
    source: str, target: str, dtype: np.dtype[np.generic], opset: int
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """Return the node that makes narrow numbers of float32 ones that they hold, and its constants."""
    if dtype.name not in FOUR_BITS:
        return helper.make_node("Cast", [source], [target], to=element_type(dtype)), []
    step, zero = f"{target}/step", f"{target}/zero"
    constants = [
        numpy_helper.from_array(np.array(1, np.float32), step),
        numpy_helper.from_array(np.zeros((), dtype), zero),
    ]
    inputs, domain = [source, step, zero], quantising_domain(opset)
    return helper.make_node("QuantizeLinear", inputs, [target], domain=domain), constants


def widening(
    source: str, target: str, data_type: int, opset: int
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """Return the node that makes float32 of bfloat16 or narrow numbers, and its constants."""
    if tensor_dtype(data_type).name not in FOUR_BITS:
        return helper.make_node("Cast", [source], [target], to=onnx.TensorProto.FLOAT), []
    step = f"{target}/step"
    constants = [numpy_helper.from_array(np.array(1, np.float32), step)]
    domain = quantising_domain(opset)
    return helper.make_node("DequantizeLinear", [source, step], [target], domain=domain), constants
