"""Lets the arrays of a model stay in the file they came from, so that their memory can be given back.

A large array becomes a read-only view of the mapped file. Its pages are read when they are touched;
`release_pages` drops them, and the next touch reads them again.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from onnxzip.records.aliases import Array

_MIN_BYTES = 1 << 16
"""Smaller arrays stay in memory: what 16 pages hold is not worth a search in the file."""

_ALIGNMENT = 64
"""A cache line, and the widest vector that onnxruntime's kernels load."""

_NAME_TAG, _DATA_TAG = b"\x42", b"\x4a"  # TensorProto.name = 8, .raw_data = 9; both of wire type 2


def share_with_file(arrays: dict[str, Array], path: Path) -> None:
    """Replace large arrays by views of the same bytes in the file that they were parsed from.

    An array is looked for behind its name, as protobuf writes it, and compared; what is written in
    another way stays as it is.

    Args:
        arrays: by initializer name, in the file's order; changed in place.
        path: the model's file.
    """
    if not any(array.nbytes >= _MIN_BYTES for array in arrays.values()):
        return
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    position = 0
    for name, array in arrays.items():
        if array.nbytes < _MIN_BYTES or mapping_of(array) is not None:
            continue
        encoded = name.encode()
        header = _NAME_TAG + _varint(len(encoded)) + encoded + _DATA_TAG + _varint(array.nbytes)
        found = mapping.find(header, position)
        if found < 0 or found + len(header) + array.nbytes > len(mapping):
            return
        position = found + len(header)
        view = np.frombuffer(mapping, array.dtype, array.size, position).reshape(array.shape)
        if np.array_equal(view.view(np.uint8), array.view(np.uint8)):
            arrays[name] = view
            position += array.nbytes


def share_with_disk(arrays: Sequence[Array]) -> list[Array]:
    """Return read-only views of the arrays' bytes in a temporary file that has no name.

    Where there is no space for such a file, the arrays are returned as they are.
    """
    if not any(array.nbytes for array in arrays):
        return list(arrays)
    try:
        with tempfile.TemporaryFile() as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
                file.write(bytes(-array.nbytes % _ALIGNMENT))
            file.flush()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return list(arrays)
    views: list[Array] = []
    position = 0
    for array in arrays:
        view = np.frombuffer(mapping, array.dtype, array.size, position)
        views.append(view.reshape(array.shape))
        position += array.nbytes + -array.nbytes % _ALIGNMENT
    return views


def release_pages(arrays: Iterable[Array]) -> None:
    """Give back the memory of the pages that mapped arrays have touched; they stay valid."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    mappings = {id(m): m for m in map(mapping_of, arrays) if m is not None}
    for mapping in mappings.values():
        mapping.madvise(mmap.MADV_DONTNEED)


def mapping_of(array: Array) -> mmap.mmap | None:
    """Return the mapped file that an array is a view of, None if it lies in memory."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return base if isinstance(base, mmap.mmap) else None


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
