"""A model in memory: a light proto, and the arrays of its large initializers beside it.

The arrays are kept once, as numpy arrays (mapped copies of what the files held, where they are large),
and their initializers in the proto only carry name, type and dims. So models above protobuf's limit of
2 GiB work, a session can share the arrays, and giving a weight other values is a dictionary update.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from onnxzip.disk.named_bytes import NamedBytes
from onnxzip.disk.own_copy import Found, copy_file, is_change, release_pages, settle
from onnxzip.errors import ModelError, path_advice
from onnxzip.graph.reading.external_data import ExternalData, copy_external
from onnxzip.graph.reading.opsets.imports import drop_uncalled_functions, opset_version, settle_imports
from onnxzip.graph.reading.parsing.light_proto import parse
from onnxzip.graph.reading.scope import check_names, iter_bodies, read_by
from onnxzip.graph.reading.tensors import PLAIN_TYPES, element_type, tensor_array
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import is_narrow
from onnxzip.records.file_kinds import N_LOOKED_AT, kind_of


class HasModelProto(Protocol):
    """What holds a model, such as the ONNXProgram that torch.onnx.export returns."""

    @property
    def model_proto(self) -> onnx.ModelProto:
        """The model."""


PlainModel: TypeAlias = Path | bytes | onnx.ModelProto
ModelLike: TypeAlias = str | PathLike[str] | PlainModel | HasModelProto
"""What a model may be given as: a path, its serialised bytes, a ModelProto, or what holds one."""

MIN_DETACHED_BYTES = 1024
"""Smaller arrays stay in the proto: shape inference may need them, and a copy of them costs nothing."""

_MIN_DETACHED_LIST_BYTES = 1 << 20
"""Lists of int64 stay up to this: far longer than any list of sizes, short enough to be copied often."""

_MAX_PROTO_BYTES = 2**31 - 1
"""protobuf parses no more."""


@dataclass
class Model:
    """A model whose large main-graph initializers live in `arrays`.

    Attributes:
        proto: the model; an initializer named in `arrays` has no data of its own.
        arrays: read-only values of the detached initializers, by name.
        source: what to call the model in messages.
        n_bytes: size of the file the model came from, with what it refers to of external data.
        digest: SHA-256 of that file, or of the serialised ModelProto, without external data; "" for a
            ModelProto above 2 GiB.
        files: the files that were read for it.
    """

    proto: onnx.ModelProto
    arrays: dict[str, Array] = field(default_factory=dict)
    source: str = "<model>"
    n_bytes: int = 0
    digest: str = ""
    files: tuple[Path, ...] = ()

    @property
    def opset(self) -> int:
        """Version of the ai.onnx operator set."""
        return opset_version(self.proto, self.source)

    def copy(self) -> Model:
        """Return a model whose proto can be edited freely; the arrays themselves are shared."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return replace(self, proto=proto, arrays=dict(self.arrays))

    def array(self, tensor: onnx.TensorProto) -> Array:
        """Return the values of an initializer of the main graph, read-only."""
        found = self.arrays.get(tensor.name)
        return tensor_array(tensor) if found is None else found

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
                found.update(t.values.name for t in body.sparse_initializer)
                found.update(v.name for v in (*body.input, *body.output, *body.value_info))
            else:
                found.update(body.input, body.output)
        found.discard("")
        return found


def plain_model(source: ModelLike) -> PlainModel:
    """Return a path as a Path, and the ModelProto of what holds one.

    Raises:
        ModelError: it is no model.
    """
    if isinstance(source, str | PathLike):
        return Path(source)
    try:
        proto = getattr(source, "model_proto", source)
    except Exception as error:  # a foreign class may raise anything
        raise ModelError(
            f"<{type(source).__name__}>: {_one_line(error)}; export the model again"
        ) from error
    if isinstance(proto, bytes | onnx.ModelProto):
        return proto
    raise ModelError(
        f"expected a path, bytes or a ModelProto, got a {type(source).__name__}; pass one of those"
    )


def read_model(source: ModelLike) -> Model:
    """Read a model and detach its large initializers.

    Args:
        source: a file, a serialized model, a ModelProto (which is not changed), or what holds one.

    Raises:
        ModelError: not a readable, plausible ONNX model; the message names file and place.
    """
    source = plain_model(source)
    file, beside = None, dict[str, Array]()
    if isinstance(source, Path):
        file, copy = _copy_model(source)
        model, beside = _parse(copy, str(source))
        release_pages([copy])
    elif isinstance(source, bytes):
        model, _ = _parse(source, source.name if isinstance(source, NamedBytes) else "<bytes>")
    else:
        model = Model(onnx.ModelProto(), {}, "<ModelProto>", source.ByteSize(), _digest(source))
        model.proto.CopyFrom(source)
    name = model.source
    _settle_header(model.proto, name)
    try:
        check_names(model.proto, name)
        external = copy_external(model.proto, file, name, beside)
        _detach(model, external)
        settle(model.arrays)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{name}: {_one_line(error)}; export the model again") from error
    except OSError as error:
        raise _unreadable(name, error) from error
    model.n_bytes += external.n_bytes
    model.files = (*([source] if isinstance(source, Path) else []), *external.files)
    # A cleared field's memory is only freed with its message, so a light copy takes its place.
    model.proto = onnx.ModelProto.FromString(model.proto.SerializeToString())
    return model


