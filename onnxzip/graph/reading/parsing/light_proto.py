"""Parses a model's file without the values of its large initializers, which stay in a file of ours.

protobuf copies all that it parses, and hands it out as further copies: a model would be there three
times. Here the raw data of initializers are cut out of the file before protobuf sees it. They are
written to another file, each on a cache line, as sessions take aligned arrays only where they lie.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError

from onnxzip.disk.own_copy import mapping_of, release_pages, share_with_disk
from onnxzip.graph.reading.parsing.wire import GRAPH, INITIALIZER, LENGTH, RAW_DATA, fields, header
from onnxzip.graph.reading.tensors import MAX_RANK, PLAIN_TYPES, n_raw_bytes
from onnxzip.records.aliases import Array

_MIN_BYTES = 1 << 16
"""Smaller arrays stay in the proto: what 16 pages hold is worth no place of its own."""


class _Cut(NamedTuple):
    """Raw data: of which initializer, and where its field begins, its content, and what follows."""

    initializer: int
    start: int
    content: int
    stop: int


def parse(data: bytes | Array) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Parse a model; return it, and by name the values of initializers that it holds no more.

    Only the copy of a large file is parsed without them. Such an initializer is marked as external data,
    of the type and shape that it says; where anything about one is unusual it stays whole, for others to
    say what.

    Args:
        data: the model's bytes, or the copy of its file: uint8, (n_bytes,).

    Raises:
        DecodeError: protobuf cannot parse it; RuntimeError and ValueError likewise.
    """
    if not isinstance(data, bytes) and mapping_of(data) is not None:
        with suppress(DecodeError, RuntimeError, ValueError):  # what is wrong shows in the whole
            return _parse_light(data)
    proto = onnx.ModelProto()
    proto.ParseFromString(bytes(data))
    return proto, {}


def _parse_light(copy: Array) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Parse a model without its initializers' large raw data."""
    light, cuts = _cut(copy)
    proto = onnx.ModelProto()
    proto.ParseFromString(light)
    found: dict[str, tuple[int, Array]] = {}
    tensors = proto.graph.initializer
    for cut in cuts:
        tensor, data = tensors[cut.initializer], copy[cut.content : cut.stop]
        is_plain = tensor.data_type in PLAIN_TYPES and len(tensor.dims) <= MAX_RANK
        is_plain = is_plain and all(dim >= 0 for dim in tensor.dims)
        is_stored = not (tensor.HasField("data_location") or tensor.external_data)
        if is_plain and is_stored and tensor.name not in found and n_raw_bytes(tensor) == data.nbytes:
            found[tensor.name] = (cut.initializer, data)
            tensor.data_location = onnx.TensorProto.EXTERNAL
        else:
            tensor.raw_data = data.tobytes()
    arrays: dict[str, Array] = {}
    views = share_with_disk([data for _, data in found.values()])
    for (name, (i, _)), view in zip(found.items(), views, strict=True):
        arrays[name] = view.view(PLAIN_TYPES[tensors[i].data_type]).reshape(tuple(tensors[i].dims))
    release_pages([copy])
    return proto, arrays


def _cut(copy: Array) -> tuple[bytes, list[_Cut]]:
    """Return a file without its initializers' large raw data, and where these are.

    Raises:
        ValueError: it is no message, or has other than one graph.
    """
    data = copy.data
    (graph,) = (field for field in fields(data) if field.number == GRAPH and field.kind == LENGTH)
    parts, cuts, position = list[bytes](), list[_Cut](), graph.content
    tensors = (f for f in fields(data, graph.content, graph.stop) if f.number == INITIALIZER)
    for i, tensor in enumerate(tensors):
        if tensor.kind != LENGTH:
            raise ValueError("an initializer is no message")
        raw = [f for f in fields(data, tensor.content, tensor.stop) if f.number == RAW_DATA]
        if len(raw) == 1 and raw[0].kind == LENGTH and raw[0].stop - raw[0].content >= _MIN_BYTES:
            start, stop = raw[0].start, raw[0].stop
            cuts.append(_Cut(i, start, raw[0].content, stop))
            n_left = tensor.stop - tensor.content - (stop - start)
            parts += [bytes(data[position : tensor.start]), header(INITIALIZER, n_left)]
            parts += [bytes(data[tensor.content : start]), bytes(data[stop : tensor.stop])]
            position = tensor.stop
    parts.append(bytes(data[position : graph.stop]))
    head = bytes(data[: graph.start]) + header(GRAPH, sum(map(len, parts)))
    return b"".join((head, *parts, bytes(data[graph.stop :]))), cuts
