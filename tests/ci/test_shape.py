"""What .ci/shape.py refuses, on small trees that are too large in one respect each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "shape.py"


def complaints(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in {"onnxzip/__init__.py": "", "passes/__init__.py": "", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(root)], capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert (result.returncode == 1) == bool(result.stdout)
    return result.stdout.splitlines()


def function(n_lines: int, n_docstring_lines: int = 0) -> str:
    doc = (
        ['    """Say.', *["    more"] * (n_docstring_lines - 2), '    """'] if n_docstring_lines else []
    )
    return "\n".join(["def f():", *doc, *["    x = 1"] * (n_lines - 1)]) + "\n"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"onnxzip/a.py": "x = 1\n" * 300, "passes/b.py": function(40, 30)}, None),
        ({"onnxzip/a.py": "x = 1\n" * 301}, "onnxzip/a.py: 301 lines"),
        ({"passes/b.py": function(41)}, "passes/b.py:f: 41 lines"),
        ({"passes/b.py": function(41, 5)}, "passes/b.py:f: 41 lines without its docstring"),
        ({f"onnxzip/d/m{i}.py": "" for i in range(12)}, None),
        ({f"onnxzip/d/m{i}.py": "" for i in range(13)}, "onnxzip/d/: 13 files"),
        ({f"passes/p{i}.py": "" for i in range(13)}, None),
        ({f"onnxzip/d{i}/__init__.py": "" for i in range(24)}, "onnxzip/: 24 entries"),
        (
            {
                "onnxzip/a.py": "def f():\n    from onnxzip.b import x",
                "onnxzip/b.py": "import onnxzip.a",
            },
            None,
        ),
        (
            {
                "onnxzip/a.py": "import typing\nif typing.TYPE_CHECKING:\n    from onnxzip import b",
                "onnxzip/b.py": "from onnxzip import a",
            },
            None,
        ),
        (
            {"onnxzip/a.py": "from onnxzip.b import x", "onnxzip/b.py": "import onnxzip.a"},
            "modules import each other",
        ),
        (
            {
                "onnxzip/d/__init__.py": "from .a import x",
                "onnxzip/d/a.py": "from . import b",
                "onnxzip/d/b.py": "from onnxzip.d import x",
            },
            "onnxzip.d.a",
        ),
        (
            {
                "passes/a.py": "from .b import x",
                "passes/b.py": "try:\n    from .a import y\nfinally:\n    x = 1",
            },
            "onnxzip.passes.a",
        ),
    ],
)
def test_what_is_refused(files: dict[str, str], complaint: str | None, tmp_path: Path) -> None:
    found = complaints(tmp_path, files)
    assert len(found) == (complaint is not None)
    assert complaint is None or complaint in found[0]
