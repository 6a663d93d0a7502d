"""Runs the command line on models and prints the table of the README.

    python -m tests.bench.results models/*.onnx -- --tolerance 0.1

What stands behind -- goes to onnxzip. Each model is one process, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.command import split

_COLUMNS = (
    "model",
    "bytes before",
    "bytes after",
    "ratio",
    "drift",
    "limit",
    "seconds",
    "peak MB",
    "exit",
)


def measure(model: Path, options: list[str]) -> tuple[str, ...]:
    """Compress one model and return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        output = Path(folder) / "out.onnx"
        command = [sys.executable, "-m", "onnxzip", "-q", "--report", str(report), *options]
        process = subprocess.Popen(
            [*command, str(model), str(output)], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        message = process.stderr.read().strip()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = f"{usage.ru_maxrss / 1024:.0f}"
        if process.returncode != 0:
            return (model.name, *["-"] * 6, peak, f"{process.returncode}: {message}")
        record = json.loads(report.read_text(encoding="utf-8"))
        before, after = record["bytes_before"], output.stat().st_size
    drift = next(check for check in record["checks"] if check["kind"] == "drift")
    return (
        model.name,
        f"{before:,}",
        f"{after:,}",
        f"{before / after:.2f}x",
        f"{drift['metric']} {drift['value']:.3g}",
        f"{drift['limit']:g}",
        f"{record['seconds']:.1f}",
        peak,
        "0",
    )


def main(arguments: list[str]) -> None:
    """Print a Markdown table, one row per model."""
    models, options = split(arguments)
    print("| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS), sep="\n")
    for name in models:
        print("| " + " | ".join(measure(Path(name), options)) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
