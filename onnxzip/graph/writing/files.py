"""Puts a model together again and writes it so that a reader never sees half a file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import onnx

from onnxzip.disk.own_copy import as_bytes, release_pages
from onnxzip.disk.replacing import (
    Replacement,
    check_replaceable,
    is_same_file,
    real_place,
    replacement,
)
from onnxzip.disk.temporary import remove
from onnxzip.errors import OnnxzipError, OutputError, OutputExistsError, reason_of
from onnxzip.graph.reading.model import Model
from onnxzip.graph.writing.serialised import Chunk, n_serialised, serialised, without_arrays
from onnxzip.records.aliases import Array


def check_output(output: Path, overwrite: bool, original: Model, others: Iterable[Path] = ()) -> Path:
    """Refuse an output that must not be written, before any work is done.

    Args:
        output: where to write.
        overwrite: whether it may exist.
        original: the model that was read.
        others: what else is read.

    Returns:
        Where the file will lie: links are followed.

    Raises:
        OutputError: it is one of the files that are read, or no file, or its folder does not exist or
            cannot be written to.
        OutputExistsError: it exists, and `overwrite` does not allow that.
    """
    try:
        output.absolute()
    except OSError as error:
        raise OutputError(f"{output}: the working folder is gone; change to another one") from error
    check_replaceable(output)
    place = real_place(output)
    check_unread(output, original, others)
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output}: exists already; use `overwrite` to replace it")
    folder = place.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{output}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: the folder {folder} is not writable; name another one")
    return place


def check_unread(output: Path, original: Model, others: Iterable[Path] = ()) -> None:
    """Raise OutputError if a file to be written is one that is read: the model, its data, or another."""
    for path in (*original.files, *others):
        if is_same_file(output, path):
            role = "the input itself" if path == Path(original.source) else f"read by this run ({path})"
            raise OutputError(f"{output}: is {role}; give the output another name")


MAX_INLINE_BYTES = 2**31 - 2**24
"""Above this, arrays go to a file beside the model: protobuf reads at most 2 GiB, and 16 MiB are left
for the lengths and tags around the arrays."""

Approve: TypeAlias = Callable[[int, str, Path | None], None]
"""Called with a model's size, the SHA-256 of its file, and the file of its external data, None where it
has none; where it raises, nothing is replaced."""

_N_DIGEST_DIGITS = 16
"""Of SHA-256: 64 bits, so that two contents of one model never share the name of their data file."""

_PAGE_BYTES = 4096
"""Arrays begin on a page, so that a runtime can map them, as onnx's ExternalData.md asks."""


def inline_bytes(model: Model) -> int:
    """Return about how many bytes the model takes in one file."""
    return int(model.proto.ByteSize()) + sum(array.nbytes for array in model.arrays.values())


def n_bytes_of(model: Model) -> int:
    """Return how many bytes `write_model` writes, external data without its padding."""
    n_bytes = inline_bytes(model)
    return n_bytes if n_bytes > MAX_INLINE_BYTES else n_serialised(serialised(model))


def to_proto(model: Model) -> onnx.ModelProto:
    """Return a self-contained ModelProto.

    Raises:
        OutputError: the model is larger than protobuf's 2 GiB.
    """
    n_bytes = inline_bytes(model)
    if n_bytes > MAX_INLINE_BYTES:
        raise OutputError(f"{model.source}: {n_bytes} bytes do not fit a ModelProto; write to a path")
    proto = without_arrays(model)
    for tensor in proto.graph.initializer:
        if tensor.name in model.arrays:
            tensor.raw_data = as_bytes(model.arrays[tensor.name]).tobytes()
    return proto


