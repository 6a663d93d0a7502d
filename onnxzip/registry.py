"""Finds the passes: every module of `onnxzip.passes` defines one, named like its file."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from onnxzip.errors import UsageError
from onnxzip.passbase import GraphPass, Pass

PassType = type[Pass] | type[GraphPass]


@cache
def passes() -> dict[str, PassType]:
    """Return every pass class by name, in alphabetical order.

    A pass that fails to import is an error, never a silence.
    """
    package = importlib.import_module("onnxzip.passes")
    found: dict[str, PassType] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"onnxzip.passes.{info.name}")
            found[info.name] = _pass_of(module, info.name)
    return found


def _pass_of(module: ModuleType, name: str) -> PassType:
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, (Pass, GraphPass))
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1 or classes[0].name != name:
        raise ImportError(f"passes/{name}.py has to define one pass, named '{name}'")
    return classes[0]


def select(wanted: tuple[str, ...] | None, skipped: tuple[str, ...] = ()) -> dict[str, PassType]:
    """Return the passes that --passes and --skip leave.

    Raises:
        UsageError: a name is not a pass.
    """
    known = passes()
    for name in (*(wanted or ()), *skipped):
        if name not in known:
            raise UsageError(f"there is no pass '{name}'; the passes are {', '.join(known)}")
    names = known if wanted is None else [n for n in known if n in wanted]
    return {name: known[name] for name in names if name not in skipped}
