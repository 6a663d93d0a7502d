"""A new pass is one new file: the guide has one, and tests/guide runs the contract on it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.guide.pages_as_tests import ROOT, blocks_of


def test_the_one_of_the_guide_has_under_60_lines() -> None:
    (block,) = (b for b in blocks_of(ROOT / "onnxzip" / "guide" / "passes.md") if "file" in b.remarks)
    assert Path(block.remarks["file"]).parent.name == "passes"
    assert block.code.count("\n") < 60


def test_passes_import_underscored_files_only() -> None:
    """What passes share is not hidden in one of them."""
    for path in (ROOT / "passes").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                assert all(name.startswith("_") for name in names), f"{path.name}: {names}"
