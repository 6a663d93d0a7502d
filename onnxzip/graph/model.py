"""A model in memory: a light proto, and the arrays of its large initializers beside it.

The arrays are kept once, as numpy arrays (memory maps for external data), and their initializers in
the proto only carry name, type and dims. So models above protobuf's 2 GiB limit work, a session
can share the arrays, and giving a weight other values is a dictionary update.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from onnxzip.errors import ModelError
from onnxzip.types import Array

MIN_OPSET = 7
MIN_DETACHED_BYTES = 1024
_MAX_PROTO_BYTES = 2**31 - 1
_FLOAT_TYPES: dict[int, np.dtype[np.generic]] = {
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    onnx.TensorProto.DOUBLE: np.dtype(np.float64),
}

Body: TypeAlias = onnx.GraphProto | onnx.FunctionProto


@dataclass
class Model:
    """A model whose large main-graph initializers live in `arrays`.

    Attributes:
        proto: the model; an initializer named in `arrays` has no data of its own.
        arrays: read-only values of the detached initializers, by name.
        source: what to call the model in messages.
        n_bytes: size of the file the model came from, external data included.
    """

    proto: onnx.ModelProto
    arrays: dict[str, Array] = field(default_factory=dict)
    source: str = "<model>"
    n_bytes: int = 0

    @property
    def opset(self) -> int:
        """Version of the ai.onnx operator set."""
        return opset_version(self.proto, self.source)

    def copy(self) -> Model:
        """Return a model whose proto can be edited freely; the arrays themselves are shared."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return Model(proto, dict(self.arrays), self.source, self.n_bytes)

    def serialized(self) -> bytes:
        """Return the light proto as bytes, detached initializers marked as external data."""
        return bytes(self.proto.SerializeToString(deterministic=True))

    def names(self) -> set[str]:
        """Return every value and node name in use, at any depth."""
        found: set[str] = set()
        for body in iter_bodies(self.proto):
            for node in body.node:
                found.update(node.input, node.output, (node.name,))
            if isinstance(body, onnx.GraphProto):
                found.update(t.name for t in body.initializer)
                found.update(v.name for v in (*body.input, *body.output, *body.value_info))
            else:
                found.update(body.input, body.output)
        found.discard("")
        return found


def iter_bodies(proto: onnx.ModelProto) -> Iterator[Body]:
    """Yield the main graph, every function and every nested graph, parents first."""
    stack: list[Body] = [proto.graph, *proto.functions]
    while stack:
        body = stack.pop(0)
        yield body
        stack.extend(graph for node in body.node for graph in subgraphs(node))


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs in a node's attributes (If, Loop, Scan bodies)."""
    found = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    for attribute in node.attribute:
        found.extend(attribute.graphs)
    return found


def opset_version(proto: onnx.ModelProto, source: str) -> int:
    """Return the ai.onnx opset version, or raise ModelError."""
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    raise ModelError(f"{source}: imports no ai.onnx operator set, so it is no standard ONNX model")


def read_model(source: Path | bytes | onnx.ModelProto) -> Model:
    """Read a model and detach its large initializers.

    Args:
        source: a file, a serialized model, or a ModelProto (which is not changed).

    Raises:
        ModelError: not a readable, plausible ONNX model; the message names file and place.
    """
    folder: Path | None = None
    if isinstance(source, Path):
        proto, name, folder = _parse(_read_bytes(source), str(source)), str(source), source.parent
    elif isinstance(source, bytes):
        proto, name = _parse(source, "<bytes>"), "<bytes>"
    elif isinstance(source, onnx.ModelProto):
        proto, name = onnx.ModelProto(), "<ModelProto>"
        proto.CopyFrom(source)
    else:
        raise ModelError(f"expected a path, bytes or a ModelProto, got {type(source).__name__}")
    n_bytes = proto.ByteSize() if not isinstance(source, Path) else source.stat().st_size
    _check_header(proto, name)
    model = Model(proto, {}, name, n_bytes)
    try:
        model.n_bytes += _detach(model, folder)
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"{name}: {_one_line(error)}; export the model again") from error
    return model


def float_dtype(tensor: onnx.TensorProto) -> np.dtype[np.generic] | None:
    """Return the numpy dtype of a float tensor, None for any other type."""
    return _FLOAT_TYPES.get(tensor.data_type)


def tensor_dtype(data_type: int) -> np.dtype[np.generic]:
    """Return the numpy dtype of an ONNX element type."""
    return _FLOAT_TYPES.get(data_type) or onnx.helper.tensor_dtype_to_np_dtype(data_type)


def element_type(dtype: np.dtype[np.generic]) -> int:
    """Return the ONNX element type of a numpy dtype."""
    for data_type, known in _FLOAT_TYPES.items():
        if dtype == known:
            return int(data_type)
    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


