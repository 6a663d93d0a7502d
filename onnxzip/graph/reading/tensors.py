"""Element types and values of ONNX tensors, checked before use."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnxzip.errors import ModelError
from onnxzip.records.aliases import Array

_FLOAT_TYPES: dict[int, np.dtype[np.generic]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    TensorProto.DOUBLE: np.dtype(np.float64),
}
_NUMPY_TYPES: dict[int, np.dtype[np.generic]] = {
    TensorProto.INT8: np.dtype(np.int8),
    TensorProto.INT16: np.dtype(np.int16),
    TensorProto.INT32: np.dtype(np.int32),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.UINT16: np.dtype(np.uint16),
    TensorProto.UINT32: np.dtype(np.uint32),
    TensorProto.UINT64: np.dtype(np.uint64),
    TensorProto.BOOL: np.dtype(np.bool_),
}

_NARROW_TYPES: dict[int, np.dtype[np.generic]] = {
    TensorProto.INT4: np.dtype(ml_dtypes.int4),
    TensorProto.UINT4: np.dtype(ml_dtypes.uint4),
    TensorProto.FLOAT8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    TensorProto.FLOAT8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    TensorProto.FLOAT8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    TensorProto.FLOAT8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
}
"""Those of `records.elements.exact`."""

PLAIN_TYPES = _FLOAT_TYPES | _NUMPY_TYPES
"""Element types whose arrays in memory are, byte for byte, a tensor's raw data."""

_FIELDS = ("float_data", "int32_data", "int64_data", "uint64_data", "double_data", "string_data")
"""TensorProto's fields of typed data, one of which holds what raw_data does not."""


MAX_RANK = 32
"""Dimensions that an array of numpy 1 can have (NPY_MAXDIMS; numpy 2 has 64)."""

_CONSTANT_FIELDS = {
    "value_float": (np.float32, "f"),
    "value_floats": (np.float32, "floats"),
    "value_int": (np.int64, "i"),
    "value_ints": (np.int64, "ints"),
}
"""Attributes of Constant that hold numbers: their type (ONNX's operator schema) and where they stand."""


def float_dtype(tensor: onnx.TensorProto) -> np.dtype[np.generic] | None:
    """Return the numpy dtype of a float tensor, None for any other type."""
    return _FLOAT_TYPES.get(tensor.data_type)


def integer_dtype(tensor: onnx.TensorProto) -> np.dtype[np.generic] | None:
    """Return the numpy dtype of an integer or bool tensor, None for any other type (4-bit ones too)."""
    return _NUMPY_TYPES.get(tensor.data_type)


