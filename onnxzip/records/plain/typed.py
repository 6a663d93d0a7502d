"""Plain values, as JSON has them, read as the types that records have."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import (
    Any,
    Literal,
    Protocol,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

_MAX_BITS = 63
"""Of a whole number: what int64 holds, and other programs read. None of ours is larger."""


def from_plain(kind: Any, value: object) -> Any:
    """Return a value as a type has it: records and tuples made, texts such as "inf" numbers.

    Args:
        kind: a dataclass of such types, a tuple, Mapping[str, ...], Literal or union of them, or float,
            int, bool, str, None.
        value: what JSON has for it.

    Raises:
        TypeError: it is of another type, or a field is missing, or there is none of that name.
        ValueError: a text is no number, a number too large, or a record cannot be.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _record(kind, value)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return _tuple(arguments, value)
    if origin is Mapping and isinstance(value, dict):
        return {key: from_plain(arguments[1], item) for key, item in value.items()}
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value)
    if kind is float and isinstance(value, float | int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:  # an int of hundreds of digits
            raise ValueError(str(error)) from error
    if kind in (bool, int, str, types.NoneType) and type(value) is kind:
        return _bounded(value)
    name = getattr(kind, "__name__", kind)
    raise TypeError(f"{str(value)[:40]!r} is of type {type(value).__name__}, and {name} is needed")


def fields_from_plain(kind: Any, value: object) -> dict[str, Any]:
    """Return the fields of a record that a plain value has, each as its type has it.

    Args:
        kind: a dataclass.
        value: what JSON has for it.

    Raises:
        TypeError: it is no mapping, a field is of another type, or there is none of that name.
        ValueError: as `from_plain`.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} is no {kind.__name__}")
    known = _field_types(kind)
    for name in value:
        if name not in known:
            raise TypeError(f"{kind.__name__} has no {str(name)[:40]!r}")
    return {name: from_plain(known[name], item) for name, item in value.items()}


@runtime_checkable
class _Checked(Protocol):
    """A record that knows what its figures can be: what is read is held to it, a run's own is not."""

    def check_figures(self) -> None:
        """Raise ValueError where a figure cannot be."""


def _record(kind: Any, value: object) -> Any:
    found = kind(**fields_from_plain(kind, value))
    if isinstance(found, _Checked):
        found.check_figures()
    return found


@cache
def _field_types(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _tuple(arguments: tuple[Any, ...], value: list[object]) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(from_plain(arguments[0], item) for item in value)
    if len(value) != len(arguments):
        raise TypeError(f"{len(value)} values where there are {len(arguments)}")
    return tuple(from_plain(kind, item) for kind, item in zip(arguments, value, strict=True))


def _one_of(arguments: tuple[Any, ...], value: object) -> Any:
    """Return a value as the type that it has already, else as the first that it can be."""
    for kind in arguments:
        if kind in (bool, int, float, str, types.NoneType) and type(value) is kind:
            return _bounded(value)
    others = [kind for kind in arguments if kind is not types.NoneType]
    return from_plain(others[0], value)


def _bounded(value: object) -> object:
    """Refuse whole numbers beyond those of int64."""
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ValueError(
            f"a whole number of {value.bit_length()} bits, at most {_MAX_BITS} are possible"
        )
    return value
