"""Hold the direction of imports between the folders of onnxzip/ (CONTRIBUTING.md draws it).

    python .ci/imports.py [ROOT]

A folder imports from the rungs below its own: never upwards, and never sideways from another folder of
its rung.
ruff's banned-api (TID251) knows one list of banned modules for all files, so that ruff runs once a
folder, with everything banned that stands on its rung or above; comments (`# noqa`) lift nothing.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

RUNGS = (
    ("__init__", "__main__"),
    ("cli", "api"),
    ("pipeline", "listing"),
    ("choose",),
    ("propose",),
    ("prove",),
    ("measure",),
    ("rewrite", "passes"),
    ("options",),
    ("inputs", "graph", "codec"),
    ("runtime", "report", "passbase", "codec.coding", "transforms"),
    ("progress", "records", "errors"),
)
"""From the top down. A folder that stands inside another one (codec.coding) has a rung of its own."""

INSIDE = {"graph": ("graph.writing", "graph.changing", "graph.reading")}
"""Folders that are divided, from the top down; their parts import each other's files, not the whole."""

ONLY_IN = {"onnx": "graph", "onnx_graphsurgeon": "graph", "onnxruntime": "runtime"}
"""Packages that one folder alone imports."""

NEVER = {
    "passes": ("onnxzip.graph", "onnxzip.inputs", "onnxzip.runtime", "onnxzip.report", "onnxzip.options")
}
"""A pass sees records, transforms and the codec only: it never touches onnx, and nobody's settings."""

NOT_BELOW = {
    "passbase": ("joblib", "rich", "ml_dtypes"),
    "records": ("scipy", "pywt", "joblib", "rich", "ml_dtypes"),
}
DYNAMIC = ("importlib.import_module", "importlib.__import__", "builtins.__import__")
FINDERS = {"propose", "measure", "report"}
"""Folders that find their plug-ins by name: passes, metrics of the user, exporters."""


def folders(root: Path) -> Iterator[tuple[str, list[Path], list[str]]]:
    """Yield the name of each folder, its files, and the modules that they must not import."""
    placed = [name for rung in RUNGS for name in rung]
    for path in sorted((root / "onnxzip").iterdir()):
        is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
        if is_module and path.stem not in placed:
            yield path.stem, [path], ["onnxzip"]  # a stranger: it has to be given a place first
    above: list[str] = []
    for rung in RUNGS:
        for name in rung:
            aside = [other for other in rung if other != name]
            inner = [part for part in placed if part.startswith(name + ".")]
            banned = [_module(other) for other in (*above, *aside) if not name.startswith(other + ".")]
            banned += [package for package, home in ONLY_IN.items() if home != name]
            banned += [
                *NEVER.get(name, ()),
                *NOT_BELOW.get(name, ()),
                *(() if name in FINDERS else DYNAMIC),
            ]
            banned += _exported(root / "onnxzip") if rung != RUNGS[0] else []
            yield name, _files(root, name, inner), banned
        above += rung
    for whole, parts in INSIDE.items():
        for i, part in enumerate(parts):
            facade = _exported(root / "onnxzip" / whole, f"onnxzip.{whole}")
            yield part, _files(root, part, []), [*map(_module, parts[:i]), *facade]
    for name in (name for name in placed if "." in name):
        outer = name.rpartition(".")[0]
        around = [f"onnxzip.{outer}.{path.stem}" for path in _files(root, outer, [name])]
        yield name, _files(root, name, []), [module for module in around if "__init__" not in module]


def check(root: Path) -> int:
    """Run ruff once a folder and return how many folders have a breach."""
    n_breached = 0
    for name, files, banned in folders(root):
        message = f"not from '{name}': see .ci/imports.py"
        entries = ", ".join(
            f"{json.dumps(module)} = {{ msg = {json.dumps(message)} }}"
            for module in dict.fromkeys([*banned, "onnxzip.passes"])  # the registry finds passes by name
        )
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore-noqa", "--quiet"]
        command += ["--no-cache", "--output-format=concise", "--select=TID251,TID252"]
        command += ["--config", 'lint.flake8-tidy-imports.ban-relative-imports = "parents"']
        command += ["--config", f"lint.flake8-tidy-imports.banned-api = {{ {entries} }}"]
        if files and subprocess.run([*command, *map(str, files)], check=False).returncode != 0:
            n_breached += 1
    return n_breached


def _files(root: Path, name: str, without: list[str]) -> list[Path]:
    """Return the files of a folder (or the one of a module), without those of folders inside it."""
    place = root / "passes" if name == "passes" else root.joinpath("onnxzip", *name.split("."))
    if place.with_suffix(".py").is_file():
        return [place.with_suffix(".py")]
    inner = [root.joinpath("onnxzip", *other.split(".")) for other in without]
    return [path for path in sorted(place.rglob("*.py")) if not any(i in path.parents for i in inner)]


def _module(name: str) -> str:
    return f"onnxzip.{name}"


def _exported(package: Path, prefix: str = "onnxzip") -> list[str]:
    """Return the names that a package's __init__.py exports, which are for others than its own files."""
    init = package / "__init__.py"
    tree = ast.parse(init.read_text() if init.is_file() else "")
    return [
        f"{prefix}.{alias.asname or alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


if __name__ == "__main__":
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]) > 0)
