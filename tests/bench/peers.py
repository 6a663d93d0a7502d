"""Compares onnxzip with other ways of making CIFAR-10 classifiers smaller: one table from one run.

    python -m tests.bench.peers FOLDER MODEL... [--skip TOOL] -- --tolerance 0.2

FOLDER is that of tests.bench.cifar, with `calibration_labels` too. What stands behind -- goes to onnxzip
with the calibration images; a further -- begins a further row. Other tools are those of --bench
(onnxzip/comparison/tools), called as there; what is not installed is "not installed" in the table.

A tool with several settings gives its smallest file among those that lose at most 1.0 point of top-1 on
the calibration images, or, where there is none, the one that loses least. The test images are used for
nothing but the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onnxzip.comparison.bench import Bench
from onnxzip.comparison.tools import tools
from onnxzip.graph import read_model
from onnxzip.measure.examination import examine
from onnxzip.options import Options
from tests.bench.cifar import accuracy, feed_of
from tests.bench.command import compress, split

LIMIT = 0.01  # of top-1, on the calibration images
COLUMNS = ("model", "method", "setting", "bytes", "ratio", "top-1", "drop", "stock onnxruntime loads it")


def bench_of(source: Path, data: dict[str, np.ndarray], folder: Path) -> Bench:
    """Return where tools are tried on a model, held to its accuracy on the calibration images."""
    original, images = read_model(source), feed_of(data["calibration"])
    options = Options(
        calibration=images, labels=data["calibration_labels"], metric="top1", tolerance=LIMIT
    )
    return Bench(source, original, examine(original, options, fits=True)[0], folder)


def compare(source: Path, given: argparse.Namespace, rows: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one model."""
    data = dict(np.load(given.folder / "cifar10.npz"))
    test, labels = feed_of(data["test"]), data["test_labels"]
    before, top1 = source.stat().st_size, accuracy(source, test, labels)

    def row(method: str, setting: str, n_bytes: int, model: Path, loads: str) -> tuple[str, ...]:
        reached = accuracy(model, test, labels)
        numbers = f"{n_bytes:,}", f"{before / n_bytes:.2f}x", f"{reached:.2f} %", f"{top1 - reached:.2f}"
        return method, setting, *numbers, loads

    yield row("original", "", before, source, "yes")
    with tempfile.TemporaryDirectory() as work:
        bench = bench_of(source, data, Path(work))
        for key, tool in tools().items():
            if key in given.skip:
                continue
            line, model = bench.best_of(tool)
            if model is None or line.n_bytes is None:
                yield tool.name, line.problem, *["-"] * 5
            else:
                loads = "yes" if line.is_loaded else "no, unpacked first"
                yield row(tool.name, line.setting, line.n_bytes, model, loads)
        calibration, output = Path(work) / "calibration.npz", Path(work) / "out.onnx"
        np.savez(calibration, input=feed_of(data["calibration"]))
        for options in rows:
            compress(source, output, "-c", str(calibration), *options)
            yield row("onnxzip", " ".join(options), output.stat().st_size, output, "yes")


def main(arguments: list[str]) -> int:
    """Print one table."""
    own, rest = split(arguments)
    rows: list[list[str]] = []
    while rest or not rows:
        options, rest = split(rest)
        rows.append(options)
    parser = argparse.ArgumentParser(prog="tests.bench.peers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--skip", action="append", choices=tools(), default=[])
    given = parser.parse_args(own)
    print("| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), sep="\n")
    for model in given.models:
        for cells in compare(model, given, rows):
            print("| " + " | ".join((model.name, *cells)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
