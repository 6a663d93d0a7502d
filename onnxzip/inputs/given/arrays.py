"""Arrays as Python libraries hand them over: numpy's own, what turns into one, and torch's tensors.

None of the libraries is imported: an array is known by what it offers.

Number types: bfloat16 becomes float32, and integers are converted to the model's integer type when every
value fits; floats are rounded to the nearest value of the model's float type (an overflow is an error).
Anything else - above all integers for a float input, which usually means that pixels were not normalised
- is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Protocol, TypeAlias, TypeGuard, runtime_checkable

import ml_dtypes
import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.records.aliases import Array
from onnxzip.runtime.input_spec import InputSpec

_SAVED_BFLOAT16 = np.dtype("V2")
"""What numpy's files make of bfloat16: two bytes, void."""


@runtime_checkable
class SupportsArray(Protocol):
    """What numpy makes an array of: its own arrays, those of jax, pandas, tensorflow, ..."""

    def __array__(self) -> Array:
        """Return the values."""


@runtime_checkable
class Tensor(Protocol):
    """What torch.Tensor offers; one with gradients or on a GPU refuses to become an array as it is."""

    def detach(self) -> Tensor:
        """Return the tensor without gradients."""

    def numpy(self) -> Array:
        """Return the values of a tensor on the CPU."""


ArrayLike: TypeAlias = SupportsArray | Tensor


def is_array(value: object) -> TypeGuard[ArrayLike]:
    """Whether a value is an array or a tensor; numpy's scalars are none."""
    return isinstance(value, SupportsArray | Tensor) and not isinstance(value, np.generic | type)


def to_array(place: str, value: ArrayLike | Sequence[int]) -> Array:
    """Return the values of an array or a tensor.

    Args:
        place: what to call it in a message.
        value: an array, a tensor, or numbers in a list.

    Raises:
        CalibrationError: it cannot be turned into an array (a tensor of bfloat16, a ragged list).
    """
    try:
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, Tensor):
            tensor = value.detach()
            return np.asarray(tensor.cpu().numpy() if hasattr(tensor, "cpu") else tensor.numpy())
        return np.asarray(value)
    except Exception as error:  # the other library's code, which may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CalibrationError(
            f"{place}: a {type(value).__name__} cannot be turned into an array: {reason}; "
            "convert it with numpy"
        ) from error


def check_arrays(
    place: str, arrays: Mapping[str, ArrayLike], inputs: Sequence[InputSpec]
) -> dict[str, Array]:
    """Return one array per input, in the inputs' order and dtypes.

    Args:
        place: what to call the arrays in a message.
        arrays: by input name.
        inputs: the model's inputs.

    Raises:
        CalibrationError: one is missing, is no input, or holds what its input does not take.
    """
    expected = ", ".join(spec.name for spec in inputs)
    known = {spec.name for spec in inputs}
    if unknown := [repr(name) for name in arrays if name not in known]:
        finding = "is not an input" if len(unknown) == 1 else "are no inputs"
        raise CalibrationError(
            f"{place}: array {', '.join(unknown)} {finding} of the model; "
            f"leave out what it does not take, and name arrays after its inputs: {expected}"
        )
    missing = [spec.name for spec in inputs if spec.name not in arrays]
    if missing:
        raise CalibrationError(
            f"{place}: no array for input {missing[0]!r}; the model has inputs: {expected}"
        )
    return {
        spec.name: _convert(place, spec, to_array(f"{place}: array {spec.name!r}", arrays[spec.name]))
        for spec in inputs
    }


def flattened(
    arrays: Mapping[str, ArrayLike], inputs: Sequence[InputSpec]
) -> tuple[Mapping[str, ArrayLike], Sequence[InputSpec]]:
    """Return an array and a spec for each element of a sequence, "name[0]", and each optional one given.

    Args:
        arrays: by input name; a sequence as its elements, or as a list of them.
        inputs: the model's inputs.
    """
    flat: dict[str, ArrayLike] = {}
    sequences = {spec.name for spec in inputs if spec.is_sequence}
    for name, value in arrays.items():
        elements = enumerate(value) if isinstance(value, list | tuple) and name in sequences else ()
        flat |= {f"{name}[{i}]": element for i, element in elements} or {name: value}
    specs: list[InputSpec] = []
    for spec in inputs:
        if spec.is_sequence:
            names = takewhile(flat.__contains__, (f"{spec.name}[{i}]" for i in count()))
            found = [spec.unwrapped(name) for name in names]
            specs += found or ([] if spec.is_optional else [spec.unwrapped(f"{spec.name}[0]")])
        elif not spec.is_optional:
            specs.append(spec)
        elif spec.name in flat:
            specs.append(spec.unwrapped(spec.name))
    return flat, specs


def _convert(place: str, spec: InputSpec, array: Array) -> Array:
    """Return the array in the input's dtype, or say why that is not possible."""
    where = f"{place}: array {spec.name!r}"
    if isinstance(spec.dtype, str):
        if spec.dtype == "tensor(string)" and array.dtype.kind in "UO":
            return array.astype(np.str_)
        raise CalibrationError(
            f"{where}: is {array.dtype} for an input of type {spec.dtype}, which is not supported; "
            "export the model with tensors for inputs"
        )
    if array.dtype.name == "bfloat16" or array.dtype == _SAVED_BFLOAT16:
        array = array.view(ml_dtypes.bfloat16).astype(np.float32)
    kinds = array.dtype.kind + spec.dtype.kind
    if kinds not in {"ff", "bb", "ii", "iu", "ui", "uu"}:
        raise CalibrationError(
            f"{where}: is {array.dtype}, the model takes {spec.dtype}; "
            "convert (and scale) it as the model expects"
        )
    if kinds == "ff":
        _check_finite(where, array)
    if array.dtype == spec.dtype:
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(spec.dtype)
    if kinds == "ff":
        fits = np.array_equal(np.isfinite(converted), np.isfinite(array))
    else:
        fits = np.array_equal(converted, array)
    if not fits:
        raise CalibrationError(
            f"{where}: has values that do not fit the model's {spec.dtype}; check its scale"
        )
    return converted


def _check_finite(where: str, array: Array) -> None:
    """Raise CalibrationError for NaN or Inf, but let an added mask of 0 and -Inf pass."""
    is_finite = np.isfinite(array)
    if is_finite.all() or (np.isneginf(array[~is_finite]).all() and _is_zero(array[is_finite])):
        return
    rows = np.flatnonzero(~is_finite.reshape(len(array), -1).all(axis=1)) if array.ndim else [0]
    n_rows = len(array) if array.ndim else 1
    what = " and ".join(
        name for name, test in (("NaN", np.isnan), ("Inf", np.isinf)) if test(array).any()
    )
    raise CalibrationError(
        f"{where}: holds {what} in {len(rows)} of {n_rows} rows, first in row {rows[0]}; "
        "remove those samples"
    )


def _is_zero(values: Array) -> bool:
    return values.size > 0 and not values.any()
