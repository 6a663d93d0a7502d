"""Data that tensors keep in other files than the model's: found wherever it hides, copied once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import onnx

from onnxzip.disk.own_copy import Found, Part, copy_parts, join_parts
from onnxzip.errors import ModelError
from onnxzip.graph.reading.scope import Body
from onnxzip.graph.reading.tensors import PLAIN_TYPES, check_tensor, n_raw_bytes
from onnxzip.records.aliases import Array
from onnxzip.records.file_kinds import file_kind


@dataclass(frozen=True, eq=False)
class ExternalData:
    """What a model keeps in other files.

    Attributes:
        of_initializers: arrays of the main graph's initializers, by name, as `copy_external` makes them.
        of_others: the same for all other tensors, each beside its tensor.
        files: the files they lie in.
        n_bytes: how many bytes of them the model refers to; what several tensors share counts
            once, and padding between them counts.
    """

    of_initializers: dict[str, Array]
    of_others: list[tuple[onnx.TensorProto, Array]]
    files: tuple[Path, ...]
    n_bytes: int


def copy_external(
    proto: onnx.ModelProto, model: Found | None, source: str, beside: Mapping[str, Array]
) -> ExternalData:
    """Check all tensors of a model, and copy what those hold that keep it in other files.

    An array is read-only; where the tensor's type is none of PLAIN_TYPES, it has the bytes (uint8).

    Args:
        proto: the model.
        model: the file that it was read from; None refuses external data.
        source: what to call the model in messages.
        beside: values of initializers of the main graph that are here already, by name.

    Raises:
        ModelError: a tensor is malformed; a file is missing, outside the model's folder, or too short.
        OSError: a file cannot be read, or another program changes it.
    """
    found: dict[Path, Found] = {}
    external, parts = [], []
    for kind, tensor in iter_tensors(proto):
        where = f"{source}: {kind} '{tensor.name}'"
        check_tensor(tensor, where)
        is_here = kind == INITIALIZER and tensor.name in beside
        if tensor.data_location == onnx.TensorProto.EXTERNAL and not is_here:
            external.append((kind, tensor))
            parts.append(_locate(tensor, model, where, found))
    arrays = [
        _as_array(tensor, data) for (_, tensor), data in zip(external, copy_parts(parts), strict=True)
    ]
    # A file that was replaced meanwhile does not belong to those that were read before.
    for file in (*found.values(), *([model] if model is not None and found else [])):
        file.check()
    pairs = list(zip(external, arrays, strict=True))
    return ExternalData(
        {**beside, **{tensor.name: array for (kind, tensor), array in pairs if kind == INITIALIZER}},
        [(tensor, array) for (kind, tensor), array in pairs if kind != INITIALIZER],
        tuple(found),
        _n_bytes(join_parts(parts)[0]),
    )


_MAX_PADDING = 4095
"""Bytes between arrays that begin on pages, as ExternalData.md of onnx asks; others' data are more."""


def _n_bytes(spans: Sequence[Part]) -> int:
    """Return how many bytes spans take, with the padding between them."""
    gaps = [
        after.start - before.stop
        for before, after in pairwise(spans)
        if before.file.identity == after.file.identity
    ]
    return sum(span.n_bytes for span in spans) + sum(gap for gap in gaps if gap <= _MAX_PADDING)


INITIALIZER = "initializer"
"""What `iter_tensors` calls an initializer of the main graph."""


