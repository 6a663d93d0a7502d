"""Puts a model together again and writes it so that a reader never sees half a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from onnxzip.errors import OutputError
from onnxzip.graph.model import Model

MAX_INLINE_BYTES = 2**31 - 2**24
"""Above this, arrays go to a file beside the model: protobuf reads at most 2 GiB."""


def inline_bytes(model: Model) -> int:
    """Return about how many bytes the model takes in one file."""
    return int(model.proto.ByteSize()) + sum(array.nbytes for array in model.arrays.values())


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


def write_model(model: Model, path: Path) -> int:
    """Write a model to a temporary file beside `path`, sync it, rename it; return bytes written.

    Above 2 GiB the arrays go to `path` + ".data", as external data.

    Raises:
        OutputError: the file cannot be written; `path` is as it was.
    """
    try:
        if inline_bytes(model) <= MAX_INLINE_BYTES:
            with replace_file(path) as file:
                file.write(to_proto(model).SerializeToString(deterministic=True))
            return path.stat().st_size
        return _write_external(model, path)
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
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_external(model: Model, path: Path) -> int:
    """Write both files under temporary names, and rename them only when both are complete."""
    data_path = path.with_name(path.name + ".data")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    with replace_file(data_path) as data, replace_file(path) as file:
        for tensor in proto.graph.initializer:
            if tensor.name in model.arrays:
                _append(data, tensor, model.arrays[tensor.name], data_path.name)
        data.flush()
        os.fsync(data.fileno())
        file.write(proto.SerializeToString(deterministic=True))
    return path.stat().st_size + data_path.stat().st_size


def _append(
    data: BinaryIO,
    tensor: onnx.TensorProto,
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    name: str,
) -> None:
    data.write(b"\0" * (-data.tell() % 4096))
    offset = data.tell()
    data.write(_contiguous(array))
    del tensor.external_data[:]
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)


def _contiguous(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    return np.ascontiguousarray(array).tobytes()
