"""Finds the passes: every module of `onnxzip.passes` defines one, named like its file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args, get_origin, get_type_hints

from onnxzip.errors import UsageError, did_you_mean
from onnxzip.options import Options
from onnxzip.options.readers import Setting, refusal_of
from onnxzip.passbase import GraphPass, Pass

PassType = type[Pass] | type[GraphPass]


def folders_of_passes() -> list[Path]:
    """Return the folders that passes are found in."""
    return [Path(folder) for folder in importlib.import_module("onnxzip.passes").__path__]


@cache
def passes() -> dict[str, PassType]:
    """Return every pass class by name, in alphabetical order.

    A pass that fails to import is an error, never a silence.

    Raises:
        UsageError: the sources in the working folder hide the installed package.
    """
    try:
        package = importlib.import_module("onnxzip.passes")
    except ModuleNotFoundError as error:
        if error.name != "onnxzip.passes":
            raise
        raise UsageError(
            f"{Path(__file__).parents[1]} holds the sources of onnxzip without its passes, and hides "
            "what is installed; work in another folder, or install the sources with pip install -e"
        ) from error
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


def setting_types(pass_type: type) -> dict[str, object]:
    """Return the types of a pass's settings, by name: bool, int, float, str, Literal, or a tuple."""
    if not is_dataclass(pass_type):
        return {}
    hints = get_type_hints(pass_type)
    return {field.name: hints[field.name] for field in fields(pass_type)}


def make_passes(options: Options) -> tuple[dict[str, Pass], list[GraphPass]]:
    """Return the selected passes with the user's settings: those of weights, and structural ones.

    Raises:
        UsageError: a pass or one of its settings does not exist, is not used, or is refused.
    """
    weight_passes: dict[str, Pass] = {}
    graph_passes: list[GraphPass] = []
    selected = _select(options)
    for name in options.pass_settings:
        if name not in selected:
            raise UsageError(
                f"settings are given for the pass {name}, which is not used; leave them out"
            )
    for name, cls in selected.items():
        types = setting_types(cls)
        given = _checked(name, options.pass_settings.get(name, {}), types)
        if "seed" in types:
            given.setdefault("seed", options.seed)
        try:
            instance = cls(**given)
        except ValueError as error:
            raise UsageError(f"settings of the pass {name}: {error}") from error
        if isinstance(instance, GraphPass):
            graph_passes.append(instance)
        else:
            weight_passes[name] = instance
    return weight_passes, graph_passes


def _checked(name: str, given: Mapping[str, Setting], types: Mapping[str, object]) -> dict[str, Setting]:
    """Return the settings of a pass in the types of its fields."""
    if unknown := sorted(set(given) - set(types)):
        has = did_you_mean(unknown[0], types, f"it has {', '.join(types)}" if types else "it has none")
        raise UsageError(f"the pass {name} has no setting '{unknown[0]}'; {has}")
    for key, value in given.items():
        if not _fits(value, types[key]):
            raise refusal_of(f"the setting {name}.{key}", value, _worded(types[key]))
    return dict(given)


def _worded(hint: object) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return f"a tuple, each {_worded(get_args(hint)[0])}"
    return f"of type {getattr(hint, '__name__', hint)}"


def _fits(value: Setting, hint: object) -> bool:
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return any(value == known and type(value) is type(known) for known in arguments)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _select(options: Options) -> dict[str, PassType]:
    """Return the passes that are wanted and not skipped.

    Raises:
        UsageError: a name is not a pass, or none is left.
    """
    known, wanted, skipped = passes(), options.passes, options.skip
    for name in (*(wanted or ()), *skipped, *options.pass_settings):
        if name not in known:
            meant = did_you_mean(name, known, f"the passes are {', '.join(known)}")
            raise UsageError(f"there is no pass '{name}'; {meant}")
    names = known if wanted is None else [n for n in known if n in wanted]
    left = {name: known[name] for name in names if name not in skipped}
    if not left:
        raise UsageError("`passes` and `skip` leave no pass to use; leave one of them out")
    return left
