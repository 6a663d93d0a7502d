"""What a model takes and gives, as plain records: its source, its inputs, its output values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NUMPY_TYPES = {
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "bool")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
    "float": "float32",
    "double": "float64",
}
"""numpy's names of the element types that both know, by onnxruntime's."""


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
