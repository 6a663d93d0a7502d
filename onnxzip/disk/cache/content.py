"""A name for content: equal values have the same digest, in every process and on every machine.

joblib.hash pickles what it is given, and two equal values may pickle to different bytes, as objects that
occur twice are written once. Here every value is written out with its type and its length, so that no
two values that differ are written alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TypeAlias

import numpy as np

from onnxzip.disk.own_copy import as_bytes
from onnxzip.records.aliases import Array

_Sum: TypeAlias = "hashlib._Hash"


def digest(*parts: object) -> str:
    """Return the SHA-256 of values: numbers, texts, arrays, records, and mappings and sequences of them.

    Raises:
        TypeError: a value is of a kind whose content is not known, a function, say.
    """
    found = hashlib.sha256()
    _add(found, parts)
    return found.hexdigest()


def _add(found: _Sum, value: object) -> None:
    if isinstance(value, np.ndarray | np.generic):
        _add_array(found, np.asarray(value))
    elif value is None or isinstance(value, bool | int | float | str | PurePath):
        _add_bytes(found, type(value).__name__, repr(value).encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes):
        _add_bytes(found, "bytes", value)
    elif isinstance(value, Mapping):
        _begin(found, "mapping", len(value))
        for key, item in value.items():
            _add(found, key)
            _add(found, item)
    elif isinstance(value, frozenset | set):
        _add(found, ("set", *sorted(map(digest, value))))
    elif isinstance(value, Sequence):
        _begin(found, "sequence", len(value))
        for item in value:
            _add(found, item)
    elif is_dataclass(value) and not isinstance(value, type):
        _add(found, (f"{type(value).__module__}.{type(value).__qualname__}",))
        _add(found, {field.name: getattr(value, field.name) for field in fields(value)})
    else:
        raise TypeError(f"the content of a {type(value).__name__} is not known")


def _add_array(found: _Sum, array: Array) -> None:
    if array.dtype.hasobject:  # texts
        _add(found, ("objects", array.shape, array.ravel().tolist()))
        return
    _begin(found, f"{array.dtype.name} {array.dtype.str} {array.shape}", array.nbytes)
    found.update(as_bytes(array).data)


def _add_bytes(found: _Sum, kind: str, value: bytes) -> None:
    _begin(found, kind, len(value))
    found.update(value)


def _begin(found: _Sum, kind: str, size: int) -> None:
    found.update(f"{kind} {size}\n".encode())
