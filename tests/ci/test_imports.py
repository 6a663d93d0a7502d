"""Breaches of the direction of imports, planted between any two folders and in every disguise."""

from __future__ import annotations

import importlib.util
import itertools
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "imports.py"
SPELLINGS = (
    "from onnxzip.{name} import thing",
    "from {package} import {last}",
    "import onnxzip.{name}",
    "import onnxzip.{name}.deeper as d",
    "from onnxzip.{name}.deeper import thing  # noqa: TID251",
)
HIGHEST = ("__init__", "__main__")
"""Nobody can import these as modules; what __init__ exports is another matter (BREACHES)."""


def load_rungs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ci_imports", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RULES = load_rungs()
RUNG_OF = {name: i for i, rung in enumerate(RULES.RUNGS) for name in rung}
FOLDERS = [name for name in RUNG_OF if name not in HIGHEST]
PARTS = [pair for parts in RULES.INSIDE.values() for pair in itertools.permutations(parts, 2)]


def is_forbidden(importer: str, imported: str) -> bool:
    """Say what ARCHITECTURE.md says: down only."""
    outer = imported.rpartition(".")[0]
    if outer and outer != importer and is_forbidden(importer, outer):
        return True  # what is inside a folder is its own where the folder may not be known
    below = RUNG_OF[imported] > RUNG_OF[importer]
    return not below or (importer == "passes" and imported in RULES.NEVER["passes"])


BREACHES = {
    "passes/dct.py": (
        "from onnxzip import compress",
        "from ..choose.search import search",
        "from onnxzip.passes.keep import Keep",
        "from onnxzip import *",
        "import onnx",
        "import onnxruntime as ort  # noqa: TID251",
        "import importlib\n\nmodule = importlib.import_module('onnxzip.graph')",
        "import importlib as finder\n\nmodule = finder.import_module('onnx' + 'zip.graph')",
        "from importlib import import_module as find\n\nmodule = find('onnx' + 'zip.graph')",
        "import importlib.util",
        "module = __import__('onnx' + 'zip.graph')",
        "exec('import onnxzip' + '.graph')",
        "import sys\n\nmodule = sys.modules['onnx' + 'zip.graph']",
        "import runpy",
        "from pkgutil import resolve_name",
        "def f() -> None:\n    import onnxzip.pipeline",
        "class C:\n    from onnxzip.choose import search",
        "try:\n    from onnxzip import graph\nexcept ImportError:\n    graph = None",
        "import onnxzip\n\nonnxzip.choose.search.search()",
        "import onnxzip as whole\n\nwhole.compress()",
        "import tests.fakes",
    ),
    "onnxzip/records/layer.py": ("import onnx", "import scipy.fft", "import passes.keep"),
    "onnxzip/transforms/dct.py": (
        "from onnx import numpy_helper",
        "if True:\n    from onnxzip.runtime.session import open_session",
    ),
    "onnxzip/codec/coding/packed.py": (
        "from onnxzip.codec.level import level",
        "from onnxzip.codec import level",
        "from ..level import level",
        "from .. import feedback",
    ),
    "onnxzip/passbase.py": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import onnxzip.graph",
        "from .choose import search",
        "from . import pipeline",
        "import joblib",
    ),
    "onnxzip/graph/reading/model.py": (
        "import onnxruntime",
        "from onnxzip import cli",
        "from onnxzip.graph.writing.mark import write_mark",
        "from ..writing import mark",
        "from onnxzip.graph import Model",
    ),
    "onnxzip/graph/changing/prune.py": ("from onnxzip.graph.writing import files",),
    "onnxzip/runtime/session.py": ("import onnx", "import onnx_graphsurgeon as gs"),
    "onnxzip/report/terminal.py": ("from onnxzip import verify", "FOUND = 'onnxzip.choose.search'"),
    "onnxzip/propose/registry.py": (
        "import onnxzip.passes",
        "import importlib\n\nmodule = importlib.import_module('onnxzip.choose.search')",
    ),
    "onnxzip/rewrite/emit.py": ("import onnx",),
    "onnxzip/choose/search.py": (
        "import onnx",
        "from onnxzip.runtime import session\nimport onnxruntime",
    ),
    "onnxzip/cli/main.py": ("import onnx",),
    "onnxzip/brand_new.py": ("import onnxzip.errors",),
    "onnxzip/brand_new_folder/__init__.py": ("import onnxzip.errors",),
}

