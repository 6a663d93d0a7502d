"""What a session is made from: a serialised model or a path, and arrays beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort

from onnxzip.disk.mapped_file import MappedFile
from onnxzip.disk.temporary import lasting_folder, temporary_file
from onnxzip.errors import ModelError
from onnxzip.records.aliases import Array
from onnxzip.runtime.finding import finding_of

_WHOLE_BYTE_TYPES = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
}
"""TensorProto.DataType of element types that numpy itself lacks and that take whole bytes."""

SessionOptions: TypeAlias = ort.SessionOptions
UsersSession: TypeAlias = ort.InferenceSession


@dataclass(frozen=True, eq=False)
class InFiles:
    """A model whose arrays lie in files of ours, as far as they do.

    Attributes:
        content: serialised ModelProto; external data have the files' names as locations.
        names: of the initializers that lie there.
        files: in which they lie.
    """

    content: bytes
    names: frozenset[str]
    files: tuple[MappedFile, ...]

    @contextmanager
    def path(self) -> Iterator[Path]:
        """Give the files their names, and write the model beside them.

        Raises:
            OSError: that is not possible here.
        """
        for mapped in self.files:
            mapped.settle()
        with temporary_file(lasting_folder()) as (file, path):
            file.write(self.content)
            file.flush()
            yield path


@dataclass(frozen=True, eq=False)
class LoadableModel:
    """A model as onnxruntime takes it: serialised bytes, or a path.

    Attributes:
        content: serialised ModelProto, or the path of the file (needed above 2 GiB, or to let
            onnxruntime read external data that lies beside the file).
        name: what error messages call the model; the path when empty.
        external: arrays of the initializers that the protobuf marks as external data and that are
            handed over in memory instead, by initializer name.
        in_files: the same model for a session that reads large arrays where they lie; None for a small
            one, and in another process, to which no file goes along.
        packs: whether kernels may make copies of weights that they run faster with.
    """

    content: bytes | Path
    name: str = ""
    external: Mapping[str, Array] = field(default_factory=dict)
    in_files: InFiles | None = None
    packs: bool = True

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled."""
        return {**vars(self), "in_files": None}

    @contextmanager
    def placed(self) -> Iterator[LoadableModel]:
        """Yield the model by a path, with large arrays beside it; as it is where that cannot be.

        A session maps them instead of copying them, and packs no copies of all weights together.
        """
        held = self.in_files
        with ExitStack() as stack:
            found = self
            if held is not None:
                with suppress(OSError):  # no names, or no room
                    path = stack.enter_context(held.path())
                    others = {n: array for n, array in self.external.items() if n not in held.names}
                    found = LoadableModel(path, self.label, others, packs=False)
            yield found

    @property
    def label(self) -> str:
        """Name for messages."""
        return self.name or (str(self.content) if isinstance(self.content, Path) else "model")


def ort_session(
    source: LoadableModel, options: ort.SessionOptions, providers: Sequence[tuple[str, dict[str, str]]]
) -> ort.InferenceSession:
    """Return onnxruntime's session; arrays in files of ours stay there, uncopied, where that can be."""
    with source.placed() as placed:
        if not placed.packs:
            options.add_session_config_entry("session.disable_prepacking", "1")
        if placed.external:
            values = [_ort_value(name, array) for name, array in placed.external.items()]
            options.add_external_initializers(list(placed.external), values)
        content = placed.content if isinstance(placed.content, bytes) else str(placed.content)
        return ort.InferenceSession(content, options, providers=providers, enable_fallback=0)


def _ort_value(name: str, array: Array) -> ort.OrtValue:
    element_type = _WHOLE_BYTE_TYPES.get(array.dtype.name)
    # Not ascontiguousarray, which would turn () into (1,). Arrays in a mapped file may be unaligned.
    array = np.require(array, requirements=["C", "A"])
    if element_type is None and array.dtype.kind in "biuf" and array.dtype.isbuiltin != 2:
        return ort.OrtValue.ortvalue_from_numpy(array)
    if element_type is None or not hasattr(ort.OrtValue, "ortvalue_from_numpy_with_onnx_type"):
        raise ModelError(
            f"initializer {name!r}: onnxruntime {ort.__version__} takes no external data of type "
            f"{array.dtype.name} in memory; store the tensor inside the model file"
        )
    view = array.view(np.dtype(f"u{array.itemsize}"))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(view, element_type)


def users_session(
    content: bytes, name: str, options: SessionOptions | None, providers: Sequence[Any] | None
) -> UsersSession:
    """Return onnxruntime's own session on a serialised model, as a user asks onnxruntime for one.

    Args:
        content: the model.
        name: what to call it in messages.
        options: of onnxruntime; None for its defaults.
        providers: as onnxruntime takes them; None for its own choice.

    Raises:
        ModelError: onnxruntime refuses it.
    """
    try:
        return ort.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelError(
            f"{name}: onnxruntime {ort.__version__} cannot load it: {finding_of(error)}; see whether it "
            "loads plainly, and pass the options that it needs"
        ) from error
