"""What a demand on a node's output asks of its inputs.

Everything yielded is safe: inputs that meet it give an output that meets the demand, whatever the other
inputs are within theirs. Operators that are not here end the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import onnx

from onnxzip.graph.reading.indices.demands import Demand
from onnxzip.graph.reading.indices.frames import Extent, Frame
from onnxzip.graph.reading.indices.picks import PICKERS, offsets, picked
from onnxzip.graph.reading.layouts import STANDARD_DOMAINS, node_attributes

Asked: TypeAlias = Iterator[tuple[str, Demand]]

_FIRST, _ALL = slice(0, 1), slice(None)

_CARRIERS: dict[str, slice] = {
    **dict.fromkeys(("Cast", "CastLike", "Identity", "Floor", "Ceil", "Round", "Dropout"), _FIRST),
    **dict.fromkeys(("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Expand"), _FIRST),
    **dict.fromkeys(("Tile", "Slice", "Split", "Pad", "Compress", "Trilu", "ReverseSequence"), _FIRST),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "DepthToSpace", "SpaceToDepth"), _FIRST),
    **dict.fromkeys(("TopK", "Unique", "ReduceMax", "ReduceMin", "MaxPool"), _FIRST),
    **dict.fromkeys(("SplitToSequence", "SequenceAt", "ConcatFromSequence"), _FIRST),
    **dict.fromkeys(("SequenceConstruct", "Concat"), _ALL),
    "SequenceInsert": slice(0, 2),
    "Where": slice(1, 3),
    **dict.fromkeys(("ScatterElements", "Scatter", "ScatterND"), slice(0, 3, 2)),
}
"""Operators that only move values, and the inputs that those come from."""

_IN_PLACE = ("Cast", "CastLike", "Identity", "Floor", "Ceil", "Round", "Dropout", "Where")
"""Carriers whose values stay where they were."""

_OTHER_OUTPUTS = ("TopK", "Unique", "MaxPool", "Dropout")
"""Carriers whose outputs but the first hold something else: positions, counts, masks."""


def asked_of_inputs(frame: Frame, node: onnx.NodeProto, output: int, demand: Demand) -> Asked:
    """Yield inputs of a node, and what a demand on its output of this number asks of them."""
    if node.domain not in STANDARD_DOMAINS or (output and node.op_type in _OTHER_OUTPUTS):
        return
    if node.op_type in PICKERS:
        yield from ((node.input[0], asked) for asked in picked(frame, node, output, demand))
    elif node.op_type in _CARRIERS:
        for name in node.input[_CARRIERS[node.op_type]]:
            stays = node.op_type in _IN_PLACE and _is_aligned(frame, node, name, demand)
            yield name, demand if stays else replace(demand, part=None)
    elif node.op_type in _ARITHMETIC:
        for name, asked in _ARITHMETIC[node.op_type](frame, node, demand):
            yield name, asked if _is_aligned(frame, node, name, asked) else replace(asked, part=None)


def _is_aligned(frame: Frame, node: onnx.NodeProto, name: str, demand: Demand) -> bool:
    """Whether a part of a node's output is the same part of an input: nothing is broadcast there."""
    if demand.part is None:
        return True
    shape, output = frame.shape(name) or (), frame.shape(node.output[0]) or ()
    return len(shape) == len(output) > demand.part[0] and shape[demand.part[0]] != 1