def write_model(
    model: Model,
    path: Path,
    approve: Approve | None = None,
    *,
    overwrite: bool = True,
    check: Callable[[Path], None] | None = None,
    kept: Collection[Path] = (),
) -> None:
    """Write a model to a temporary file beside `path`, sync it, and rename it.

    Above 2 GiB the arrays go to a second file, as external data. Its name has a digest of its
    content, so that the rename of the model switches from the old pair of files to the new one.

    Args:
        model: what to write.
        path: the file that is written or replaced.
        approve: called at last, before anything is replaced.
        overwrite: whether to replace a file that is there by then.
        check: called before that with the path of the complete file; it may raise as well.
        kept: files that must stay, whatever their names.

    Raises:
        OutputError: the file cannot be written; `path` is as it was.
    """
    proto, data_path, is_new = None, None, False
    new: Replacement | None = None
    try:
        if inline_bytes(model) > MAX_INLINE_BYTES:
            proto, data_path, is_new = _write_data(model, path)
        with replacement(path) as new:
            chunks = (
                serialised(model) if proto is None else [proto.SerializeToString(deterministic=True)]
            )
            written = _write_chunks(chunks, new)
            if check is not None:
                _check(check, new)
            if approve is not None:
                n_data_bytes = data_path.stat().st_size if data_path else 0
                approve(written[0] + n_data_bytes, written[1], data_path)
            new.put_in_place(overwrite)
    except BaseException as error:
        if data_path is not None and is_new and not (new is not None and new.is_in_place):
            remove(data_path)
        if isinstance(error, OSError):
            raise OutputError(f"{path}: cannot be written: {reason_of(error)}") from error
        raise
    _remove_older_data(path, {data_path, *kept})


def _check(check: Callable[[Path], None], new: Replacement) -> None:
    """Check a file that is written, unless it is gone: that is no fault of its content."""
    try:
        check(new.temporary)
    except OnnxzipError:
        new.check_there()
        raise


def _write_chunks(chunks: Iterable[Chunk], new: Replacement) -> tuple[int, str]:
    """Write what stands in the file itself; return its size and SHA-256."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk if isinstance(chunk, bytes) else as_bytes(chunk).data)
        _write_chunk(chunk, new.file)
    n_bytes = new.file.tell()
    new.complete()
    return n_bytes, digest.hexdigest()


def _write_chunk(chunk: Chunk, file: BinaryIO) -> None:
    """Write bytes, or an array's; what is mapped needs no memory any more."""
    if isinstance(chunk, bytes):
        file.write(chunk)
    else:
        file.write(as_bytes(chunk).data)
        release_pages([chunk])


def _remove_older_data(path: Path, kept: Collection[Path | None]) -> None:
    """Remove the data of models that were at a path before, or of a run that died on its way there."""
    ours = re.compile(re.escape(path.name) + rf"\.[0-9a-f]{{{_N_DIGEST_DIGITS}}}\.data")
    with suppress(OSError):  # the folder may be one that lists nothing; the new model is complete
        for other in path.parent.iterdir():
            is_old = ours.fullmatch(other.name) is not None
            if is_old and not any(is_same_file(other, needed) for needed in kept if needed):
                remove(other)


def _write_data(model: Model, path: Path) -> tuple[onnx.ModelProto, Path, bool]:
    """Write the arrays beside the model; return what names them, the file, and whether it is new."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    with replacement(path) as data:
        for tensor in proto.graph.initializer:
            if tensor.name in model.arrays:
                _append(data.file, tensor, model.arrays[tensor.name])
        data.complete()
        with data.temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:_N_DIGEST_DIGITS]
        data_path = path.with_name(f"{path.name}.{digest}.data")
        is_new = not data_path.exists()
        data.temporary.replace(data_path)
    for tensor in proto.graph.initializer:
        if tensor.name in model.arrays:
            tensor.external_data.add(key="location", value=data_path.name)
    return proto, data_path, is_new


def _append(data: BinaryIO, tensor: onnx.TensorProto, array: Array) -> None:
    data.write(b"\0" * (-data.tell() % _PAGE_BYTES))
    offset = data.tell()
    _write_chunk(array, data)
    del tensor.external_data[:]
    for key, value in (("offset", str(offset)), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)
