"""Runs the blocks of a page one after the other, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.guide.pages_as_tests import ROOT, Block, blocks_of, not_printed

_MAX_S = 300
"""Seconds for a block: none takes a tenth of it on a quiet machine."""


@dataclass(frozen=True)
class Outcome:
    """What a block did.

    Attributes:
        output: what it printed, stdout before stderr.
        fault: what is not as the page says; "" where all is.
    """

    block: Block
    output: str
    fault: str


def run_page(page: Path, folder: Path, commands: Path | None = None) -> Iterator[Outcome]:
    """Yield what each block of a page does, but for those that cannot be run here.

    Args:
        page: whose blocks are run.
        folder: an empty one, which they are run in.
        commands: the folder with the `onnxzip` and `python` of an installation; without it, the sources
            and this interpreter are used.
    """
    environment = _prepare(folder, commands)
    for block in blocks_of(page):
        if block.missing:
            continue
        if name := block.remarks.get("file"):
            (folder / name).write_text(block.code, "utf-8")
        else:
            yield _run(block, folder, environment)


def _prepare(folder: Path, commands: Path | None) -> dict[str, str]:
    """Put into a folder what pages may use, and return the environment that they run in."""
    shutil.copytree(ROOT / "models", folder / "models")
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    if commands is None:
        _clone(folder)
        commands = folder / ".bin"
        commands.mkdir()
        for name, arguments in (("python", ""), ("python3", ""), ("onnxzip", "-m onnxzip")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            (commands / name).chmod(0o755)
        environment["PYTHONPATH"] = str(folder)
    return {**environment, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def _clone(folder: Path) -> None:
    """Put the rest of a clone there, for who writes a pass into passes/, where they are found."""
    for name in ("passes", "onnxzip"):  # compiled files too, which saves seconds a page
        shutil.copytree(ROOT / name, folder / name)
    (folder / "onnxzip" / "passes").symlink_to(folder / "passes", target_is_directory=True)
    for name in ("pyproject.toml", "tests/fakes.py", "tests/passes/test_contract.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def _run(block: Block, folder: Path, environment: dict[str, str]) -> Outcome:
    program = ["bash", "-ec"] if block.language == "sh" else ["python", "-c"]
    result = subprocess.run(
        [*program, block.code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_MAX_S,
    )
    output = result.stdout + result.stderr
    missing = not_printed(block.printed or (), output)
    fault = f"does not print {missing}" if missing else ""
    if result.returncode != block.exit_code:
        fault = f"ends with {result.returncode}, not {block.exit_code}"
    return Outcome(block, output, fault)
