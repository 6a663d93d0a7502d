"""Report formats are found by their files; a new one is one new file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onnxzip.report.registry import exporters
from tests.report.test_report import REPORT

ROOT = Path(__file__).parents[2]
SHOUT = """
SUFFIX = ".txt"


def export(report):
    return report.source.upper()
"""
USE = """
import pathlib, sys
from types import SimpleNamespace
from onnxzip.cli.parsers import read_report_path
from onnxzip.report import registry
path = read_report_path("r.TXT")
print(registry.__file__)
export = registry.exporters()[path.suffix.lower()]
print(list(registry.exporters()), export(SimpleNamespace(source="net")))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a scratch copy of the package."""
    shutil.copytree(ROOT / "onnxzip", tmp_path / "onnxzip", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def use(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", USE]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_a_new_format_is_one_new_file(copy: Path) -> None:
    (copy / "onnxzip" / "report" / "shout.py").write_text(SHOUT)
    result = use(copy)
    assert result.returncode == 0, result.stderr
    place, found = result.stdout.splitlines()
    assert Path(place).is_relative_to(copy)
    assert found == "['.html', '.json', '.md', '.txt'] NET"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("import no_such_package\n" + SHOUT, "no_such_package"),
        (SHOUT.replace("def export", "def write"), "report/shout.py has to define"),
        (SHOUT.replace(".txt", ".md"), "report/shout.py has to define"),
    ],
)
def test_a_broken_format_is_an_error(copy: Path, text: str, finding: str) -> None:
    (copy / "onnxzip" / "report" / "shout.py").write_text(text)
    result = use(copy)
    assert result.returncode != 0
    assert finding in result.stderr


def test_the_formats_there_are() -> None:
    assert {suffix: export(REPORT)[:2] for suffix, export in exporters().items()} == {
        ".html": "<!",
        ".json": "{\n",
        ".md": "# ",
    }
