"""Prints the CPU seconds of runs without a cache, and with one that an earlier run has filled.

    python -m tests.bench.cached MODEL=OTHER_TOLERANCE... [-- OPTIONS]

What stands behind -- goes to onnxzip, each time. Of every model five runs are made: without a cache,
with an empty one, the same again, then with the other tolerance, with that cache and without one. Files
that should be equal are compared.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

from tests.bench.command import compress, split


def cpu_seconds(source: Path, output: Path, *options: str) -> float:
    """Compress a model; return the seconds that processors worked on it, of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    compress(source, output, *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def row(model: Path, other: str, options: list[str], work: Path) -> str:
    """Return a row of the table."""
    cache, changed = ("--cache", str(work / "cache")), [*options, "--tolerance", other]
    runs = ((), options), (cache, options), (cache, options), (cache, changed), ((), changed)
    seconds, files = [], []
    for i, (kept, given) in enumerate(runs):
        output = work / f"{i}.onnx"
        seconds.append(cpu_seconds(model, output, *kept, *given))
        files.append(output.read_bytes())
    assert files[0] == files[1] == files[2], f"{model}: a cache changes the file"
    assert files[3] == files[4], f"{model}: a cache changes the file at another tolerance"
    n_bytes = sum(path.stat().st_size for path in (work / "cache").rglob("*") if path.is_file())
    plain, filling, again, with_cache, without = seconds
    return (
        f"| {model.stem} | {plain:.1f} | {filling / plain:.2f} | {again / plain:.2f} "
        f"| {with_cache / without:.2f} | {n_bytes / 1e6:.1f} MB |"
    )


def main(arguments: list[str]) -> int:
    """Print a row a model."""
    models, options = split(arguments)
    print("| model | s without a cache | filling one | the same again | another tolerance | it takes |")
    print("|---|---|---|---|---|---|", flush=True)
    for text in models:
        name, _, other = text.rpartition("=")
        with tempfile.TemporaryDirectory() as work:
            print(row(Path(name), other, options, Path(work)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
