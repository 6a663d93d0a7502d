"""A model's file as protobuf writes it, without a copy of the arrays beside the proto.

protobuf puts a message together in memory, with all that it holds: a model would be there three times,
as arrays, in its message, and as bytes. Here it serialises the light proto alone; the arrays are put in
where it writes raw_data, and the lengths of what they stand in are written anew
(protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import onnx

from onnxzip.graph.reading.mapped_arrays import DATA_TAG, varint
from onnxzip.graph.reading.model import Model
from onnxzip.records.aliases import Array

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Numbers of ModelProto.graph, GraphProto.initializer and TensorProto.raw_data (onnx.proto)."""

_VARINT, _EIGHT_BYTES, _LENGTH, _GROUP, _END_OF_GROUP = range(5)
"""Wire types; the one that is left has four bytes."""

Chunk: TypeAlias = bytes | Array


class _Field(NamedTuple):
    """A field of a message: its number, and where its tag, its content and the next field begin."""

    number: int
    start: int
    content: int
    stop: int


def without_arrays(model: Model) -> onnx.ModelProto:
    """Return a copy of the model's proto in which the arrays beside it have no data yet."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.arrays:
            tensor.ClearField("data_location")
            del tensor.external_data[:]
    return proto


def serialised(model: Model) -> list[Chunk]:
    """Return a self-contained model's bytes in order, those of the arrays beside it as these arrays."""
    proto = without_arrays(model)
    names = [tensor.name for tensor in proto.graph.initializer]
    data = proto.SerializeToString(deterministic=True)
    graph = next(field for field in _fields(data) if field.number == _GRAPH)
    chunks = list(_graph_chunks(data[graph.content : graph.stop], names, model.arrays))
    head = data[: graph.start] + _header(_GRAPH, n_serialised(chunks))
    return [head, *chunks, data[graph.stop :]]


def n_serialised(chunks: list[Chunk]) -> int:
    """Return how many bytes chunks have together."""
    return sum(len(chunk) if isinstance(chunk, bytes) else chunk.nbytes for chunk in chunks)


def _graph_chunks(graph: bytes, names: list[str], arrays: dict[str, Array]) -> Iterator[Chunk]:
    """Yield the content of a graph's message, the arrays of its initializers in their places."""
    position = 0
    tensors = (field for field in _fields(graph) if field.number == _INITIALIZER)
    for name, field in zip(names, tensors, strict=True):
        if name not in arrays:
            continue
        tensor, array = graph[field.content : field.stop], arrays[name]
        place = next((f.start for f in _fields(tensor) if f.number > _RAW_DATA), len(tensor))
        header = DATA_TAG + varint(array.nbytes)
        n_bytes = len(tensor) + len(header) + array.nbytes
        yield graph[position : field.start] + _header(_INITIALIZER, n_bytes) + tensor[:place] + header
        yield array
        yield tensor[place:]
        position = field.stop
    yield graph[position:]


def _header(number: int, n_bytes: int) -> bytes:
    """Return tag and length of a field that holds so many bytes."""
    return varint(number << 3 | _LENGTH) + varint(n_bytes)


def _fields(data: bytes) -> Iterator[_Field]:
    """Yield the fields of a message that protobuf has written; those of unknown groups are theirs."""
    position = depth = 0
    while position < len(data):
        start = position
        tag, position = _number(data, position)
        number, kind = tag >> 3, tag & 7
        content = position
        if kind == _VARINT:
            _, position = _number(data, position)
        elif kind == _LENGTH:
            n_bytes, content = _number(data, position)
            position = content + n_bytes
        elif kind in (_GROUP, _END_OF_GROUP):
            depth += 1 if kind == _GROUP else -1
        else:
            position += 8 if kind == _EIGHT_BYTES else 4
        if not depth and kind != _END_OF_GROUP:
            yield _Field(number, start, content, position)


def _number(data: bytes, position: int) -> tuple[int, int]:
    """Read a varint; return it and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
