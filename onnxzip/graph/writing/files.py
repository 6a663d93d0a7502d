"""Puts a model together again and writes it so that a reader never sees half a file."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import onnx

from onnxzip.errors import OutputError
from onnxzip.graph.reading.model import Model


def check_output(original: Model, output: Path, overwrite: bool) -> Path:
    """Refuse an output that must not be written, before any work is done.

    Raises:
        OutputError: it is the input, a directory, or exists without `overwrite`, or its folder does
            not exist.
    """
    if output.is_dir():
        raise OutputError(f"{output}: is a directory; name the file to write")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output}: is not a regular file (a device or pipe); name another output")
    if output.exists() and Path(original.source).exists() and output.samefile(original.source):
        raise OutputError(f"{output}: is the input itself; give the output another name")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; use `overwrite` to replace it")
    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output}: the folder {output.parent} does not exist; make it first")
    return output


MAX_INLINE_BYTES = 2**31 - 2**24
"""Above this, arrays go to a file beside the model: protobuf reads at most 2 GiB, and 16 MiB are left
for the lengths and tags around the arrays."""

Approve: TypeAlias = Callable[[int, str], None]
"""Called with a model's size and the SHA-256 of its file; it may raise, and nothing is written."""

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
    return n_bytes if n_bytes > MAX_INLINE_BYTES else int(to_proto(model).ByteSize())


def to_proto(model: Model) -> onnx.ModelProto:
    """Return a self-contained ModelProto.

    Raises:
        OutputError: the model is larger than protobuf's 2 GiB.
    """
    n_bytes = inline_bytes(model)
    if n_bytes > MAX_INLINE_BYTES:
        raise OutputError(f"{model.source}: {n_bytes} bytes do not fit a ModelProto; write to a path")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.arrays:
            tensor.ClearField("data_location")
            del tensor.external_data[:]
            tensor.raw_data = _contiguous(model.arrays[tensor.name])
    return proto


def write_model(model: Model, path: Path, approve: Approve | None = None) -> None:
    """Write a model to a temporary file beside `path`, sync it, and rename it.

    Above 2 GiB the arrays go to a second file, as external data. Its name has a digest of its
    content, so that the rename of the model switches from the old pair of files to the new one.

    Args:
        model: what to write.
        path: the file that is written or replaced.
        approve: called when all bytes are there, before anything is replaced.

    Raises:
        OutputError: the file cannot be written; `path` is as it was.
    """
    try:
        if inline_bytes(model) > MAX_INLINE_BYTES:
            _write_external(model, path, approve)
            return
        with replace_file(path) as file:
            data = to_proto(model).SerializeToString(deterministic=True)
            file.write(data)
            if approve is not None:
                approve(len(data), hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends without error."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is not a regular file (a device or pipe); name another output")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        _remove(Path(name))
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Let a rename survive a power cut, where the platform can; the new file is in its place anyway.

    Windows opens no folders, and some network file systems sync none.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file that nothing needs; that this fails must not hide what happened before."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_external(model: Model, path: Path, approve: Approve | None) -> None:
    """Write the data under a name of its own, then the model that names it, then remove older data."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    data_path, is_new = _write_data(model, proto, path)
    try:
        with replace_file(path) as file:
            data = proto.SerializeToString(deterministic=True)
            file.write(data)
            if approve is not None:
                n_bytes = len(data) + data_path.stat().st_size
                approve(n_bytes, hashlib.sha256(data).hexdigest())
    except BaseException:
        if is_new:
            _remove(data_path)
        raise
    ours = re.compile(re.escape(path.name) + rf"\.[0-9a-f]{{{_N_DIGEST_DIGITS}}}\.data")
    with suppress(OSError):  # the folder may be one that lists nothing; the new model is complete
        for other in path.parent.iterdir():
            if ours.fullmatch(other.name) and other != data_path:
                _remove(other)


def _write_data(model: Model, proto: onnx.ModelProto, path: Path) -> tuple[Path, bool]:
    """Write the arrays, point the tensors of `proto` at them; return the file and whether it is new."""
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True
    ) as folder:
        temporary = Path(folder) / "data"
        with replace_file(temporary) as data:
            for tensor in proto.graph.initializer:
                if tensor.name in model.arrays:
                    _append(data, tensor, model.arrays[tensor.name])
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:_N_DIGEST_DIGITS]
        data_path = path.with_name(f"{path.name}.{digest}.data")
        is_new = not data_path.exists()
        temporary.replace(data_path)
    for tensor in proto.graph.initializer:
        if tensor.name in model.arrays:
            tensor.external_data.add(key="location", value=data_path.name)
    return data_path, is_new


def _append(
    data: BinaryIO,
    tensor: onnx.TensorProto,
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> None:
    data.write(b"\0" * (-data.tell() % _PAGE_BYTES))
    offset = data.tell()
    data.write(_contiguous(array))
    del tensor.external_data[:]
    for key, value in (("offset", str(offset)), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)


def _contiguous(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    return np.ascontiguousarray(array).tobytes()
