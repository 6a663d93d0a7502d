"""What a session is made from: a serialised model or a path, and arrays beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnxzip.records.aliases import Array


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
