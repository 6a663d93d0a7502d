"""What a session is made from: a serialised model or a path, and arrays beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import onnxruntime as ort

from onnxzip.errors import ModelError
from onnxzip.records.aliases import Array
from onnxzip.runtime.finding import finding_of

SessionOptions: TypeAlias = ort.SessionOptions
UsersSession: TypeAlias = ort.InferenceSession


@dataclass(frozen=True, eq=False)
class LoadableModel:
    """A model as onnxruntime takes it: serialised bytes, or a path.

    Attributes:
        content: serialised ModelProto, or the path of the file (needed above 2 GiB, or to let
            onnxruntime read external data that lies beside the file).
        name: what error messages call the model; the path when empty.
        external: arrays of the initializers that the protobuf marks as external data and that are
            handed over in memory instead, by initializer name.
    """

    content: bytes | Path
    name: str = ""
    external: Mapping[str, Array] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name for messages."""
        return self.name or (str(self.content) if isinstance(self.content, Path) else "model")


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
