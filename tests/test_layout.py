"""The shape of the project: what lies where, who imports whom, what is public, what can be raised."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import onnxzip
from onnxzip import errors

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("onnxzip", "passes", "tests", "models"),
}
BUILT = {"build", "dist", "__pycache__"}


def check_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "imports.py"), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with the names of the real ones; only those of packages say something."""
    root = tmp_path_factory.mktemp("tree")
    for source in (*ROOT.glob("onnxzip/**/*.py"), *ROOT.glob("passes/*.py")):
        copy = root / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text() if source.name == "__init__.py" else "")
    return root


def test_top_level_holds_what_the_architecture_names() -> None:
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    found -= BUILT | {name for name in found if name.endswith(".egg-info")}
    assert found <= TOP_LEVEL
    assert found >= {"pyproject.toml", "README.md", "LICENSE", "onnxzip", "passes", "tests", "models"}


def test_imports_run_left_to_right() -> None:
    result = check_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


BREACHES = {
    "passes/dct.py": (
        "from onnxzip.graph import Model  # a rung below, but passes never touch onnx",
        "from onnxzip.rewrite.emit import Emitter",
        "from onnxzip import choose",
        "from onnxzip import compress",
        "from ..choose.search import search",
        "from onnxzip.passes.keep import Keep",
        "import onnx",
        "import onnxruntime as ort  # noqa: TID251",
        "import importlib\n\nmodule = importlib.import_module('onnxzip.graph')",
        "def f() -> None:\n    import onnxzip.pipeline",
    ),
    "onnxzip/records/layer.py": ("import onnx", "import scipy.fft", "from onnxzip.passbase import Pass"),
    "onnxzip/errors.py": ("from onnxzip.report.json import to_json", "from onnxzip import records"),
    "onnxzip/progress.py": ("from onnxzip.transforms import dct",),
    "onnxzip/transforms/dct.py": (
        "from onnxzip.pipeline import compress",
        "from onnx import numpy_helper",
        "if True:\n    from onnxzip.runtime.session import open_session",
    ),
    "onnxzip/codec/coding/packed.py": (
        "from onnxzip import choose",
        "from onnxzip.codec.level import level",
        "from onnxzip.passbase import Builder",
    ),
    "onnxzip/passbase.py": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import onnxzip.graph",
        "from onnxzip.codec.feedback import make_feedback",
    ),
    "onnxzip/codec/level.py": ("from onnxzip.graph import Model", "from onnxzip.inputs import runs"),
    "onnxzip/graph/reading/model.py": (
        "import onnxruntime",
        "from onnxzip import cli",
        "from onnxzip.graph.writing.mark import write_mark",
        "from onnxzip.graph import Model",
    ),
    "onnxzip/graph/changing/prune.py": ("from onnxzip.graph.writing import files",),
    "onnxzip/inputs/runs.py": ("from onnxzip.graph import Model", "from onnxzip.measure import metrics"),
    "onnxzip/runtime/session.py": (
        "import onnx",
        "import onnx_graphsurgeon as gs",
        "import onnxzip.pipeline",
    ),
    "onnxzip/report/terminal.py": ("from onnxzip.cli.main import main", "from onnxzip import verify"),
    "onnxzip/options/record.py": ("from onnxzip.measure.metrics import Metric",),
    "onnxzip/rewrite/emit.py": ("from onnxzip.measure.subject import Subject", "import onnx"),
    "onnxzip/measure/subject.py": ("from onnxzip.prove.exact import expect",),
    "onnxzip/prove/exact.py": ("from onnxzip.choose.search import search",),
    "onnxzip/propose/proposal.py": ("from onnxzip.choose.lagrangian import choose",),
    "onnxzip/choose/search.py": (
        "import onnx",
        "from onnxzip.runtime import session\nimport onnxruntime",
        "from onnxzip.pipeline import compress",
    ),
    "onnxzip/listing.py": ("from onnxzip.pipeline import compress", "from onnxzip.api import verify"),
    "onnxzip/pipeline.py": ("from onnxzip import listing",),
    "onnxzip/cli/main.py": ("import onnx", "from onnxzip.api import compress"),
    "onnxzip/api.py": ("from onnxzip.cli import main",),
    "onnxzip/brand_new.py": ("import onnxzip.pipeline",),
}


@pytest.mark.parametrize(
    ("path", "line"), [(path, line) for path, lines in BREACHES.items() for line in lines]
)
def test_planted_breach_is_caught(tree: Path, path: str, line: str) -> None:
    file = tree / path
    existed = file.exists()
    file.write_text(line + "\n")
    try:
        result = check_imports(tree)
    finally:
        file.write_text("") if existed else file.unlink()
    assert result.returncode == 1
    assert file.name in result.stdout
    assert re.search("TID25[12]", result.stdout)


ALLOWED = {
    "passes/dct.py": (
        "import pywt\n\nfrom onnxzip.codec import feedback\n\nfrom .keep import example_layers"
    ),
    "onnxzip/graph/reading/model.py": "import onnx\nimport onnx_graphsurgeon",
    "onnxzip/graph/writing/builder.py": "from onnxzip.graph.reading.model import Model",
    "onnxzip/runtime/session.py": "import onnxruntime",
    "onnxzip/choose/search.py": "from onnxzip.graph import Model\nfrom onnxzip.passbase import Pass",
    "onnxzip/codec/level.py": "from onnxzip.codec.coding.packed import pack",
    "onnxzip/cli/main.py": "from onnxzip import pipeline\nfrom onnxzip.report.json import to_json",
}


def test_allowed_imports_are_let_through(tree: Path) -> None:
    for path, lines in ALLOWED.items():
        (tree / path).write_text(lines + "\n")
    try:
        result = check_imports(tree)
    finally:
        for path in ALLOWED:
            (tree / path).write_text("")
    assert result.returncode == 0, result.stdout


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
