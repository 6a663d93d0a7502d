"""--config FILE: options from a TOML file, which those of the command line overrule.

Keys are the long names of the options, without their dashes; `[pass.NAME]` holds the settings of a pass.
Each key becomes the option that it is called like, so that a file and a command line are read, checked
and refused alike. A file may serve several modes: what has no meaning in one is left out there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzip.cli.pass_flags import passes_with_settings
from onnxzip.errors import InputError, UsageError, did_you_mean, reason_of

if TYPE_CHECKING:
    from onnxzip.cli.flags import Parser

_PASS = "pass"
"""The table of the tables of passes."""

_NOT_IN_FILES = frozenset({"config", "guide", "help", "help-passes", "version", "completion"})
"""What is asked of the command line itself."""

_OVERRULED = {
    "target_size": ("tolerance",),
    "tolerance": ("target_size",),
    "metric": ("tolerance", "labels", "target_size"),
    "quiet": ("verbose",),
    "verbose": ("quiet",),
}
"""What a file's options mean nothing beside, by those of the command line: a tolerance is one of its
file's metric."""

_TIMED_WITH = frozenset({"threads", "batch"})
"""Likewise, where nothing is timed."""


def read_config(
    path: Path, parser: Parser, read: Callable[[list[str]], dict[str, Any]]
) -> dict[str, Any]:
    """Return the options in a file, as `read` makes them of arguments.

    Args:
        path: the file.
        parser: knows the options, those of passes too.
        read: parses arguments.

    Raises:
        InputError: the file cannot be read, or is no TOML.
        UsageError: a key is no option, or its value none that the option takes; names file and key.
    """
    given: dict[str, Any] = {}
    for key, value in _entries(path, passes_with_settings()):
        try:
            arguments = _arguments(key, value, parser)
            given |= read(arguments) if arguments else {}
        except UsageError as error:
            finding, _, step = error.finding.partition("; ")
            raise UsageError(f"{path}: key '{key}': {finding}; {step or 'mend it there'}") from error
    return given


def merged(
    from_file: Mapping[str, Any], given: Mapping[str, Any], allowed: Collection[str]
) -> dict[str, Any]:
    """Return the options of a file, as far as a mode takes them, overruled by those given.

    Args:
        from_file: options of the file, by the fields they set.
        given: those of the command line.
        allowed: fields that mean something in the mode.
    """
    overruled = {other for key in given for other in _OVERRULED.get(key, ())}
    overruled |= _TIMED_WITH if given.get("objective") == "size" else set()
    kept = {key: value for key, value in from_file.items() if key in allowed and key not in overruled}
    return {**kept, **given}


def _entries(path: Path, passes: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield each option of a file, passes' settings as PASS-FIELD.

    Args:
        path: the file.
        passes: those that have settings.
    """
    try:
        record = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read; {reason_of(error)}") from error
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply for options; write one on each line") from None
    except ValueError as error:  # of TOML or of UTF-8
        raise InputError(f"{path}: is no TOML file: {error}; see https://toml.io") from error
    for key, value in record.items():
        if key != _PASS:
            yield key, value
            continue
        for name, settings in value.items() if isinstance(value, dict) else [("", value)]:
            if not isinstance(settings, dict):
                raise UsageError(
                    f"{path}: key '{_PASS}' holds no table; write [{_PASS}.NAME] above settings"
                )
            if name not in passes:
                known = ", ".join(passes)
                raise UsageError(
                    f"{path}: [{_PASS}.{name}]: no pass of that name has settings; {known} have some"
                )
            yield from ((f"{name}-{field}".replace("_", "-"), item) for field, item in settings.items())


def _arguments(key: str, value: object, parser: Parser) -> list[str]:
    """Return the arguments that a key and its value stand for."""
    flag = f"--{key}"
    known = [known[2:] for known in parser.flags if known.startswith("--")]
    if key not in known or key in _NOT_IN_FILES:
        names = [name for name in known if name not in _NOT_IN_FILES]
        meant = did_you_mean(key, names, "keys are the long names of options (onnxzip --help)")
        raise UsageError(f"there is no such option; {meant}")
    takes_value = parser.takes_value(flag)
    if isinstance(value, bool) and not takes_value:
        return [flag] if value else []
    if not takes_value:
        raise UsageError("holds another value than it takes; write true or false")
    if isinstance(value, dict):
        raise UsageError("holds a table; options hold a value or a list")
    if isinstance(value, list):
        if not value:
            raise UsageError("holds an empty list; leave it out for the default")
        return (
            [f"{flag}={','.join(map(_text, value))}"]
            if not parser.repeats(flag)
            else [f"{flag}={_text(item)}" for item in value]
        )
    return [f"{flag}={_text(value)}"]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
