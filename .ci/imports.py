"""Hold the direction of imports between the folders of onnxzip/ (CONTRIBUTING.md draws it).

    python .ci/imports.py [ROOT]

A folder imports from the rungs below its own: never upwards, and never sideways from another folder of
its rung.
ruff's banned-api (TID251) knows one list of banned modules for all files, so that ruff runs once a
folder, with everything banned that stands on its rung or above; comments (`# noqa`) lift nothing. What
hides an import from ruff is refused as such: stars, exec, eval, `__import__`, and a module's name in a
string.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

RUNGS = (
    ("__init__", "__main__"),
    ("cli", "api"),
    ("comparison",),
    ("pipeline", "listing"),
    ("choose",),
    ("propose",),
    ("prove",),
    ("measure",),
    ("rewrite", "passes"),
    ("options", "comparison.tools"),
    ("trust",),
    ("inputs", "graph", "codec"),
    ("runtime", "report", "passbase", "codec.coding", "transforms"),
    ("disk", "guide"),
    ("errors",),
    ("records",),
)
"""From the top down. A folder that stands inside another one (codec.coding) has a rung of its own."""

INSIDE = {"graph": ("graph.writing", "graph.changing", "graph.reading")}
"""Folders that are divided, from the top down; their parts import each other's files, not the whole."""

ONLY_IN = {
    "onnx": ("graph", "comparison.tools"),
    "onnx_graphsurgeon": ("graph",),
    "onnxruntime": ("runtime", "comparison.tools"),
}
"""Packages that one folder alone imports, and what calls tools that are made for them."""

NEVER = {"passes": ("graph", "inputs", "runtime", "report", "options")}
"""A pass sees records, transforms and the codec only: it never touches onnx, and nobody's settings."""

NOT_BELOW = {
    "passbase": ("joblib", "rich", "ml_dtypes"),
    "records": ("scipy", "pywt", "joblib", "rich", "ml_dtypes"),
}
NOBODY = ("onnxzip.passes", "tests", "models")
"""Passes are found by name, never imported; what a user installs holds no tests."""

DYNAMIC = (
    *("importlib.import_module", "importlib.__import__", "importlib.util", "importlib.machinery"),
    *("builtins.__import__", "pkgutil.resolve_name", "pydoc", "runpy", "sys.modules"),
)
FINDERS = {"propose", "measure", "report", "comparison.tools"}
"""Folders that find their plug-ins by name: passes, metrics of the user, exporters, other tools."""

RULES = "TID251,TID252,F403,S102,S307"
"""Banned modules, relative imports from parents, stars, exec and eval."""


def forbidden_folders(name: str) -> list[str]:
    """Return the folders that a folder must not import from, as they stand in RUNGS and INSIDE."""
    for parts in INSIDE.values():
        if name in parts:
            return list(parts[: parts.index(name)])
    rung = next(rung for rung in RUNGS if name in rung)
    above = [other for upper in RUNGS[: RUNGS.index(rung)] for other in upper]
    aside = [other for other in rung if other != name]
    found = [other for other in (*above, *aside) if not name.startswith(other + ".")]
    return [*found, *NEVER.get(name, ())]


def banned_modules(root: Path, name: str) -> list[str]:
    """Return the modules that files of a folder must not import."""
    banned = [_module(other) for other in forbidden_folders(name)]
    for whole, parts in INSIDE.items():
        if name in parts:  # the ban of what stands above the whole comes with the whole
            return [*banned, *_exported(root / "onnxzip" / whole, f"onnxzip.{whole}")]
    banned += [package for package, homes in ONLY_IN.items() if name not in homes]
    banned += [*NOT_BELOW.get(name, ()), *(() if name in FINDERS else DYNAMIC), *NOBODY]
    banned += [] if name in RUNGS[0] else _exported(root / "onnxzip")
    banned += [] if name == "passes" else ["passes"]
    if "." in name:
        outer = name.rpartition(".")[0]
        around = (path.stem for path in _files(root, outer) if path.stem != "__init__")
        banned += [f"onnxzip.{outer}.{stem}" for stem in around]
    return banned


def folders(root: Path) -> Iterator[tuple[str, list[Path], list[str]]]:
    """Yield the name of each folder, its files, and the modules that they must not import."""
    placed = [name for rung in RUNGS for name in rung]
    for path in sorted((root / "onnxzip").iterdir()):
        is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
        if is_module and path.stem not in placed:
            yield path.stem, [path], ["onnxzip"]  # a stranger: it has to be given a place first
    for name in (*placed, *(part for parts in INSIDE.values() for part in parts)):
        yield name, _files(root, name), banned_modules(root, name)


def check(root: Path) -> int:
    """Run ruff once a folder and return how many folders have a breach."""
    n_breached = 0
    for name, files, banned in folders(root):
        message = f"not from '{name}': see .ci/imports.py"
        entries = ", ".join(
            f"{json.dumps(module)} = {{ msg = {json.dumps(message)} }}"
            for module in dict.fromkeys(banned)
        )
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore-noqa", "--quiet"]
        command += ["--no-cache", "--output-format=concise", f"--select={RULES}"]
        command += ["--config", 'lint.flake8-tidy-imports.ban-relative-imports = "parents"']
        command += ["--config", f"lint.flake8-tidy-imports.banned-api = {{ {entries} }}"]
        is_breached = bool(files) and subprocess.run([*command, *map(str, files)]).returncode != 0
        own = {"onnxzip.passes"} if name in FINDERS else set()
        hidden = [line for path in files for line in find_hidden(path, {*banned} - own)]
        sys.stdout.writelines(f"{line}\n" for line in hidden)
        n_breached += is_breached or bool(hidden)
    return n_breached


def find_hidden(path: Path, banned: Collection[str]) -> Iterator[str]:
    """Yield a line for each `__import__` and for each string that is the name of a banned module."""
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id == "__import__":
                yield f"{file}:{node.lineno}:{node.col_offset + 1}: HID `__import__` hides an import"
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value if re.fullmatch(r"onnxzip(\.\w+)+", node.value) else ""
                if any(text == module or text.startswith(module + ".") for module in banned):
                    yield f"{file}:{node.lineno}:{node.col_offset + 1}: HID '{text}' is banned here"


def _files(root: Path, name: str) -> list[Path]:
    """Return the files of a folder (or the one of a module), without those of a folder in it."""
    place = root / "passes" if name == "passes" else root.joinpath("onnxzip", *name.split("."))
    if place.with_suffix(".py").is_file():
        return [place.with_suffix(".py")]
    placed = (root.joinpath("onnxzip", *other.split(".")) for rung in RUNGS for other in rung)
    inner = [folder for folder in placed if place in folder.parents]
    return [path for path in sorted(place.rglob("*.py")) if not any(i in path.parents for i in inner)]


def _module(name: str) -> str:
    return f"onnxzip.{name}"


def _exported(package: Path, prefix: str = "onnxzip") -> list[str]:
    """Return the names that a package's __init__.py exports, which are for others than its own files."""
    init = package / "__init__.py"
    tree = ast.parse(init.read_text() if init.is_file() else "")
    return [
        f"{prefix}.{alias.asname or alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


if __name__ == "__main__":
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]) > 0)
