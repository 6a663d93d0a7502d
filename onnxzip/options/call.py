"""What somebody called in Python, as text that repeats it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np


def described_call(function: str, arguments: Mapping[str, object], n_positional: int = 0) -> str:
    """Return a call of a function of `onnxzip`, and what stands in it that a text cannot hold.

    Args:
        function: its name.
        arguments: by name, those that were given.
        n_positional: how many of them, from the first one on, are given by their place.
    """
    shown, missing = [], []
    for i, (name, value) in enumerate(arguments.items()):
        text = _literal(value)
        if text is None:
            text = name
            missing.append(f"# {name}: of type {type(value).__module__}.{type(value).__qualname__}")
        shown.append(text if i < n_positional else f"{name}={text}")
    return "\n".join(["import onnxzip", *missing, f"onnxzip.{function}({', '.join(shown)})"])


def _literal(value: object) -> str | None:
    """Return a value as Python writes it; None for what no literal is equal to."""
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        items = [_literal(item) for item in value]
        known = [item for item in items if item is not None]
        return None if len(known) < len(items) else f"[{', '.join(known)}]"
    if isinstance(value, Mapping):
        pairs = {repr(key): _literal(item) for key, item in value.items()}
        if not all(isinstance(key, str) for key in value) or None in pairs.values():
            return None
        return "{" + ", ".join(f"{key}: {text}" for key, text in pairs.items()) + "}"
    return None