def _add(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    computed, constants = _operands(frame, node.input)
    low = demand.low - sum(extent[0] for extent in constants)
    high = demand.high - sum(extent[1] for extent in constants)
    columns = list(_columns(frame, node, computed[0], demand)) if len(computed) == 1 else []
    if columns:
        yield from columns
        return
    if len(computed) == 2:
        for name, other in (computed, computed[::-1]):
            stride = _stride(frame, name)
            if stride is not None:  # row * n_columns + column
                yield name, demand.moved(low, high - stride + 1)
                yield other, demand.moved(0, min(stride - 1, high - low))
                return
    for name in computed:  # of several, each has its share
        yield name, demand.moved(low / len(computed), high / len(computed))


def _columns(frame: Frame, node: onnx.NodeProto, name: str, demand: Demand) -> Asked:
    """Yield what a constant for each column asks: fields whose rows stand behind each other's."""
    others = [other for other in node.input if other != name]
    starts = offsets(frame, name, others[0]) if len(others) == 1 else None
    axis = len(frame.shape(name) or ()) - 1
    for place, start in enumerate(starts or ()):
        if demand.part in (None, (axis, place)):
            yield (
                name,
                replace(demand.moved(demand.low - start, demand.high - start), part=(axis, place)),
            )


def _subtract(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    first, second = (frame.extent(name) for name in node.input)
    if second is not None:
        yield node.input[0], demand.moved(demand.low + second[1], demand.high + second[0])
    elif first is not None:
        yield node.input[1], demand.moved(first[1] - demand.high, first[0] - demand.low)
    else:  # each has its half: differences of positions, say
        half = (demand.high - demand.low) // 2
        yield node.input[0], demand.moved(demand.low + half, demand.high)
        yield node.input[1], demand.moved(0, half)


def _multiply(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    computed, constants = _operands(frame, node.input)
    if not demand.is_needed:  # as in a hash, which makes no difference between few ids and many
        return
    if len(computed) == 1:
        for factor in {factor for extent in constants for factor in extent} - {0}:
            ends = sorted((demand.low / factor, demand.high / factor))
            yield computed[0], demand.moved(*ends)
    elif 0 in demand.ids:  # ids and a mask of zeros and ones, never two ids
        yield from ((name, demand) for name in computed)


def _divide(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    divisor = frame.extent(node.input[1])
    if divisor is None or divisor[0] <= 0 or not demand.is_needed:
        return
    is_truncated = isinstance(divisor[0], int)
    high = (demand.high + 1) * divisor[0] - 1 if is_truncated else demand.high * divisor[0]
    yield node.input[0], demand.moved(max(demand.low, 0) * divisor[1], high)


def _modulo(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    """Take Mod and BitwiseAnd, whose results lie from 0 to a constant if their input is no less."""
    extents = [extent for name in node.input[1:] if (extent := frame.extent(name)) is not None]
    if not extents or extents[0][0] <= 0:
        return
    past = 0 if node.op_type == "BitwiseAnd" else -1
    is_free = demand.low <= 0 and extents[0][1] + past <= demand.high
    useful = demand.moved(max(demand.low, 0), min(demand.high, extents[0][0] + past))
    yield node.input[0], replace(useful, is_needed=demand.is_needed and not is_free)


def _clip(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    attributes = node_attributes(node)
    names = [*node.input[1:], "", ""][:2]
    ends = []
    for name, attribute, end in zip(names, ("min", "max"), (0, 1), strict=True):
        extent = frame.extent(name) if name else None
        value = attributes.get(attribute) if extent is None else extent[end]
        ends.append(value if isinstance(value, int | float) else None)
    low = demand.low if ends[0] is None else max(demand.low, ends[0])
    high = demand.high if ends[1] is None else min(demand.high, ends[1])
    is_free = ends[0] is not None and ends[1] is not None
    is_free = is_free and (low, high) == tuple(ends)
    yield node.input[0], replace(demand.moved(low, high), is_needed=demand.is_needed and not is_free)


def _limit(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    """Take Min, Max, Relu and Abs: what makes a difference, of what the demand allows."""
    computed, constants = _operands(frame, node.input)
    low: float = demand.low
    high: float = demand.high
    if node.op_type == "Min":
        high = min([high, *(extent[1] for extent in constants)])
    elif node.op_type == "Max":
        low = max([low, *(extent[0] for extent in constants)])
    else:
        low = max(low, 0)
    yield from ((name, demand.moved(low, high)) for name in computed)


def _negate(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    yield node.input[0], demand.moved(-demand.high, -demand.low)


def _count(frame: Frame, node: onnx.NodeProto, demand: Demand) -> Asked:
    yield node.input[0], demand
    yield node.input[1], demand.moved(demand.low + 1, demand.high + 1)


def _operands(frame: Frame, names: Sequence[str]) -> tuple[list[str], list[Extent]]:
    """Return the names of what a run computes, and the extents of constants."""
    extents = [frame.extent(name) for name in names]
    computed = [name for name, extent in zip(names, extents, strict=True) if extent is None]
    return computed, [extent for extent in extents if extent is not None]


def _stride(frame: Frame, name: str) -> int | None:
    """Return the constant that a value is a multiple of, None where it is no product."""
    node = frame.producer(name)
    if node is not None and node.op_type in _CARRIERS and _CARRIERS[node.op_type] == _FIRST:
        return _stride(frame, node.input[0])
    if node is None or node.op_type != "Mul":
        return None
    _, constants = _operands(frame, node.input)
    least = constants[0][0] if len(constants) == 1 and constants[0][0] == constants[0][1] else 0
    return least if isinstance(least, int) and least > 1 else None


_ARITHMETIC: dict[str, Callable[[Frame, onnx.NodeProto, Demand], Asked]] = {
    **dict.fromkeys(("Add", "Sum"), _add),
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    **dict.fromkeys(("Mod", "BitwiseAnd"), _modulo),
    "Clip": _clip,
    **dict.fromkeys(("Min", "Max", "Relu", "Abs"), _limit),
    "Neg": _negate,
    "Range": _count,
}
