"""Says what the axes of a weight mean to the operator that reads it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxzip.records.aliases import AttributeValue
from onnxzip.records.layer import Layout

RECURRENT = ("LSTM", "GRU", "RNN")
"""Operators whose inputs 1 and 2 are weights of (directions, gates * hidden, inputs)."""

STANDARD_DOMAINS = ("", "ai.onnx")
"""Both spellings of ONNX's own domain."""

QUANTISED_DOMAIN = "com.microsoft"
"""Of the operators that onnxruntime's quantisation tools write."""

CONV_WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "QLinearConv": 3, "ConvInteger": 1}
"""Which input is the kernel, here and below as ONNX's and onnxruntime's operator schemas have it."""

PRODUCT_WEIGHTS = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
"""Which input is the weight, or the second factor."""

_MATMUL_INPUTS = {
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "MatMulIntegerToFloat": (1,),
    "DynamicQuantizeMatMul": (1,),
}
"""Which inputs may be the weight."""

_SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    "Pad": (1, 3),
    "ConstantOfShape": (0,),
    "CenterCropPad": (1,),
}
"""Inputs whose values decide the output's shape, of operators with others that do not."""

_SHAPE_INPUTS_FROM_1 = (
    *(
        "Reshape",
        "Slice",
        "Resize",
        "Upsample",
        "Expand",
        "Tile",
        "TopK",
        "Unsqueeze",
        "Squeeze",
        "Split",
    ),
    *("SplitToSequence", "Compress", "NonMaxSuppression"),
)
"""Operators all of whose inputs but the first do."""


def permuted_layout(layout: Layout, order: tuple[int, ...] | None) -> Layout:
    """Express a layout of the transposed weight in the stored weight's axes."""
    if order is None:
        return layout
    parts = (layout.batch, layout.out, layout.inner, layout.spatial)
    return Layout(*(tuple(order[a] for a in part) for part in parts))


def default_layout(rank: int) -> Layout:
    """Return the layout of a weight whose consumer is not known."""
    if rank < 2:
        return Layout((), (), tuple(range(rank)), ())
    return Layout((), (0,), tuple(range(1, rank)), ())


def is_known_domain(node: onnx.NodeProto) -> bool:
    """Whether `layout_of` speaks of this node's operator and of no namesake."""
    is_quantised = node.op_type in _MATMUL_INPUTS or node.op_type in ("QGemm", "DynamicQuantizeLSTM")
    is_quantised = is_quantised or node.op_type == "DequantizeLinear"
    return node.domain in STANDARD_DOMAINS or (node.domain == QUANTISED_DOMAIN and is_quantised)


def is_shape_input(node: onnx.NodeProto, index: int) -> bool:
    """Whether an input's values decide shapes: runtimes want it constant before they fold constants."""
    if index in _SHAPE_INPUTS.get(node.op_type, ()):
        return True
    return index > 0 and (node.op_type in _SHAPE_INPUTS_FROM_1 or node.op_type.startswith("Reduce"))


def is_scale_input(node: onnx.NodeProto, index: int) -> bool:
    """Whether an input is the scale of a quantised tensor: its error would move whole channels."""
    if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        return index == 1
    return node.op_type in ("QLinearConv", "QLinearMatMul", "QGemm") and index in (1, 4, 6, 7)


def companion_of(node: onnx.NodeProto, index: int) -> int | None:
    """Return the input that must be no constant where input `index` is none, if there is one.

    A MatMulNBits with accuracy_level 4 packs constant integers when a session is created, and
    onnxruntime (1.32) then takes scales that are no constants for 0, without saying so.
    """
    is_packed = node.domain == QUANTISED_DOMAIN and node.op_type == "MatMulNBits" and index == 2
    return 1 if is_packed and node_attributes(node).get("accuracy_level") == 4 else None


def layout_of(
    op_type: str, index: int, rank: int, attributes: Mapping[str, AttributeValue]
) -> Layout | None:
    """Return the axes' meaning for input `index` of a known operator."""
    axes = tuple(range(rank))
    if index == CONV_WEIGHTS.get(op_type) and rank >= 3:
        out, inner = (1, 0) if op_type == "ConvTranspose" else (0, 1)
        return Layout((), (out,), (inner,), axes[2:])
    if ((op_type == "Gemm" and index < 2) or (op_type == "QGemm" and index in (0, 3))) and rank == 2:
        transposed = bool(attributes.get("transA" if index == 0 else "transB", 0))
        out = 1 - transposed if index else int(transposed)
        return Layout((), (out,), (1 - out,), ())
    if index in _MATMUL_INPUTS.get(op_type, ()) and rank >= 2:
        out, inner = (rank - 2, rank - 1) if index == 0 else (rank - 1, rank - 2)
        return Layout(axes[:-2], (out,), (inner,), ())
    if op_type == "Gather" and index == 0 and rank >= 2:
        axis = attributes.get("axis", 0)
        if not isinstance(axis, int):
            return None
        axis %= rank
        return Layout((), (axis,), axes[:axis] + axes[axis + 1 :], ())
    if op_type in RECURRENT and index in (1, 2) and rank == 3:
        return Layout((0,), (1,), (2,), ())
    if op_type == "DynamicQuantizeLSTM" and index in (1, 2) and rank == 3:
        return Layout((0,), (2,), (1,), ())
    return None


def node_attributes(node: onnx.NodeProto) -> dict[str, AttributeValue]:
    """Return a node's scalar and list attributes as plain Python values, strings decoded."""
    values: dict[str, AttributeValue] = {}
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            continue
        if attribute.type == onnx.AttributeProto.INT:
            values[attribute.name] = int(attribute.i)
        elif attribute.type == onnx.AttributeProto.FLOAT:
            values[attribute.name] = float(attribute.f)
        elif attribute.type == onnx.AttributeProto.STRING:
            values[attribute.name] = attribute.s.decode("utf-8", "replace")
        elif attribute.type == onnx.AttributeProto.INTS:
            values[attribute.name] = tuple(int(i) for i in attribute.ints)
        elif attribute.type == onnx.AttributeProto.FLOATS:
            values[attribute.name] = tuple(float(x) for x in attribute.floats)
    return values
