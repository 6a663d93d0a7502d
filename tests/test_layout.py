"""The shape of the project: what lies where, who imports whom, what is public, what can be raised."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import onnxzip
from onnxzip import errors

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("onnxzip", "passes", "tests", "models"),
}
BUILT = {"build", "dist", "__pycache__"}


def run_check(name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / name)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_top_level_holds_what_the_architecture_names() -> None:
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    found -= BUILT | {name for name in found if name.endswith(".egg-info")}
    assert found <= TOP_LEVEL
    assert found >= {"pyproject.toml", "README.md", "LICENSE", "onnxzip", "passes", "tests", "models"}


def test_imports_run_down() -> None:
    result = run_check("imports.py")
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_is_too_large_and_no_module_waits_for_itself() -> None:
    """Files, functions and folders that one can take in at a glance; `.ci/shape.py` names the others."""
    result = run_check("shape.py")
    assert result.returncode == 0, result.stdout + result.stderr


def test_exported_members() -> None:
    names = onnxzip.__all__
    assert {"compress", "decompress", "inspect", "verify"} <= set(names)
    assert names == sorted(names)
    for name in names:
        member = getattr(onnxzip, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert member.__doc__, f"onnxzip.{name} has no docstring"
            assert member.__module__.partition(".")[0] == "onnxzip"


def test_public_names_of_modules_exist() -> None:
    for path in sorted(ROOT.glob("onnxzip/**/*.py")):
        if path.name == "__main__.py":
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        assert module.__doc__, f"{path} has no docstring"
        missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
        assert not missing, f"{path}: {missing}"


def test_error_tree_is_as_drawn() -> None:
    drawn: dict[str, str] = {}
    parents: list[str] = []
    for match in re.finditer(r"^ {4}(.*?)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE):
        depth = len(match[1]) // 4
        del parents[depth:]
        drawn[match[2]] = parents[-1] if parents else "Exception"
        parents.append(match[2])
    classes = {
        name: value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, Exception)
    }
    assert drawn == {name: value.__base__.__name__ for name, value in classes.items() if value.__base__}


def test_exit_codes_are_as_drawn() -> None:
    drawn = dict(re.findall(r"(\w+Error)\b[^\n]*; exit (\d)", errors.__doc__ or ""))
    assert drawn == {
        "InputError": "1",
        "VerificationError": "1",
        "UsageError": "2",
        "ToleranceError": "3",
    }
    for name, code in drawn.items():
        assert getattr(errors, name).exit_code == int(code)


def test_every_package_is_in_the_wheel() -> None:
    """A folder that pyproject.toml does not list is missing for whoever installs a wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in (ROOT / "onnxzip").rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert found | {"onnxzip.passes"} == set(listed)


NAMED_STEPS = {
    *("chooser", "refit", "builder"),  # made of parts that have a step; or nobody is told
    *("arguments", "flags", "readers", "record", "registry"),  # what may be given is the step
    *("from_files", "external_data", "model", "examination", "json", "api", "pipeline", "structure"),
    *("apart", "own_path", "files", "writing"),
}
"""Modules whose messages without "; " were looked at: each has its next step in other words, or in what
is put into it."""


def is_error(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, errors.OnnxzipError)


def test_every_message_has_a_next_step() -> None:
    """What is raised on purpose says what to do, behind the finding and a semicolon."""
    kinds = {name for name, kind in vars(errors).items() if is_error(kind)}
    n_messages, without = 0, []
    for path in [*ROOT.glob("onnxzip/**/*.py"), *ROOT.glob("passes/*.py")]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
            if name in kinds and isinstance(call, ast.Call) and call.args:
                n_messages += 1
                has_step = "; " in ast.unparse(call.args[0]) or bool(call.keywords)
                without += [] if has_step or path.stem in NAMED_STEPS else [f"{path}:{call.lineno}"]
    assert n_messages > 100
    assert not without
