"""Finds the passes: every module of `onnxzip.passes` defines one, named like its file."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields
from functools import cache
from types import ModuleType

from onnxzip.errors import UsageError
from onnxzip.options import Options
from onnxzip.passbase import GraphPass, Pass


def make_passes(options: Options) -> tuple[dict[str, Pass], list[GraphPass]]:
    """Return the selected passes with the user's settings: those of weights, and structural ones.

    Raises:
        UsageError: a pass or one of its settings does not exist.
    """
    weight_passes: dict[str, Pass] = {}
    graph_passes: list[GraphPass] = []
    selected = select(options.passes, options.skip)
    for name in options.pass_settings:
        if name not in selected:
            raise UsageError(f"settings are given for pass '{name}', which is not used")
    for name, cls in selected.items():
        given = dict(options.pass_settings.get(name, {}))
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # all passes are dataclasses
        if unknown := sorted(set(given) - known):
            raise UsageError(f"pass '{name}' has no setting '{unknown[0]}'; it has {sorted(known)}")
        if "seed" in known:
            given.setdefault("seed", options.seed)
        instance = cls(**given)
        if isinstance(instance, GraphPass):
            graph_passes.append(instance)
        else:
            weight_passes[name] = instance
    return weight_passes, graph_passes


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