ALLOWED = {
    "passes/scalar.py": (
        "import pywt",
        "from onnxzip.codec import feedback",
        "from .keep import example_layers",
        "from onnxzip.passbase import Pass",
    ),
    "onnxzip/graph/reading/tensors.py": ("import onnx", "import onnx_graphsurgeon"),
    "onnxzip/graph/writing/builder.py": ("from onnxzip.graph.reading.model import Model",),
    "onnxzip/runtime/providers.py": ("import onnxruntime",),
    "onnxzip/choose/chooser.py": ("from onnxzip.graph import Model", "from .search import search"),
    "onnxzip/codec/fixed_rate.py": ("from onnxzip.codec.coding.packed import pack",),
    "onnxzip/propose/ladders.py": (
        "import importlib\n\nmodule = importlib.import_module('onnxzip.passes')",
    ),
}


@dataclass
class Planted:
    """Imports written into a tree, and where each stands.

    Attributes:
        places: (path, first line, last line, text, whether it is a breach) of each import.
    """

    root: Path
    places: list[tuple[str, int, int, str, bool]] = field(default_factory=list)

    def plant(self, path: str, texts: dict[str, bool]) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text().splitlines() if file.exists() else []
        for text, is_breach in texts.items():
            first = len(lines) + 1
            lines += text.splitlines()
            self.places.append((path, first, len(lines), text, is_breach))
        file.write_text("\n".join(lines) + "\n")

    def wrongly_judged(self, output: str) -> list[str]:
        """Return breaches that are not in what the check printed, and allowed imports that are."""
        found = re.findall(r"^(\S+?):(\d+):\d+: (?:TID|F403|S102|HID)", output, re.MULTILINE)
        reported = {(str((ROOT / path).relative_to(self.root)), int(line)) for path, line in found}
        return [
            f"{path}:{first}: {text!r} is {'a breach' if is_breach else 'allowed'}"
            for path, first, last, text, is_breach in self.places
            if any((path, line) in reported for line in range(first, last + 1)) != is_breach
        ]


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """A tree with the names of the real files; only those of packages say something."""
    for source in (*ROOT.glob("onnxzip/**/*.py"), *ROOT.glob("passes/*.py")):
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text() if source.name == "__init__.py" else "")
    return Planted(tmp_path)


def check_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def file_in(name: str) -> str:
    """Return a file of a folder that is there for planting, or the file of a module."""
    if name == "passes":
        return "passes/planted.py"
    path = f"onnxzip/{name.replace('.', '/')}"
    return f"{path}.py" if (ROOT / f"{path}.py").is_file() else f"{path}/planted.py"


def spell(spelling: str, name: str) -> str:
    package, _, last = f"onnxzip.{name}".rpartition(".")
    return spelling.format(name=name, package=package, last=last)


def test_between_any_two_folders(planted: Planted) -> None:
    """Every folder imports every other one, spelt in all ways in turn: just breaches are found."""
    spellings = itertools.cycle(SPELLINGS)
    for importer in FOLDERS:
        others = [name for name in FOLDERS if not f"{importer}.".startswith(f"{name}.")]
        others.remove("passes") if importer != "passes" else None
        texts = {spell(next(spellings), name): is_forbidden(importer, name) for name in others}
        texts["import onnxzip.passes.dct"] = True  # by whomever: they are found by name
        planted.plant(file_in(importer), texts)
    for importer, imported in PARTS:
        whole, upper = importer.partition(".")[0], RULES.INSIDE[importer.partition(".")[0]]
        is_breach = upper.index(imported) < upper.index(importer)
        planted.plant(file_in(importer), {f"from onnxzip.{imported} import {whole}_file": is_breach})
    result = check_imports(planted.root)
    assert result.returncode == 1
    n_pairs = len(FOLDERS) * (len(FOLDERS) - 1)
    assert len(planted.places) > 0.9 * n_pairs
    wrong = planted.wrongly_judged(result.stdout)
    assert not wrong, "\n".join(wrong)


def test_every_disguise(planted: Planted) -> None:
    """Inside functions, for type checkers, relative, dynamic, renamed, behind noqa: all are found."""
    for path, texts in BREACHES.items():
        planted.plant(path, dict.fromkeys(texts, True))
    for path, texts in ALLOWED.items():
        planted.plant(path, dict.fromkeys(texts, False))
    result = check_imports(planted.root)
    assert result.returncode == 1
    wrong = planted.wrongly_judged(result.stdout)
    assert not wrong, "\n".join(wrong)


def test_what_is_allowed_passes(planted: Planted) -> None:
    for path, texts in ALLOWED.items():
        planted.plant(path, dict.fromkeys(texts, False))
    result = check_imports(planted.root)
    assert result.returncode == 0, result.stdout + result.stderr
