"""Constant places that a node takes out of a value: a column of ids has a table of its own, often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx

from onnxzip.graph.reading.indices.demands import Demand
from onnxzip.graph.reading.indices.frames import Frame
from onnxzip.graph.reading.layouts import node_attributes

_MAX_PLACES = 256
"""More are not told apart: features have tens of columns, but a Slice may take thousands of tokens."""

PICKERS = ("Gather", "Slice", "Split")


def picked(frame: Frame, node: onnx.NodeProto, output: int, demand: Demand) -> Iterator[Demand]:
    """Yield a picker's demands on its first input: one for each place that it picks on its axis."""
    shape = frame.shape(node.input[0])
    axis = _axis(frame, node)
    places: Sequence[int] = ()
    if shape and axis is not None and -len(shape) <= axis < len(shape):
        axis %= len(shape)
        if node.op_type == "Gather":
            places = _gathered(frame, node, shape[axis])
        elif shape[axis] is not None:
            find = _sliced if node.op_type == "Slice" else _split
            places = find(frame, node, output, range(shape[axis] or 0))
    if axis is None or not places or len(places) > _MAX_PLACES:
        yield replace(demand, part=None)
    else:
        yield from (replace(demand, part=(axis, place)) for place in places)


def offsets(frame: Frame, value: str, constant: str) -> list[float] | None:
    """Return the numbers of a constant if each is for a column of its own, the last axis of a value."""
    shape, own, array = frame.shape(value), frame.shape(constant), frame.constant(constant)
    if not shape or not own or array is None or len(own) > len(shape):
        return None
    is_row = own[-1] == shape[-1] == array.size and 1 < array.size <= _MAX_PLACES
    return [number.item() for number in array.ravel()] if is_row else None


def _axis(frame: Frame, node: onnx.NodeProto) -> int | None:
    if node.op_type != "Slice":
        axis = node_attributes(node).get("axis", 0)
        return axis if isinstance(axis, int) else None
    axes = _numbers(frame, node, "axes", 3)
    starts = _numbers(frame, node, "starts", 1) or []
    if axes is None:
        axes = list(range(len(starts)))
    return axes[0] if len(axes) == 1 else None


def _gathered(frame: Frame, node: onnx.NodeProto, size: int | None) -> list[int]:
    array = frame.constant(node.input[1])
    if array is None:
        return []
    places = np.unique(array).tolist()
    return places if size is None else sorted({place % size for place in places})


def _sliced(frame: Frame, node: onnx.NodeProto, _: int, places: range) -> range:
    ends = [_numbers(frame, node, name, number) for name, number in (("starts", 1), ("ends", 2))]
    steps = _numbers(frame, node, "steps", 4) or [1]
    if not all(end is not None and len(end) == 1 for end in ends) or len(steps) != 1:
        return range(0)
    start, end = (numbers[0] for numbers in ends if numbers)
    return places[start : end : steps[0]]


def _split(frame: Frame, node: onnx.NodeProto, output: int, places: range) -> range:
    sizes = _numbers(frame, node, "split", 1)
    if sizes is None and len(node.input) > 1 and node.input[1]:
        return range(0)
    if sizes is None:
        size = -(-len(places) // len(node.output))
        sizes = [size] * len(node.output)
    return places[sum(sizes[:output]) : sum(sizes[: output + 1])]


def _numbers(frame: Frame, node: onnx.NodeProto, attribute: str, number: int) -> list[int] | None:
    """Return a list that is an attribute in old opsets and an input in new ones."""
    found = node_attributes(node).get(attribute)
    if isinstance(found, tuple):
        return [int(value) for value in found]
    array = frame.constant(node.input[number]) if len(node.input) > number else None
    return None if array is None else [int(value) for value in array.ravel()]
