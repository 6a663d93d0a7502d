"""What the benchmarks have in common: they take options for onnxzip behind --, and time its command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before -- and what stands behind it."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def compress(source: Path, output: Path, *options: str) -> float:
    """Run onnxzip in a process of its own; return the seconds it took."""
    command = [sys.executable, "-m", "onnxzip", "-q", "-f", *options, str(source), str(output)]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started
