"""Copies of what users' files hold, made once: nobody else can change them, or cut them short.

A mapped file that another program cuts short ends the process by a signal (SIGBUS) that nothing can
catch. So no file of a user's is ever mapped. Large copies lie in a temporary file that has no name and
that is mapped instead: their memory can be given back (`release_pages`) and is read again when touched.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from errno import ESTALE
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from onnxzip.disk.mapped_file import MappedFile, unnamed_file
from onnxzip.records.aliases import Array

_MIN_DISK_BYTES = 1 << 20
"""Smaller copies stay in memory: they are not worth a file."""

_CHUNK_BYTES = 1 << 20
"""What is copied at once."""

_MIN_SETTLED_BYTES, _MIN_TOGETHER_BYTES = 1 << 16, 1 << 26
"""Arrays that go to a file when they are so large, each and in all: 16 pages, and what sessions take in
memory as well (`graph.writing.loadable`)."""

_ALIGNMENT = 64
"""A cache line, and the widest vector that onnxruntime's kernels load."""

Chunks: TypeAlias = Iterable[bytes | memoryview]


@dataclass(frozen=True)
class Found:
    """A file as it was found; what is read of it later has to be of that file still.

    Attributes:
        path: where it was found.
        identity: device and number of the file, whatever its name.
        n_bytes: its size.
        changed_ns: when it was written to, in nanoseconds.
    """

    path: Path
    identity: tuple[int, int]
    n_bytes: int
    changed_ns: int

    @classmethod
    def at(cls, path: Path) -> Found:
        """Look at a file.

        Raises:
            OSError: it is not there, or may not be looked at.
        """
        return cls._of(path, path.stat())

    @classmethod
    def _of(cls, path: Path, status: os.stat_result) -> Found:
        return cls(path, (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns)

    def check(self, file: BinaryIO | None = None) -> None:
        """Raise OSError unless the file at the path, or the opened file, is the one that was found."""
        status = self.path.stat() if file is None else os.fstat(file.fileno())
        if self._of(self.path, status) != self:
            raise self.changed

    @property
    def changed(self) -> OSError:
        """The error that the file is not what it was."""
        return OSError(ESTALE, "another program changed it while it was read", str(self.path))


def is_change(error: Exception) -> bool:
    """Whether an error says that a file is not what it was."""
    return isinstance(error, OSError) and error.errno == ESTALE


def is_device(path: Path) -> bool:
    """Whether a path is there and is no file or folder: to read a pipe or a device may never end."""
    return path.exists() and not path.is_file() and not path.is_dir()


@dataclass(frozen=True)
class Part:
    """Some bytes of a file."""

    file: Found
    start: int
    n_bytes: int

    @property
    def stop(self) -> int:
        """The position behind the last byte."""
        return self.start + self.n_bytes


def copy_file(found: Found) -> Array:
    """Return a copy of a whole file: uint8, (n_bytes,), read-only.

    Raises:
        OSError: it cannot be read, or is not what was found.
    """
    return copy_parts([Part(found, 0, found.n_bytes)])[0]


def copy_parts(parts: Sequence[Part]) -> list[Array]:
    """Return a copy of each part: uint8, (n_bytes,), read-only.

    What several parts have in common is read once, into one copy. Each part keeps its position modulo
    64 bytes, so that arrays lie aligned as they did in their file.

    Raises:
        OSError: a file cannot be read, or is not what was found.
    """
    spans, span_of = join_parts(parts)
    places: list[int] = []
    n_bytes = 0
    for span in spans:
        places.append(n_bytes + (span.start - n_bytes) % _ALIGNMENT)
        n_bytes = places[-1] + span.n_bytes
    own = _own_bytes(lambda: _read_spans(spans, places), n_bytes)
    starts = [places[i] + part.start - spans[i].start for part, i in zip(parts, span_of, strict=True)]
    return [own[start : start + part.n_bytes] for part, start in zip(parts, starts, strict=True)]


def join_parts(parts: Sequence[Part]) -> tuple[list[Part], list[int]]:
    """Return the same bytes in spans that neither overlap nor touch, and the index of each part's."""
    spans: list[Part] = []
    span_of = [0] * len(parts)
    for i in sorted(range(len(parts)), key=lambda i: (parts[i].file.identity, parts[i].start)):
        part, last = parts[i], spans[-1] if spans else None
        if last is not None and part.file.identity == last.file.identity and part.start <= last.stop:
            spans[-1] = Part(last.file, last.start, max(last.stop, part.stop) - last.start)
        else:
            spans.append(part)
        span_of[i] = len(spans) - 1
    return spans, span_of


def share_with_disk(arrays: Sequence[Array]) -> list[Array]:
    """Return read-only views of the arrays' bytes in a temporary file that has no name.

    Where there is no space for such a file, the arrays are returned as they are.
    """
    if not any(array.nbytes for array in arrays):
        return list(arrays)
    return make_on_disk(lambda: arrays)


def make_on_disk(make: Callable[[], Iterable[Array]]) -> list[Array]:
    """Return read-only views of arrays that are written to such a file one after the other.

    Args:
        make: yields the arrays; called again where there is no space, and they stay in memory.
    """
    kinds: list[tuple[np.dtype[Any], tuple[int, ...]]] = []

    def chunks() -> Chunks:
        for array in make():
            kinds.append((array.dtype, array.shape))
            yield from _aligned(array)

    mapping = _on_disk(chunks())
    if mapping is None:
        return list(make())
    views: list[Array] = []
    position = 0
    for dtype, shape in kinds:
        view = np.frombuffer(mapping, dtype, math.prod(shape), position)
        views.append(view.reshape(shape))
        position += view.nbytes + -view.nbytes % _ALIGNMENT
    return views


def settle(arrays: dict[str, Array]) -> None:
    """Move arrays that lie in memory to a file, in place, where they are large together."""
    large = {
        name: array
        for name, array in arrays.items()
        if array.nbytes >= _MIN_SETTLED_BYTES and mapping_of(array) is None
    }
    if sum(array.nbytes for array in large.values()) >= _MIN_TOGETHER_BYTES:
        arrays.update(zip(large, share_with_disk(list(large.values())), strict=True))


def as_bytes(array: Array) -> Array:
    """Return the bytes of an array, in its order: uint8, (n_bytes,); a view where they lie together."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


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


def position_of(array: Array) -> tuple[MappedFile, int] | None:
    """Return the file of ours that an array lies in, in one piece, and where; None for any other."""
    mapping = mapping_of(array)
    if not isinstance(mapping, MappedFile) or not mapping.name:
        return None
    if not (array.flags.c_contiguous and array.flags.aligned):
        return None
    start = int(np.frombuffer(mapping, np.uint8).ctypes.data)
    return mapping, int(array.ctypes.data) - start


def _aligned(array: Array) -> Chunks:
    return as_bytes(array).data, bytes(-array.nbytes % _ALIGNMENT)


def _read_spans(spans: Sequence[Part], places: Sequence[int]) -> Iterator[bytes]:
    """Yield the bytes of all spans, each at its place, with zeros before it."""
    position = 0
    for span, place in zip(spans, places, strict=True):
        yield bytes(place - position)
        yield from _read_span(span)
        position = place + span.n_bytes


def _read_span(span: Part) -> Iterator[bytes]:
    with span.file.path.open("rb", buffering=0) as file:
        span.file.check(file)
        file.seek(span.start)
        n_left = span.n_bytes
        while n_left:
            chunk = file.read(min(n_left, _CHUNK_BYTES))
            if not chunk:
                raise span.file.changed
            yield chunk
            n_left -= len(chunk)
        span.file.check(file)


def _own_bytes(read: Callable[[], Chunks], n_bytes: int) -> Array:
    """Return what is read as a read-only array, in memory where it is little or the disk has no room."""
    mapping = _on_disk(read()) if n_bytes >= _MIN_DISK_BYTES else None
    if mapping is not None:
        return np.frombuffer(mapping, np.uint8)
    own = np.empty(n_bytes, np.uint8)
    position = 0
    for chunk in read():
        own[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
        position += len(chunk)
    own.flags.writeable = False
    return own


def _on_disk(chunks: Chunks) -> mmap.mmap | None:
    """Return chunks as a mapped temporary file that has no name, None where there is no room for it."""
    try:
        file = unnamed_file()
    except OSError:
        return None
    with file:
        if not all(_has_room(file, chunk) for chunk in chunks):
            return None
        try:
            return MappedFile.of(file)
        except OSError:
            return None


def _has_room(file: BinaryIO, chunk: bytes | memoryview) -> bool:
    """Write a chunk to the end of a file; return whether that was possible."""
    left = memoryview(chunk)
    try:
        while left.nbytes:
            left = left[file.write(left) :]
    except OSError:
        return False
    return True
