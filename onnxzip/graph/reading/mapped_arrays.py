"""Lets the arrays of a model lie in our copy of its file, so that their memory can be given back.

A large array becomes a read-only view of the copy: its pages are read when they are touched.
"""

from __future__ import annotations

import numpy as np

from onnxzip.disk.own_copy import mapping_of
from onnxzip.records.aliases import Array

_MIN_BYTES = 1 << 16
"""Smaller arrays stay in memory: what 16 pages hold is not worth a search in the file."""

_NAME_TAG, DATA_TAG = b"\x42", b"\x4a"
"""TensorProto.name = 8 and .raw_data = 9 in front of their lengths (protobuf's wire type 2)."""


def share_with_copy(arrays: dict[str, Array], copy: Array) -> None:
    """Replace large arrays by views of the same bytes in the mapped copy that they were parsed from.

    An array is looked for behind its name, as protobuf writes it, and compared; what is written in
    another way stays as it is, and so does all where the copy lies in memory.

    Args:
        arrays: by initializer name, in the file's order; changed in place.
        copy: the model's file, uint8, (n_bytes,).
    """
    mapping = mapping_of(copy)
    if mapping is None:
        return
    position = 0
    for name, array in arrays.items():
        if array.nbytes < _MIN_BYTES or mapping_of(array) is not None:
            continue
        header = _header(name, array.nbytes)
        found = mapping.find(header, position)
        if found < 0 or found + len(header) + array.nbytes > len(mapping):
            return
        position = found + len(header)
        view = np.frombuffer(mapping, array.dtype, array.size, position).reshape(array.shape)
        if np.array_equal(view.view(np.uint8), array.view(np.uint8)):
            arrays[name] = view
            position += array.nbytes


def _header(name: str, n_bytes: int) -> bytes:
    """Return what protobuf writes in front of a tensor's raw data."""
    encoded = name.encode()
    return _NAME_TAG + varint(len(encoded)) + encoded + DATA_TAG + varint(n_bytes)


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
