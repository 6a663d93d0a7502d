"""Compresses models and prints where the CPU seconds went, stage by stage, and the peak memory.

    python -m tests.bench.cpu MODEL[,CALIBRATION[,LABELS]]... [-- OPTIONS]

What stands behind -- are onnxzip's, for all models. Each is compressed in a process of its own, by the
onnxzip of this interpreter: run this file by its path with the interpreter of another checkout to
compare two, one right after the other for each model, as a busy machine makes every second longer.
CPU seconds are those of all threads, in Python and below it.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_PARTS = {"layer": "offers", "sensitivity": "probes", "trial": "trials", "refit": "refits"}
"""What stages are called in the table, by their first word; others by their own words."""


class Clock:
    """Adds up the CPU seconds of stages, as `progress` tells them.

    What a stage's name is told with has just begun; a layer's, when its offers are complete.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part, self._since = "imports", 0.0

    def __call__(self, stage: str, _: float) -> None:
        """Note that a stage begins."""
        now = time.process_time()
        word = re.sub(r"\d+", "", stage).split()[0]
        part = _PARTS.get(word, stage)
        ended = part if word == "layer" else self._part
        self.seconds[ended] = self.seconds.get(ended, 0.0) + now - self._since
        self._part, self._since = part, now


def measure(source: str, options: Sequence[str]) -> str:
    """Compress in this process; return a row of the table."""
    clock = Clock()
    from onnxzip.cli.arguments import parse
    from onnxzip.pipeline import compress

    model, *data = source.split(",")
    flags = [word for pair in zip(("-c", "--labels"), data, strict=False) for word in pair]
    clock("reading", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.onnx"
        request = parse([*options, *flags, model, str(output)])
        report = compress(model, output, options=request.options, progress=clock).report
    clock("done", 1.0)
    drift = [check for check in report.checks if check.kind == "drift"]
    loss = f"{drift[0].metric} {drift[0].value:.4f}" if drift else "-"
    n_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parts = ", ".join(f"{part} {s:.1f}" for part, s in clock.seconds.items() if s >= 0.05)
    name = Path(model).stem + (" with data" if data else "")
    total = sum(clock.seconds.values())
    return f"{name} | {total:.1f} | {n_mb:.0f} | {report.bytes_after} | {loss} | {parts}"


def main(arguments: Sequence[str]) -> None:
    """Measure every model, each in a process of its own."""
    if arguments[:1] == ["--one"]:
        print(measure(arguments[1], arguments[2:]))
        return
    at = arguments.index("--") if "--" in arguments else len(arguments)
    print("model | CPU s | MB | bytes | loss | CPU s by stage")
    for source in arguments[:at]:
        command = [sys.executable, __file__, "--one", source, *arguments[at + 1 :]]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
