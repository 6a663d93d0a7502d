"""Readers of settings: (name, value) -> the value in the setting's one type, or a `UsageError`."""

from __future__ import annotations

import keyword
import math
import numbers
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np

from onnxzip.errors import UsageError
from onnxzip.inputs.given.arrays import is_array
from onnxzip.records.aliases import Scalar

Setting: TypeAlias = Scalar | tuple[Scalar, ...]
"""A value of a pass's dataclass field."""

_SIZE = re.compile(r"(\d{1,99}(?:\.\d{1,18})?)\s*([A-Za-z]+)?", re.ASCII)
_UNITS = {
    **{"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
    **{"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40},
}
"""Bytes: decimal prefixes of the SI, binary ones of IEC 80000-13."""

_MAX_SHOWN_LENGTH = 60
"""Characters of a value: an error is one line."""

_MAX_SHOWN_BITS = 64
"""20 digits; from 4,300 on Python refuses to write them out."""


def refusal_of(setting: str, value: object, wanted: str) -> UsageError:
    """Return the error that says what a setting should be; large and foreign values go by their type."""
    return UsageError(f"{setting} {_shown(value)} is not {wanted}")


def _shown(value: object) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        is_long = len(value) > _MAX_SHOWN_LENGTH
        return repr(value[:_MAX_SHOWN_LENGTH] + "..." if is_long else value)
    if isinstance(value, int) and value.bit_length() > _MAX_SHOWN_BITS:
        return f"of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    return f"of type {type(value).__name__}"


def read_calibration(name: str, value: object) -> object:
    """Read data: a path, or what `inputs.given.from_python` takes, whose contents are its business."""
    if isinstance(value, str | os.PathLike):
        return read_path(name, value)
    is_data = isinstance(value, Iterable) or is_array(value) or hasattr(value, "get_next")
    if is_data and not isinstance(value, bytes | bytearray | memoryview):
        return value
    wanted = "a path, an array, a dict of arrays, an iterable of batches or a CalibrationDataReader"
    raise refusal_of(f"`{name}`", value, wanted)


def read_labels(name: str, value: object) -> object:
    """Read a path or an array of labels."""
    if isinstance(value, str | os.PathLike):
        return read_path(name, value)
    if is_array(value) or (isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)):
        return value
    raise refusal_of(f"`{name}`", value, "a .npy file or an array of integers")


def read_metric(name: str, value: object) -> object:
    """Read a name, a module:function or a callable; the metrics know which names there are."""
    if callable(value):
        return value
    if isinstance(value, str):
        module, colon, function = value.partition(":")
        names = [*module.split("."), function] if colon else [value]
        if all(part.isidentifier() and not keyword.iskeyword(part) for part in names):
            return str(value)
    raise refusal_of(f"`{name}`", value, "the name of a metric, a module:function or a callable")


def read_number(name: str, value: object) -> float:
    """Read a finite number above 0."""
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if 0 < number < math.inf:
            return number
    raise refusal_of(f"`{name}`", value, "a finite number above 0")


def read_size(name: str, value: object) -> int:
    """Read a number of bytes: 4MB, 1.5MiB, 800kB or 123456."""
    n_bytes = 0
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        unit = _UNITS.get((match[2] or "B").lower(), 0) if match else 0
        n_bytes = int(Fraction(match[1]) * unit) if match else 0
    elif not isinstance(value, bool) and isinstance(value, numbers.Integral):
        n_bytes = int(value)
    if n_bytes >= 1:
        return n_bytes
    raise refusal_of(f"`{name}`", value, "a size of a byte or more, such as 4MB, 1.5MiB or 123456")


def read_objective(name: str, value: object) -> str:
    """Read an objective."""
    if isinstance(value, str) and value in ("size", "speed"):
        return str(value)
    raise refusal_of(f"`{name}`", value, "one of size, speed")


def read_names(name: str, value: object) -> tuple[str, ...]:
    """Read names: one, or a sequence or set of them."""
    items: list[object] = []
    is_list = isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | bytearray)
    if isinstance(value, str):
        items = [value]
    elif is_list or (isinstance(value, np.ndarray) and value.ndim == 1):
        items = list(value)  # type: ignore[call-overload]  # narrowed by the two conditions
    else:
        raise refusal_of(f"`{name}`", value, "a name or a sequence of names")
    if wrong := [item for item in items if not isinstance(item, str) or not item.strip()]:
        raise refusal_of(f"`{name}` holds what is no name:", wrong[0], "a text")
    return tuple(sorted(map(str, items)) if isinstance(value, Set) else map(str, items))


def read_some_names(name: str, value: object) -> tuple[str, ...]:
    """Read names, one at least."""
    names = read_names(name, value)
    if not names:
        raise UsageError(f"`{name}` is empty; name one or more, or leave it out")
    return names


def read_path(name: str, value: object) -> Path:
    """Read a path; nothing is looked for there yet."""
    try:
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    except Exception as error:  # a foreign class may raise anything
        raise refusal_of(f"`{name}`", value, "a path") from error
    if isinstance(text, str) and text and "\0" not in text:
        return Path(text)
    raise refusal_of(f"`{name}`", value, "a path")


_ADDRESS = re.compile(r"(?:(tcp|tls)://)?(\[[0-9a-fA-F:.%]+\]|[^\s:/@?#]+):(\d{1,5})", re.ASCII)
"""Of Dask's schedulers; what else Dask knows needs libraries or proxies of its own."""

_MAX_PORT = 2**16 - 1


def read_address(name: str, value: object) -> str:
    """Read the address of a scheduler; without a scheme it is tcp."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match and 1 <= int(match[3]) <= _MAX_PORT:
        return f"{match[1] or 'tcp'}://{match[2]}:{int(match[3])}"
    raise refusal_of(f"`{name}`", value, "an address such as tcp://host:8786 or tls://host:8786")


def read_flag(name: str, value: object) -> bool:
    """Read True or False; numbers are neither."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise refusal_of(f"`{name}`", value, "True or False")


def read_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Read a whole number of a range; `most` is part of it."""
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        number = int(value)
        if number >= least and (most is None or number <= most):
            return number
    limits = f"from {least}" if most is None else f"from {least} to {most}"
    raise refusal_of(f"`{name}`", value, f"a whole number {limits}")


def read_pass_settings(name: str, value: object) -> dict[str, dict[str, Setting]]:
    """Read a mapping of mappings of plain values; the passes check them against their fields."""
    if not isinstance(value, Mapping):
        raise refusal_of(f"`{name}`", value, "a mapping of pass names to mappings of settings")
    for pass_name, given in value.items():
        if not isinstance(pass_name, str):
            raise refusal_of(f"`{name}`: key", pass_name, "the name of a pass")
        if not isinstance(given, Mapping):
            raise refusal_of(f"`{name}`: {pass_name}", given, "a mapping of settings to values")
        if wrong := [key for key in given if not isinstance(key, str)]:
            raise refusal_of(f"`{name}`: {pass_name} key", wrong[0], "the name of a setting")
    return {
        pass_name: {key: _setting(f"`{name}`: {pass_name}.{key}", item) for key, item in given.items()}
        for pass_name, given in value.items()
    }


def _setting(where: str, value: object) -> Setting:
    if isinstance(value, list | tuple):
        return tuple(_scalar(where, item) for item in value)
    return _scalar(where, value)


def _scalar(where: str, value: object) -> Scalar:
    if isinstance(value, np.generic):
        value = value.item()
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool | int | float | str) and is_finite:
        return value
    raise refusal_of(where, value, "a finite number, True, False, a text, or a tuple of these")
