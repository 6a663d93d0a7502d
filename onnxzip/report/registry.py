"""Finds the report formats: every module of this folder that has a SUFFIX exports reports as one.

Such a module defines `SUFFIX`, the suffix of its files (".md"), and `export(report) -> str`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from onnxzip.report.record import Reported

Export: TypeAlias = Callable[[Reported], str]


@cache
def exporters() -> dict[str, Export]:
    """Return what exports a report, by the suffix of the report file, in alphabetical order.

    A module that fails to import is an error, never a silence.
    """
    package = importlib.import_module("onnxzip.report")
    found: dict[str, Export] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        suffix = getattr(module, "SUFFIX", None)
        if suffix is None:
            continue
        if suffix in found or not callable(getattr(module, "export", None)):
            raise ImportError(f"report/{info.name}.py has to define `export`, and '{suffix}' alone")
        found[suffix] = module.export
    return dict(sorted(found.items()))