def iter_tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield every tensor of a model, at any depth, with what it is, such as an INITIALIZER."""
    yield from ((INITIALIZER, tensor) for tensor in proto.graph.initializer)
    training = (g for info in proto.training_info for g in (info.initialization, info.algorithm))
    stack: deque[Body] = deque([proto.graph, *proto.functions, *training])
    while stack:
        body = stack.popleft()
        attributes = [attribute for node in body.node for attribute in node.attribute]
        if isinstance(body, onnx.FunctionProto):
            attributes += body.attribute_proto
        else:
            inner = () if body is proto.graph else body.initializer
            yield from (("inner initializer", tensor) for tensor in inner)
            for sparse in body.sparse_initializer:
                yield from (("sparse initializer", tensor) for tensor in (sparse.values, sparse.indices))
        for attribute in attributes:
            stack.extend([attribute.g] if attribute.HasField("g") else [])
            stack.extend(attribute.graphs)
            yield from (("constant", tensor) for tensor in _tensors_of(attribute))


def _tensors_of(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for tensor in (*sparse, *attribute.sparse_tensors):
        yield from (tensor.values, tensor.indices)


def _locate(tensor: onnx.TensorProto, model: Found | None, where: str, found: dict[Path, Found]) -> Part:
    """Return where a tensor's data lie; their file is looked at once and noted in `found`."""
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    if model is None:
        raise ModelError(f"{where} refers to external data '{location}'; pass the model's path instead")
    path = _data_path(model.path, location, where)
    if path not in found:
        found[path] = Found.at(path)
    if found[path].n_bytes < n_raw_bytes(tensor) and (kind := file_kind(path)):
        raise ModelError(f"{where} refers to external data '{location}', which {kind}")
    n_wanted = n_raw_bytes(tensor)
    offset = _number(entries, "offset", 0, where)
    length = _number(entries, "length", n_wanted, where)
    if length != n_wanted or offset < 0 or offset + n_wanted > found[path].n_bytes:
        raise ModelError(
            f"{where} needs {n_wanted} bytes, and is given {length} at offset {offset} of '{location}', "
            f"which has {found[path].n_bytes}; the two files do not belong together"
        )
    return Part(found[path], offset, n_wanted)


_MAX_LOCATION = 4096
"""Characters: Linux takes paths up to this (PATH_MAX)."""


def _data_path(model: Path, location: str, where: str) -> Path:
    """Return the file that a location of external data leads to.

    Links are followed as far as onnxruntime does so (its pull request 27374): into the model's folder,
    or into that of the file that the model itself is a link to. So Hugging Face's cache is laid out.

    Args:
        model: the model's path, as it was named.
        location: relative to its folder.
        where: names the file and the tensor in messages.

    Raises:
        ModelError: the location leads elsewhere, or to no file.
    """
    if "\0" in location or len(location) > _MAX_LOCATION:
        wrong = "with a NUL" if "\0" in location else f"of more than {_MAX_LOCATION:,} characters"
        raise ModelError(f"{where} has external data at a location {wrong}; export the model again")
    lexical = Path(os.path.normpath(location))
    path = Path(os.path.realpath(model.parent / location))
    folders = [Path(os.path.realpath(model.parent)), Path(os.path.realpath(model)).parent]
    is_outside = not location or lexical.is_absolute() or ".." in lexical.parts
    is_led_outside = not any(path.is_relative_to(folder) for folder in folders)
    named = f"{where} refers to external data"
    if is_outside or (is_led_outside and not (model.parent / location).is_symlink()):
        raise ModelError(
            f"{named} outside the model's folder: '{location}'; move the data beside the model"
        )
    if path.is_symlink():
        raise ModelError(f"{named} '{location}', a link that leads back to itself; put the file there")
    if is_led_outside:
        raise ModelError(
            f"{named} '{location}', a link that leads out of the model's folder, to {path}; "
            "put the file itself beside the model"
        )
    if not path.exists():
        raise ModelError(f"{named} '{location}', which is missing; put it beside the model")
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "a device or a pipe"
        raise ModelError(f"{named} '{location}', which is {kind}; put the file there")
    return path


_MAX_DIGITS = 19
"""Of a position in a file: they are int64."""


def _number(entries: Mapping[str, str], key: str, default: int, where: str) -> int:
    """Return an entry of a tensor's external data that is a number, the default where it is missing."""
    text = (entries.get(key) or str(default)).strip()
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= _MAX_DIGITS):
        shown = text if len(text) <= _MAX_DIGITS else f"{text[:_MAX_DIGITS]}..."
        raise ModelError(
            f"{where} has external data whose {key} is '{shown}', no number of bytes; "
            "export the model again"
        )
    return int(text)


def _as_array(tensor: onnx.TensorProto, data: Array) -> Array:
    plain = PLAIN_TYPES.get(tensor.data_type)
    return data if plain is None else data.view(plain).reshape(tuple(tensor.dims))
