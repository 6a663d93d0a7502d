"""Says what the axes of a weight mean to the operator that reads it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxzip.types import AttributeValue, Layout

RECURRENT = ("LSTM", "GRU", "RNN")


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


def layout_of(
    op_type: str, index: int, rank: int, attributes: Mapping[str, AttributeValue]
) -> Layout | None:
    """Return the axes' meaning for input `index` of a known operator."""
    axes = tuple(range(rank))
    if op_type in ("Conv", "ConvTranspose") and index == 1 and rank >= 3:
        out, inner = (0, 1) if op_type == "Conv" else (1, 0)
        return Layout((), (out,), (inner,), axes[2:])
    if op_type == "Gemm" and index < 2 and rank == 2:
        transposed = bool(attributes.get("transA" if index == 0 else "transB", 0))
        out = 1 - transposed if index == 1 else int(transposed)
        return Layout((), (out,), (1 - out,), ())
    if op_type == "MatMul" and rank >= 2:
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
