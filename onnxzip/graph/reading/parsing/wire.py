"""The wire format of protobuf, as far as models are cut and put together in it.

A message is fields one behind the other: a tag, which is the field's number and how its content is
written, then the content (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Numbers of ModelProto.graph, GraphProto.initializer and TensorProto.raw_data (onnx.proto)."""

VARINT, EIGHT_BYTES, LENGTH, GROUP, END_OF_GROUP, FOUR_BYTES = range(6)
"""Wire types."""

_MAX_BITS = 70
"""Of a varint: ten bytes."""


class Bytes(Protocol):
    """Bytes, or a file that is mapped."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> int:
        """One of them, 0 ... 255."""


class Field(NamedTuple):
    """A field of a message: number, wire type, where its tag begins, its content, and the next field."""

    number: int
    kind: int
    start: int
    content: int
    stop: int


def fields(data: Bytes, start: int = 0, stop: int | None = None) -> Iterator[Field]:
    """Yield the fields of a message; those of unknown groups are theirs.

    Args:
        data: holds the message.
        start: where it begins.
        stop: where it ends; None for the end of the data.

    Raises:
        ValueError: it is cut short, or holds what is no field.
    """
    stop = len(data) if stop is None else stop
    position, depth = start, 0
    while position < stop:
        begin = position
        tag, position = _number(data, position, stop)
        number, kind = tag >> 3, tag & 7
        content = position
        if kind == VARINT:
            _, position = _number(data, position, stop)
        elif kind == LENGTH:
            n_bytes, content = _number(data, position, stop)
            position = content + n_bytes
        elif kind in (GROUP, END_OF_GROUP):
            depth += 1 if kind == GROUP else -1
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            position += 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position > stop or depth < 0:
            raise ValueError("cut short")
        if not depth and kind != END_OF_GROUP:
            yield Field(number, kind, begin, content, position)


def header(number: int, n_bytes: int) -> bytes:
    """Return tag and length of a field that holds so many bytes."""
    return varint(number << 3 | LENGTH) + varint(n_bytes)


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _number(data: Bytes, position: int, stop: int) -> tuple[int, int]:
    """Read a varint; return it and where it ends."""
    number = shift = 0
    while position < stop and shift < _MAX_BITS:
        byte = data[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
    raise ValueError("cut short")
