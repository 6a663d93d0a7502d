"""Element types whose numbers stay as they are: integers, and what was quantised to a byte or less."""

from __future__ import annotations

import numpy as np

from onnxzip.records.aliases import Array

FOUR_BITS = ("int4", "uint4")
"""Two to a byte in a file (onnx/onnx.proto), one to a byte as arrays of ml_dtypes."""

FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def is_exact(dtype: np.dtype[np.generic]) -> bool:
    """Whether weights of a type are stored without any loss."""
    return dtype.kind in "iub" or is_narrow(dtype)


def is_narrow(dtype: np.dtype[np.generic]) -> bool:
    """Whether a type is one of those that few operators know, and numpy itself does not."""
    return dtype.name in FOUR_BITS or dtype.name in FLOAT8


def n_stored_bytes(array: Array) -> int:
    """Return what an array takes in a file."""
    return -(-array.size // 2) if array.dtype.name in FOUR_BITS else array.nbytes


def as_plain(array: Array) -> Array:
    """Return an array with its values in a type of numpy's own."""
    return array.astype(np.float32) if is_narrow(array.dtype) else array


def is_finite(array: Array) -> bool:
    """Whether no 8-bit float of an array is NaN or infinite: what casts to them keeps neither."""
    return array.dtype.name not in FLOAT8 or bool(np.isfinite(array.astype(np.float32)).all())
