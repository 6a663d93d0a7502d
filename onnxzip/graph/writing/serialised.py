"""A model's file as protobuf writes it, without a copy of the arrays beside the proto.

protobuf puts a message together in memory, with all that it holds: a model would be there three times,
as arrays, in its message, and as bytes. Here it serialises the light proto alone; the arrays are put in
where it writes raw_data, and the lengths of what they stand in are written anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import onnx

from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.parsing.wire import GRAPH, INITIALIZER, RAW_DATA, fields, header
from onnxzip.records.aliases import Array

Chunk: TypeAlias = bytes | Array


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
    graph = next(field for field in fields(data) if field.number == GRAPH)
    chunks = list(_graph_chunks(data[graph.content : graph.stop], names, model.arrays))
    head = data[: graph.start] + header(GRAPH, n_serialised(chunks))
    return [head, *chunks, data[graph.stop :]]


def n_serialised(chunks: list[Chunk]) -> int:
    """Return how many bytes chunks have together."""
    return sum(len(chunk) if isinstance(chunk, bytes) else chunk.nbytes for chunk in chunks)


def _graph_chunks(graph: bytes, names: list[str], arrays: dict[str, Array]) -> Iterator[Chunk]:
    """Yield the content of a graph's message, the arrays of its initializers in their places."""
    position = 0
    tensors = (field for field in fields(graph) if field.number == INITIALIZER)
    for name, field in zip(names, tensors, strict=True):
        if name not in arrays:
            continue
        tensor, array = graph[field.content : field.stop], arrays[name]
        place = next((f.start for f in fields(tensor) if f.number > RAW_DATA), len(tensor))
        raw = header(RAW_DATA, array.nbytes)
        n_bytes = len(tensor) + len(raw) + array.nbytes
        yield graph[position : field.start] + header(INITIALIZER, n_bytes) + tensor[:place] + raw
        yield array
        yield tensor[place:]
        position = field.stop
    yield graph[position:]
