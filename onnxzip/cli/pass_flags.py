"""Settings of the passes as options: --PASS-FIELD for every dataclass field of every pass.

The passes are imported when a function here is called, not before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Literal, TypeAlias, get_args, get_origin

from onnxzip.cli.parsers import read_choice, read_float, read_int, read_names
from onnxzip.records.aliases import Scalar

Setting: TypeAlias = Scalar | tuple["Setting", ...]


def add_pass_options(parser: argparse.ArgumentParser) -> None:
    """Add a group of options for each pass; their values go to "PASS.FIELD" of the namespace."""
    from onnxzip.propose import registry

    for name, pass_type in registry.passes().items():
        group = parser.add_argument_group(f"pass {name}", (pass_type.__doc__ or "").partition("\n")[0])
        for field, hint in registry.setting_types(pass_type).items():
            convert, value = reader_of(hint, f"{name}.{field}")
            group.add_argument(
                f"--{name}-{field}".replace("_", "-"),
                type=convert,
                dest=f"{name}.{field}",
                metavar=value,
                default=argparse.SUPPRESS,
                help=f"default {_show(getattr(pass_type, field))}",
            )


def passes_with_settings() -> list[str]:
    """Return the names of the passes that have settings."""
    from onnxzip.propose import registry

    return [name for name, pass_type in registry.passes().items() if registry.setting_types(pass_type)]


def take_settings(given: MutableMapping[str, object]) -> dict[str, dict[str, object]]:
    """Remove the settings of passes from a namespace and return them by pass and field."""
    settings: dict[str, dict[str, object]] = {}
    for key in [key for key in given if "." in key]:
        pass_name, _, field = key.partition(".")
        settings.setdefault(pass_name, {})[field] = given.pop(key)
    return settings


def reader_of(hint: object, where: str) -> tuple[Callable[[str], Setting], str]:
    """Return how to read a dataclass field of this type, and what to call its value in the help.

    Args:
        hint: bool, int, float, str, Literal[...] or tuple[X, ...] of these.
        where: what to call the field in a message.

    Raises:
        TypeError: no command line option can have this type.
    """
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return partial(read_choice, arguments), "|".join(map(str, arguments))
    if get_origin(hint) is tuple and arguments[1:] == (...,):
        convert, value = reader_of(arguments[0], where)
        return lambda text: tuple(map(convert, read_names(text))), f"{value},..."
    if hint is bool:
        return lambda text: read_choice(("true", "false"), text) == "true", "true|false"
    if hint is int:
        return read_int, "N"
    if hint is float:
        return read_float, "X"
    if hint is str:
        return str, "NAME"
    raise TypeError(f"{where} has type {hint}, which no command line option can have")


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
