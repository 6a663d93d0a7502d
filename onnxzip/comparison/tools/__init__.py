"""Other tools that make models smaller, one a file: a module here defines one `Tool`, nothing lists it.

What a tool is called with stands in its file, and is what its own documentation advises. It runs in a
process of its own; what begins with an underscore is no tool.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from onnxzip.comparison.tools._tool import Setting, Task, Tool, described

__all__ = ["Setting", "Task", "Tool", "described", "tools"]


@cache
def tools() -> dict[str, Tool]:
    """Return every tool by the name of its file, in alphabetical order.

    A module that fails to import is an error, never a silence: what it calls is imported when it runs.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return {name: _tool_of(name) for name in names if not name.startswith("_")}


def _tool_of(name: str) -> Tool:
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Tool) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ImportError(f"comparison/tools/{name}.py has to define one tool")
    return classes[0]()
