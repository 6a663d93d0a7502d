"""Nodes that look something up by an integer, and what they ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import onnx

from onnxzip.graph.reading.indices.demands import Demand, between
from onnxzip.graph.reading.indices.frames import Frame
from onnxzip.graph.reading.layouts import STANDARD_DOMAINS, node_attributes

Found: TypeAlias = Iterator[tuple[str, Demand]]

_TABLES: dict[tuple[str, str], tuple[tuple[int, int, int | str], ...]] = {
    ("", "Gather"): ((1, 0, "axis"),),
    ("", "GatherElements"): ((1, 0, "axis"),),
    ("", "ScatterElements"): ((1, 0, "axis"),),
    ("", "Scatter"): ((1, 0, "axis"),),
    ("", "RotaryEmbedding"): ((3, 1, 0),),
    ("ai.onnx.ml", "ArrayFeatureExtractor"): ((1, 0, -1),),
    ("com.microsoft", "EmbedLayerNormalization"): ((0, 2, 0), (1, 4, 0), (8, 3, 0)),
    ("com.microsoft", "QEmbedLayerNormalization"): ((0, 2, 0), (1, 4, 0)),
    ("com.microsoft", "GatherBlockQuantized"): ((1, 0, "gather_axis"),),
    ("com.microsoft", "RotaryEmbedding"): ((1, 2, 0),),
    ("com.microsoft", "WordConvEmbedding"): ((0, 3, 0),),
}
"""Where an operator has its ids, its table, and the axis that ids count (or the attribute that says so,
0 by default): the schemas of ONNX, and docs/ContribOperators.md of onnxruntime."""


def lookups(frame: Frame, node: onnx.NodeProto) -> Found:
    """Yield the inputs by which a node looks something up, and what it asks of them."""
    domain = "" if node.domain in STANDARD_DOMAINS else node.domain
    attributes = node_attributes(node)
    for ids, table, axis in _TABLES.get((domain, node.op_type), ()):
        if max(ids, table) < len(node.input):
            number = attributes.get(axis, 0) if isinstance(axis, str) else axis
            yield from _rows(frame, node.input[ids], node.input[table], number)
    find = _OTHERS.get((domain, node.op_type))
    if find is not None:
        yield from find(frame, node)


def _rows(frame: Frame, ids: str, table: str, axis: object) -> Found:
    shape = frame.shape(table)
    if shape and isinstance(axis, int) and -len(shape) <= axis < len(shape):
        yield from _within(ids, [shape[axis]])


def _points(frame: Frame, node: onnx.NodeProto) -> Found:
    """Yield what is asked of coordinates, each of which counts along an axis of its own.

    Coordinates that a Concat put together are told apart; else all have to suit every axis.
    """
    shape, n_batch = frame.shape(node.input[0]), node_attributes(node).get("batch_dims", 0)
    if not shape or not isinstance(n_batch, int):
        return
    indices = frame.shape(node.input[1])
    n_coordinates = (indices[-1] if indices else None) or len(shape)
    limits = shape[n_batch:][:n_coordinates]
    joined = frame.producer(node.input[1])
    if joined is not None and joined.op_type == "Concat" and indices:
        axis = node_attributes(joined).get("axis")
        parts = [frame.shape(name) for name in joined.input]
        widths = [part[-1] if part else None for part in parts]
        if axis in (-1, len(indices) - 1) and None not in widths:
            ends = np.cumsum([width or 0 for width in widths]).tolist()
            for name, start, end in zip(joined.input, [0, *ends], ends, strict=False):
                yield from _within(name, limits[start:end])
            return
    yield from _within(node.input[1], limits)


def _within(ids: str, limits: object) -> Found:
    known = [limit for limit in limits if limit] if isinstance(limits, list | tuple) else []
    if known:
        yield ids, Demand(range(min(known)))


def _one_hot(frame: Frame, node: onnx.NodeProto) -> Found:
    depth = frame.extent(node.input[1])
    if depth is not None:  # another id gives a row of "off" values
        yield node.input[0], Demand(between(0, depth[0] - 1), is_needed=False)


def _compared(frame: Frame, node: onnx.NodeProto) -> Found:
    """Yield the numbers that ids are compared with to make a one-hot of them: a list without gaps."""
    for ids, numbers in (node.input, node.input[::-1]):
        array = frame.constant(numbers)
        if array is not None and array.size > 1 and array.dtype.kind in "iuf":
            found = np.unique(array)
            if len(found) > 1 and (np.diff(found) == 1).all():
                yield ids, Demand(between(found[0].item(), found[-1].item()), is_needed=False)


def _keys(_: Frame, node: onnx.NodeProto) -> Found:
    attributes = node_attributes(node)
    for name in ("keys_int64s", "cats_int64s"):
        keys = attributes.get(name)
        if isinstance(keys, tuple) and keys:
            ends = between(min(keys), max(keys))
            yield node.input[0], Demand(ends, is_needed=False)


_OTHERS: dict[tuple[str, str], Callable[[Frame, onnx.NodeProto], Found]] = {
    ("", "GatherND"): _points,
    ("", "ScatterND"): _points,
    ("", "OneHot"): _one_hot,
    ("", "Equal"): _compared,
    **{("ai.onnx.ml", op): _keys for op in ("LabelEncoder", "CategoryMapper", "OneHotEncoder")},
}
