"""What a model takes and gives, as plain records: its source, its inputs, its output values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_NUMPY_TYPES = {
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "bool")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
    "float": "float32",
    "bfloat16": "float32",
    "double": "float64",
}
"""numpy's names of element types, by onnxruntime's; bfloat16 is fed and read as float32 (`feeding`)."""


@dataclass(frozen=True)
class InputSpec:
    """Type and shape of a graph input or output.

    Attributes:
        dtype: numpy dtype, or onnxruntime's type where numpy has none ("tensor(string)", "seq(...)").
        shape: int for a fixed size, str for a symbolic one, None for an unnamed free one. An unknown
            rank looks like () here: onnxruntime does not tell the two apart.
        is_element: whether it is an element of a sequence.
    """

    name: str
    dtype: np.dtype[np.generic] | str
    shape: tuple[int | str | None, ...]
    is_element: bool = False

    @property
    def is_sequence(self) -> bool:
        """Whether its elements are fed as arrays of their own, "name[0]", "name[1]", ..."""
        return isinstance(self.dtype, str) and "seq(tensor(" in self.dtype

    @property
    def is_optional(self) -> bool:
        """Whether it may be left out."""
        return isinstance(self.dtype, str) and self.dtype.startswith("optional(")

    def unwrapped(self, name: str) -> InputSpec:
        """Return the spec of the tensor inside a sequence or an optional one, called `name`."""
        inner = re.search(r"tensor\(\w+\)", str(self.dtype))
        shape = () if self.is_sequence else self.shape
        found = InputSpec.parse(name, inner[0] if inner else str(self.dtype), shape)
        return replace(found, is_element=self.is_sequence)

    @classmethod
    def parse(cls, name: str, type_name: str, shape: Sequence[int | str | None]) -> InputSpec:
        """Make a spec from what onnxruntime says about an argument ("tensor(float)", ["batch", 10])."""
        element = re.fullmatch(r"tensor\((\w+)\)", type_name)
        numpy_name = _NUMPY_TYPES.get(element[1]) if element else None
        return cls(name, np.dtype(numpy_name) if numpy_name else type_name, tuple(shape))
