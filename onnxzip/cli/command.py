"""A request -> the command line that repeats it: what differs from the defaults, quoted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from onnxzip.cli.arguments import Request, flag_of
from onnxzip.cli.asking.places import Place, Stream
from onnxzip.options import Options

_MODES = {"test": ("-t",), "bench": ("--bench",)}


def command_of(request: Request) -> str:
    """Return the command line of a request, but for how much it prints."""
    words = ["onnxzip", *_MODES.get(request.mode, ())]
    default = Options()
    for field in fields(Options):
        value = getattr(request.options, field.name)
        if value != getattr(default, field.name):
            words += _words(field.name, value)
    words += [word for text in request.delivery.seal for word in ("--seal", text)]
    for name in ("against", "report", "public_key", "identity"):
        path = getattr(request, name)
        words += [] if path is None else [flag_of(name), _place(path)]
    for name in ("sign", "bom"):
        path = getattr(request.delivery, name)
        words += [] if path is None else [flag_of(name), str(path)]
    paths = [_place(path) for path in (request.source, request.output) if path is not None]
    if any(path.startswith("-") and path != "-" for path in paths):
        words.append("--")
    return shlex.join([*words, *paths])


def _place(place: Place) -> str:
    """Return a place as it is named: a stream is "-", and a file of that name "./-"."""
    if isinstance(place, Stream):
        return "-"
    return "./-" if place == Path("-") else str(place)


def _words(name: str, value: object) -> Iterator[str]:
    """Yield the words that set an option."""
    if name == "pass_settings":
        yield from _pass_words(value)
    elif name == "level":
        yield f"-{value}"
    elif name == "keep" and isinstance(value, tuple):
        for pattern in value:
            yield from ("--keep", pattern)
    elif value is True:
        yield flag_of(name)
    else:
        yield from (flag_of(name), _text(value))


def _pass_words(settings: object) -> Iterator[str]:
    assert isinstance(settings, dict)
    for pass_name, given in settings.items():
        for field, value in given.items():
            yield f"--{pass_name}-{field}".replace("_", "-")
            yield _text(value)


def _text(value: object) -> str:
    """Return a value as the options read it."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
