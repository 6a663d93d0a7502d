"""Hold the shape of the sources: what one can take in at a glance, and no module that waits for itself.

    python .ci/shape.py [ROOT]

Prints a line for each file, function and folder that is too large and for each cycle of imports between
modules (imports inside functions and for type checkers do not run when a module is loaded, and are left
out).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
"""Without the docstring."""
MAX_FILES = 12
"""In one folder, without __init__.py."""
SHELVES = {Path("passes"), Path("onnxzip/measure/metrics"), Path("onnxzip/comparison/tools")}
"""Folders that hold one file a plug-in, as many as there are."""
MAX_ENTRIES = 23
"""Files and folders in onnxzip/ itself, without those that every package has."""
PACKAGING = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}

EXEMPT: dict[str, str] = {}
"""Functions that may be longer, as FILE:FUNCTION, with the reason."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_faults(root: Path) -> Iterator[str]:
    """Yield a line for everything that is too large or goes in a circle."""
    paths = [*sorted(root.glob("onnxzip/**/*.py")), *sorted(root.glob("passes/*.py"))]
    sources = {path.relative_to(root): path.read_text(encoding="utf-8") for path in paths}
    trees = {path: ast.parse(text) for path, text in sources.items()}
    for path, text in sources.items():
        if (n_lines := len(text.splitlines())) > MAX_FILE_LINES:
            yield f"{path}: {n_lines} lines, at most {MAX_FILE_LINES}"
    yield from _long_functions(trees)
    yield from _full_folders(root, list(sources))
    yield from _cycles(trees)


def _long_functions(trees: dict[Path, ast.Module]) -> Iterator[str]:
    used = set()
    for path, tree in trees.items():
        for function in (node for node in ast.walk(tree) if isinstance(node, Function)):
            n_lines = _n_lines(function)
            name = f"{path}:{function.name}"
            if n_lines > MAX_FUNCTION_LINES and name not in EXEMPT:
                yield f"{name}: {n_lines} lines without its docstring, at most {MAX_FUNCTION_LINES}"
            used |= {name} if n_lines > MAX_FUNCTION_LINES else set()
    yield from (f"{name} is exempt in .ci/shape.py and need not be" for name in EXEMPT.keys() - used)


def _n_lines(function: Function) -> int:
    first, end = function.lineno, function.end_lineno or function.lineno
    opening = function.body[0]
    if ast.get_docstring(function) is None:
        return end - first + 1
    return end - first + 1 - ((opening.end_lineno or opening.lineno) - opening.lineno + 1)


def _full_folders(root: Path, paths: list[Path]) -> Iterator[str]:
    for folder in sorted({path.parent for path in paths}):
        n_files = sum(path.parent == folder and path.name != "__init__.py" for path in paths)
        if n_files > MAX_FILES and folder not in SHELVES:
            yield f"{folder}/: {n_files} files, at most {MAX_FILES}"
    entries = [path.name for path in (root / "onnxzip").iterdir() if path.name not in PACKAGING]
    if len(entries) > MAX_ENTRIES:
        yield f"onnxzip/: {len(entries)} entries, at most {MAX_ENTRIES}"


def _cycles(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Yield one cycle of modules that import each other while they are loaded, if there is any."""
    modules = {_module_of(path): tree for path, tree in trees.items()}
    packages = {_module_of(path) for path in trees if path.name == "__init__.py"}
    graph = {
        name: {found for found in _imported(name, tree, name in packages, modules) if found != name}
        for name, tree in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "modules import each other: " + " <- ".join(error.args[1])


def _imported(
    name: str, tree: ast.Module, is_package: bool, known: dict[str, ast.Module]
) -> Iterator[str]:
    """Yield the known modules that a module's imports load."""
    package = name if is_package else name.rpartition(".")[0]
    for node in _run_at_import(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            around = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*around, *([node.module] if node.module else [])])
            inside = [f"{source}.{alias.name}" for alias in node.names]
            yield from (module for module in inside if module in known)
            if source in known and not all(module in known for module in inside):
                yield source  # a name of the module itself, which has to be there already


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is loaded."""
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not is_for_types and not isinstance(node, Function | ast.Lambda):
            yield node
            yield from _run_at_import(node)


def _module_of(path: Path) -> str:
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    return f"onnxzip.{name}" if path.parts[0] == "passes" else name


def main(root: Path) -> int:
    """Print all faults and return whether there is one."""
    faults = list(find_faults(root))
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]))
