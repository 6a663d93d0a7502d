"""Options -> the text of a file for --config, which repeats a run.

A key is the long name of an option; settings of passes stand in `[pass.NAME]`. What has its default
value is left out.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import tomli_w

from onnxzip.options.record import OF_ONE_RUN, Options

_LONG_NAMES = {"n_jobs": "jobs"}
"""Options that are not called like their fields."""


def long_name(field: str) -> str:
    """Return the long name of the option that sets a field of `Options`, without dashes."""
    return _LONG_NAMES.get(field, field.replace("_", "-"))


def to_toml(options: Options) -> str:
    """Return the text of a TOML file that `onnxzip --config FILE IN OUT` takes to repeat a run.

    What only Python can pass (arrays, functions) is named in a comment, for a file cannot hold it; the
    text is "" for options that are all defaults.
    """
    values: dict[str, object] = {}
    comments: list[str] = []
    defaults = Options()
    for field in fields(Options):
        value, default = getattr(options, field.name), getattr(defaults, field.name)
        key, is_default = long_name(field.name), type(value) is type(default) and value == default
        if is_default or field.name in OF_ONE_RUN or field.name == "pass_settings":
            continue
        if isinstance(value, bool | int | float | str | tuple):
            values[key] = list(value) if isinstance(value, tuple) else value
        elif isinstance(value, Path):
            values[key] = str(value)
        elif value is not None:
            comments.append(f"# {key}: was passed from Python, as {_described(value)}\n")
    tables = {name: _plain(settings) for name, settings in options.pass_settings.items() if settings}
    if tables:
        values["pass"] = tables
    return "".join(comments) + tomli_w.dumps(values)


def _plain(settings: object) -> dict[str, object]:
    """Return the settings of a pass with keys as options spell them."""
    assert isinstance(settings, dict)
    return {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in settings.items()
    }


def _described(value: object) -> str:
    """Return the name of a function, or the type of another value."""
    return getattr(value, "__qualname__", f"a {type(value).__name__}")
