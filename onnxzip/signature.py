"""What a model takes and gives, as plain records: its source, its inputs, its output values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from onnxzip.types import Array

Outputs: TypeAlias = dict[str, Array]
RunValue: TypeAlias = (
    "Array | Sequence[RunValue] | Mapping[str | int, RunValue] | float | int | str | None"
)

_NUMPY_TYPES = {
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "bool")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
    "float": "float32",
    "double": "float64",
}


@dataclass(frozen=True, eq=False)
class ModelSource:
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


@dataclass(frozen=True)
class InputSpec:
    """Type and shape of a graph input or output.

    Attributes:
        dtype: numpy dtype, or onnxruntime's type where numpy has none ("tensor(string)", "seq(...)").
        shape: int for a fixed size, str for a symbolic one, None for an unnamed free one. An unknown
            rank looks like () here: onnxruntime does not tell the two apart.
    """

    name: str
    dtype: np.dtype[np.generic] | str
    shape: tuple[int | str | None, ...]

    @classmethod
    def parse(cls, name: str, type_name: str, shape: Sequence[int | str | None]) -> InputSpec:
        """Make a spec from what onnxruntime says about an argument ("tensor(float)", ["batch", 10])."""
        element = re.fullmatch(r"tensor\((\w+)\)", type_name)
        numpy_name = _NUMPY_TYPES.get(element[1]) if element else None
        return cls(name, np.dtype(numpy_name) if numpy_name else type_name, tuple(shape))


def flatten(name: str, value: RunValue) -> Iterator[tuple[str, Array]]:
    """Yield the arrays inside an output value.

    A sequence of equal maps such as scikit-learn's ZipMap gives one array (n, n_keys), keys sorted;
    a sequence of tensors one array per element, "name[0]"; a map one per key, "name[key]"; an absent
    optional nothing.
    """
    if value is None:
        return
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from flatten(f"{name}[{key}]", value[key])
    elif isinstance(value, list | tuple):
        keys = [sorted(item, key=str) for item in value if isinstance(item, Mapping)]
        if keys and len(keys) == len(value) and all(k == keys[0] for k in keys):
            yield name, np.asarray([[item[k] for k in keys[0]] for item in value])
        else:
            for index, item in enumerate(value):
                yield from flatten(f"{name}[{index}]", item)
    else:
        yield name, np.asarray(value)
