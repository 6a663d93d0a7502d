"""Environments of their own for runtimes: Python's and node's, from the registries."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path


class UnavailableError(Exception):
    """A runtime cannot be had on this machine; the message says why."""


def make_python(place: Path, packages: Sequence[str]) -> Path:
    """Make an environment with some packages, unless it is there; return its Python.

    Raises:
        UnavailableError: pip does not get the packages.
    """
    python = place / "bin" / "python"
    ready = place / "ready"
    if not ready.exists():
        venv.create(place, with_pip=True, clear=True)
        _install([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages])
        ready.touch()
    return python


def make_node(place: Path, packages: Sequence[str]) -> Path:
    """Make a folder with some npm packages, unless it is there; return where they lie.

    Their own scripts do not run: onnxruntime-node would fetch libraries for GPUs from elsewhere.

    Raises:
        UnavailableError: node is missing, or npm does not get the packages.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise UnavailableError("node and npm are not installed")
    modules = place / "node_modules"
    if not all((modules / name).exists() for name in packages):
        place.mkdir(parents=True, exist_ok=True)
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
        _install(["npm", "install", *quiet, "--prefix", place, *packages])
    return modules


def find_browser() -> Path:
    """Return Chromium's command.

    Raises:
        UnavailableError: it is not installed.
    """
    found = shutil.which("chromium")
    if found is None:
        raise UnavailableError("chromium is not installed (Debian: apt-get install chromium)")
    return Path(found)


def _install(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UnavailableError(f"not installed: {lines[-1][:200] if lines else done.returncode}")
