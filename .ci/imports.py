"""Hold the direction of imports: cli -> pipeline -> tools -> base -> ground (ARCHITECTURE.md).

    python .ci/imports.py [ROOT]

ruff's banned-api (TID251) knows one list of banned modules for all files, and a per-file ignore lifts
the whole list. So ruff runs once a rung of the ladder, with everything above that rung banned; comments
(`# noqa`) lift nothing. A module that is named nowhere below is a tool.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CLI = {"__init__", "__main__", "api", "arguments", "cli", "pass_options", "values"}
PIPELINE = {"archive", "pipeline"}
BASE = {"coding", "decode", "entropy_decode", "entropy_size", "feedback", "passbase", "quantize"}
BASE |= {"rounding", "transforms"}
GROUND = {"errors", "types"}

PUBLIC = ("compress", "decompress", "inspect", "verify")
"""Functions of the package itself, which come from the pipeline."""

ONLY_GRAPH = ("onnx", "onnx_graphsurgeon")
ONLY_RUNTIME = ("onnxruntime",)
NOT_ON_GROUND = ("scipy", "pywt", "joblib", "rich", "ml_dtypes")
DYNAMIC = ("importlib.import_module", "importlib.__import__", "builtins.__import__")


def rungs(root: Path) -> Iterator[tuple[str, list[Path], list[str]]]:
    """Yield the name of a rung, its files, and the modules they must not import."""
    modules = {path.stem: path for path in sorted((root / "onnxzip").iterdir()) if _is_module(path)}
    tools = set(modules) - CLI - PIPELINE - BASE - GROUND - {"graph", "runtime"}
    above_pipeline = _own(CLI & set(modules) - {"__init__"}) + _own(PUBLIC)
    above_tools = above_pipeline + _own(PIPELINE)
    above_base = above_tools + _own(tools | {"graph", "runtime"}) + list(DYNAMIC)
    above_ground = above_base + _own(BASE) + list(NOT_ON_GROUND)
    heavy = [*ONLY_GRAPH, *ONLY_RUNTIME]
    yield "cli", _files(modules, CLI), heavy
    yield "pipeline", _files(modules, PIPELINE), above_pipeline + heavy
    yield "tools", _files(modules, tools), above_tools + heavy
    yield "graph", _files(modules, {"graph"}), above_tools + list(ONLY_RUNTIME)
    yield "runtime", _files(modules, {"runtime"}), above_tools + list(ONLY_GRAPH)
    yield "base", [*_files(modules, BASE), root / "passes"], above_base + heavy
    yield "ground", _files(modules, GROUND), above_ground + heavy


def check(root: Path) -> int:
    """Run ruff once a rung and return how many rungs have a breach."""
    n_breached = 0
    for rung, files, banned in rungs(root):
        message = f"not from the rung '{rung}': see .ci/imports.py"
        entries = ", ".join(
            f"{json.dumps(name)} = {{ msg = {json.dumps(message)} }}"
            for name in [*banned, "onnxzip.passes"]  # the registry finds passes; they are never imported
        )
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore-noqa", "--quiet"]
        command += ["--no-cache", "--output-format=concise", "--select=TID251,TID252"]
        command += ["--config", 'lint.flake8-tidy-imports.ban-relative-imports = "parents"']
        command += ["--config", f"lint.flake8-tidy-imports.banned-api = {{ {entries} }}"]
        if files and subprocess.run([*command, *map(str, files)], check=False).returncode != 0:
            n_breached += 1
    return n_breached


def _is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def _own(names: set[str] | tuple[str, ...]) -> list[str]:
    return [f"onnxzip.{name}" for name in sorted(names)]


def _files(modules: dict[str, Path], names: set[str]) -> list[Path]:
    return [modules[name] for name in sorted(names & set(modules))]


if __name__ == "__main__":
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]) > 0)