def is_kept_exactly(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor is of integers, of bools, or of numbers that are quantised to a byte or less."""
    return tensor.data_type in _NUMPY_TYPES or tensor.data_type in _NARROW_TYPES


def tensor_dtype(data_type: int) -> np.dtype[np.generic]:
    """Return the numpy dtype of an ONNX element type."""
    known = PLAIN_TYPES | _NARROW_TYPES
    return known.get(data_type) or onnx.helper.tensor_dtype_to_np_dtype(data_type)


def element_type(dtype: np.dtype[np.generic]) -> int:
    """Return the ONNX element type of a numpy dtype."""
    for data_type, known in (PLAIN_TYPES | _NARROW_TYPES).items():
        if dtype == known:
            return int(data_type)
    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


def tensor_array(tensor: onnx.TensorProto) -> Array:
    """Return a tensor's values (inline data only) as a read-only array."""
    if tensor.HasField("raw_data") and tensor.data_type in PLAIN_TYPES:
        array = np.frombuffer(tensor.raw_data, PLAIN_TYPES[tensor.data_type])
        array = array.reshape(tuple(tensor.dims))
    elif tensor.data_type == TensorProto.STRING:  # any bytes, says ONNX, and onnx decodes UTF-8 alone
        texts = [text.decode(errors="surrogateescape") for text in tensor.string_data]
        array = np.array(texts, object).reshape(tuple(tensor.dims))
    else:
        array = numpy_helper.to_array(tensor)
        for types in (_FLOAT_TYPES, _NARROW_TYPES):
            if tensor.data_type in types:
                array = array.astype(types[tensor.data_type], copy=False)
    array.flags.writeable = False
    return array


def constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the tensor of a Constant node, None for any other node."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            return None
        if attribute.name == "value":
            if attribute.type != onnx.AttributeProto.TENSOR:  # its tensor was not checked, and is none
                return None
            tensor: onnx.TensorProto = attribute.t
            return tensor
        if attribute.name in _CONSTANT_FIELDS:
            data_type, values = _CONSTANT_FIELDS[attribute.name]
            is_list = attribute.name.endswith("s")
            array = np.asarray(getattr(attribute, values), data_type)
            return numpy_helper.from_array(array if is_list else array.reshape(()))
    return None


def extremes(array: Array) -> tuple[float, float, bool]:
    """Return the least and the greatest element, NaN if any is, and whether all are finite."""
    flat = array.reshape(-1)
    chunk = 1 << 22
    low, high, is_finite = np.inf, -np.inf, True
    for i in range(0, flat.size, chunk):
        with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
            part = flat[i : i + chunk].astype(np.float64)
        low, high = np.minimum(low, part.min()), np.maximum(high, part.max())
        is_finite = is_finite and bool(np.isfinite(part).all())
    return float(low), float(high), is_finite


def n_elements(tensor: onnx.TensorProto) -> int:
    """Return how many numbers a tensor's dims ask for."""
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def check_tensor(tensor: onnx.TensorProto, where: str) -> None:
    """Check a tensor's type and dims, and that its data are as long as those ask for.

    Args:
        tensor: the tensor; external data are checked where they are looked for.
        where: names the file and the tensor in messages.

    Raises:
        ModelError: the tensor cannot be read.
    """
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"{where} has a negative dimension in {tuple(tensor.dims)}; export it again")
    if len(tensor.dims) > MAX_RANK:
        raise ModelError(
            f"{where} has {len(tensor.dims)} dimensions, more than {MAX_RANK}; export the model again"
        )
    if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
        raise ModelError(f"{where} is of an unknown data type, {tensor.data_type}; upgrade onnx")
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    if tensor.data_type == TensorProto.STRING and tensor.HasField("raw_data"):
        raise ModelError(f"{where} holds strings as raw data, which ONNX forbids; export it again")
    if tensor.HasField("raw_data"):
        n_found, n_expected, unit = len(tensor.raw_data), n_raw_bytes(tensor), "bytes"
    else:
        n_found = sum(len(getattr(tensor, name)) for name in _FIELDS)
        n_expected, unit = _n_field_items(tensor), "numbers"
    if n_expected != n_found:
        raise ModelError(
            f"{where} of shape {tuple(tensor.dims)} needs {n_expected} {unit} of data, has {n_found}; "
            "the file is damaged, export the model again"
        )


def n_raw_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes of raw data a tensor's dims and type ask for."""
    n_bits = _n_packed_bits(tensor.data_type)
    if n_bits:
        return (n_elements(tensor) * n_bits + 7) // 8
    return n_elements(tensor) * tensor_dtype(tensor.data_type).itemsize


def _n_packed_bits(data_type: int) -> int:
    """Return the bits of an element narrower than a byte, 0 for any other type."""
    name: str = TensorProto.DataType.Name(data_type)
    return {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.get(name, 0)


def _n_field_items(tensor: onnx.TensorProto) -> int:
    """Return how many items a tensor's typed data field needs."""
    n_bits = _n_packed_bits(tensor.data_type)
    if n_bits:
        return (n_elements(tensor) * n_bits + 7) // 8
    is_complex = tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
    return n_elements(tensor) * (2 if is_complex else 1)
