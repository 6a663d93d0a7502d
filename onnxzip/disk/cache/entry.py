"""What an entry holds, as bytes: plain values as JSON, arrays beside them in an .npz.

Neither can hold anything that runs: numpy is told to unpickle nothing.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ml_dtypes
import numpy as np

from onnxzip.records.aliases import Array

T = TypeVar("T")

_VALUES = "values"
"""The member of the .npz that holds the JSON."""

DAMAGED = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError)
"""What reading an entry raises that does not hold what its kind should; json's and numpy's own errors
are among them."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What is kept.

    Attributes:
        values: None, texts, numbers, and lists and dictionaries of them.
        arrays: by name.
    """

    values: Any
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of results: what it is called, and how one becomes an entry and back.

    Attributes:
        name: in the plural, for the report.
        pack: makes an entry of a result.
        unpack: makes a result of an entry, equal to the last bit.
        is_small: whether arrays are numbers of few kinds, which are worth deflating.
    """

    name: str
    pack: Callable[[T], Entry]
    unpack: Callable[[Entry], T]
    is_small: bool = False


def to_bytes(entry: Entry, *, is_small: bool) -> bytes:
    """Return an entry as bytes."""
    names = {name: array.dtype.name for name, array in entry.arrays.items()}
    text = json.dumps([entry.values, names], default=_plain)
    arrays = {f"array {i}": _native(array) for i, array in enumerate(entry.arrays.values())}
    arrays[_VALUES] = np.frombuffer(text.encode(), np.uint8)
    file = io.BytesIO()
    save = np.savez_compressed if is_small else np.savez
    save(file, allow_pickle=False, **arrays)
    return file.getvalue()


def from_bytes(content: bytes) -> Entry:
    """Return the entry that `to_bytes` wrote; arrays are read-only.

    Raises:
        ValueError: it is none.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            values, names = json.loads(file[_VALUES].tobytes())
            arrays = {
                name: _read_only(file[f"array {i}"], dtype)
                for i, (name, dtype) in enumerate(names.items())
            }
    except (*DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"is no entry: {error}") from error
    return Entry(values, arrays)


def _plain(value: object) -> object:
    """Return numpy's numbers as Python's, which compute the same."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _native(array: Array) -> Array:
    """Return an array of a type that numpy itself knows: the bits of others."""
    return array if array.dtype.isbuiltin == 1 else array.view(f"u{array.itemsize}")


def _read_only(array: Array, dtype: str) -> Array:
    found = array if array.dtype.name == dtype else array.view(getattr(ml_dtypes, dtype))
    found.flags.writeable = False
    return found