def tensor_array(tensor: onnx.TensorProto) -> Array:
    """Return a tensor's values (inline data only) as a read-only array."""
    if tensor.HasField("raw_data") and tensor.data_type in _FLOAT_TYPES:
        array = np.frombuffer(tensor.raw_data, _FLOAT_TYPES[tensor.data_type])
        array = array.reshape(tuple(tensor.dims))
    else:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type in _FLOAT_TYPES:
            array = array.astype(_FLOAT_TYPES[tensor.data_type], copy=False)
    array.flags.writeable = False
    return array


def detach(model: Model, tensor: onnx.TensorProto, array: Array) -> None:
    """Move an initializer's values out of the proto into `model.arrays`."""
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(name)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", "in-memory"), ("offset", "0"), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)
    model.arrays[tensor.name] = array


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(f"{path}: is a directory; name the .onnx file in it")
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path}: the file is empty; export the model again")
        if size > _MAX_PROTO_BYTES:
            raise ModelError(
                f"{path}: {size} bytes, but protobuf reads at most 2 GiB; use external data"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(data: bytes, name: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{name}: not an ONNX model, or cut short (protobuf cannot parse it)"
        ) from error
    return proto


def _check_header(proto: onnx.ModelProto, name: str) -> None:
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{name}: holds no graph, so it is not an ONNX model")
    opset, newest = opset_version(proto, name), onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise ModelError(
            f"{name}: ai.onnx opset {opset} is not supported ({MIN_OPSET} to {newest} are); "
            + ("convert the model with onnx.version_converter" if opset < MIN_OPSET else "upgrade onnx")
        )


def _detach(model: Model, folder: Path | None) -> int:
    """Detach initializers, inline external data elsewhere; return the bytes of external files."""
    files: set[Path] = set()
    for tensor in model.proto.graph.initializer:
        where = f"{model.source}: initializer '{tensor.name}'"
        _check_dims(tensor, where)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array, file = _external_array(tensor, folder, where)
            files.add(file)
            detach(model, tensor, array)
        elif tensor.ByteSize() >= MIN_DETACHED_BYTES:
            detach(model, tensor, tensor_array(tensor))
    for tensor in _nested_tensors(model.proto):
        where = f"{model.source}: constant '{tensor.name}'"
        _check_dims(tensor, where)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array, file = _external_array(tensor, folder, where)
            files.add(file)
            _inline(tensor, array)
    return sum(file.stat().st_size for file in files)


def _nested_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors that are no initializers of the main graph."""
    for body in iter_bodies(proto):
        if isinstance(body, onnx.GraphProto) and body is not proto.graph:
            yield from body.initializer
        for node in body.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield attribute.t


def _inline(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.ClearField("data_location")
    del tensor.external_data[:]
    tensor.raw_data = np.ascontiguousarray(array).tobytes()


def _check_dims(tensor: onnx.TensorProto, where: str) -> None:
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"{where} has a negative dimension in {tuple(tensor.dims)}; export it again")
    if tensor.data_location == onnx.TensorProto.EXTERNAL or not tensor.HasField("raw_data"):
        return
    if tensor.data_type not in _FLOAT_TYPES:
        return
    n_expected = _n_elements(tensor) * _FLOAT_TYPES[tensor.data_type].itemsize
    n_found = len(tensor.raw_data)
    if n_expected != n_found:
        raise ModelError(
            f"{where} of shape {tuple(tensor.dims)} needs {n_expected} bytes of data, has {n_found}; "
            "the file is damaged, export the model again"
        )


def _n_elements(tensor: onnx.TensorProto) -> int:
    n_elements = 1
    for dim in tensor.dims:
        n_elements *= dim
    return n_elements


def _external_array(tensor: onnx.TensorProto, folder: Path | None, where: str) -> tuple[Array, Path]:
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(f"{where} refers to external data '{location}'; pass the model's path instead")
    base = folder.resolve()
    file = (base / location).resolve()
    if not location or not file.is_relative_to(base):
        raise ModelError(f"{where} refers to external data outside the model's folder: '{location}'")
    if not file.is_file():
        raise ModelError(
            f"{where} refers to external data '{location}', which is missing beside the model"
        )
    dtype = tensor_dtype(tensor.data_type)
    n_elements = _n_elements(tensor)
    offset, n_wanted = int(entries.get("offset", 0)), n_elements * dtype.itemsize
    length = int(entries.get("length", n_wanted))
    if length != n_wanted or offset < 0 or offset + n_wanted > file.stat().st_size:
        raise ModelError(
            f"{where} needs {n_wanted} bytes at offset {offset} of '{location}', "
            f"which gives {length} of {file.stat().st_size}; the two files do not belong together"
        )
    if n_elements == 0:
        return np.zeros(tuple(tensor.dims), dtype), file
    return np.memmap(file, dtype, "r", offset, tuple(tensor.dims)), file


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