def is_detachable(array: Array) -> bool:
    """Whether values may leave the proto: they are large, and no shape is inferred from them.

    onnxruntime does not look for a list of sizes (of a Split into more than 128 parts, say) elsewhere.
    """
    is_list = array.ndim == 1 and array.dtype == np.int64
    return array.nbytes >= (_MIN_DETACHED_LIST_BYTES if is_list else MIN_DETACHED_BYTES)


def add_initializer(model: Model, name: str, array: Array) -> onnx.TensorProto:
    """Add an initializer to the main graph; its values go to `model.arrays` where they may."""
    data_type, graph = element_type(array.dtype), model.proto.graph
    tensor: onnx.TensorProto = graph.initializer.add(name=name, data_type=data_type, dims=array.shape)
    if is_detachable(array) or is_narrow(array.dtype):
        detach(model, tensor, array)
    else:
        tensor.raw_data = np.ascontiguousarray(array).tobytes()
    return tensor


def detach(model: Model, tensor: onnx.TensorProto, array: Array) -> None:
    """Move an initializer's values out of the proto into `model.arrays`; narrow ones stay in it."""
    if is_narrow(array.dtype):
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(array, order="C"), tensor.name))
        return
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(name)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", "in-memory"), ("offset", "0"), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)
    model.arrays[tensor.name] = array


def _copy_model(path: Path) -> tuple[Found, Array]:
    """Return a model's file as it was found, and a copy of it: uint8, (n_bytes,)."""
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a directory; name the .onnx file in it")
        found = Found.at(path)
        if not path.is_file():
            raise ModelError(f"{path}: is a device or a pipe; write the model to a file and name that")
        if found.n_bytes == 0:
            raise ModelError(f"{path}: the file is empty; export the model again")
        if found.n_bytes > _MAX_PROTO_BYTES:
            raise ModelError(
                f"{path}: {found.n_bytes} bytes, but protobuf reads at most 2 GiB; use external data"
            )
        return found, copy_file(found)
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error


def _unreadable(name: str, error: OSError | ValueError) -> ModelError:
    reason = getattr(error, "strerror", None) or error
    place = getattr(error, "filename", None)
    where = name if place is None or str(place) == name else f"{name}: its data {place}"
    advice = "start again when that is done" if is_change(error) else path_advice(Path(place or name))
    return ModelError(f"{where}: cannot be read: {reason}; {advice}")


def _parse(data: bytes | Array, name: str) -> tuple[Model, dict[str, Array]]:
    """Return a model, and by name the values of initializers that are beside it already."""
    finding = "not an ONNX model, or cut short (protobuf cannot parse it); export or fetch it again"
    head = bytes(data[:N_LOOKED_AT])
    try:
        proto, beside = parse(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelError(f"{name}: {kind_of(head) or finding}") from error
    if not proto.HasField("graph") and (kind := kind_of(head)):  # other formats parse as fields unknown
        raise ModelError(f"{name}: {kind}")
    digest = hashlib.sha256(data if isinstance(data, bytes) else data.data).hexdigest()
    return Model(proto, {}, name, len(data), digest), beside


def _digest(proto: onnx.ModelProto) -> str:
    """Return the SHA-256 of a serialised ModelProto, "" where it is too large to be serialised."""
    if proto.ByteSize() > _MAX_PROTO_BYTES:
        return ""
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


_MAX_PORTS = 4096
"""Inputs, and outputs, of a model: ten times what the caches of a large language model take. For each
run onnxruntime's Python interface looks each input up in a list of all, 2 s for 20,000."""


def _settle_header(proto: onnx.ModelProto, name: str) -> None:
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{name}: holds no graph, so it is not an ONNX model; export it again")
    if not proto.graph.output:
        raise ModelError(f"{name}: the model has no output; export it with those that are wanted")
    constants = {tensor.name for tensor in proto.graph.initializer}  # inputs as well, up to IR 3
    n_inputs = sum(value.name not in constants for value in proto.graph.input)
    for n_ports, what in ((n_inputs, "inputs"), (len(proto.graph.output), "outputs")):
        if n_ports > _MAX_PORTS:
            raise ModelError(
                f"{name}: the model has {n_ports:,} {what}, more than {_MAX_PORTS:,}; export fewer"
            )
    settle_imports(proto, name)
    drop_uncalled_functions(proto)


def _detach(model: Model, external: ExternalData) -> None:
    """Detach the main graph's initializers where they may be, and inline all other external data."""
    graph = model.proto.graph
    # onnxruntime drops an initializer nobody reads, and then refuses to be handed its values.
    read = read_by(graph.node) | {v.name for v in graph.output}
    for tensor in graph.initializer:
        outside = external.of_initializers.get(tensor.name)
        array = outside
        may_leave = tensor.data_type in PLAIN_TYPES and tensor.name in read
        if array is None and may_leave and tensor.ByteSize() >= MIN_DETACHED_BYTES:
            array = tensor_array(tensor)
        if array is not None and may_leave and is_detachable(array):
            detach(model, tensor, array)
        elif outside is not None:
            _inline(tensor, outside)
    for tensor, array in external.of_others:
        _inline(tensor, array)


def _inline(tensor: onnx.TensorProto, array: Array) -> None:
    tensor.ClearField("data_location")
    del tensor.external_data[:]
    tensor.raw_data = np.ascontiguousarray(array).tobytes()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
