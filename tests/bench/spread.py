"""Compresses models with several seeds and prints how far their sizes are apart at equal loss.

    python -m tests.bench.spread MODEL... [--seeds 8] [-- OPTIONS]

The seed moves generated inputs; with `-c` in OPTIONS it hardly counts.
A size is brought to the tolerance by the bits that the loss missing there is worth: half the loss is a
bit a weight.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

from tests.bench.command import compress, split


def n_weights(report: dict[str, list[dict[str, object]]]) -> int:
    """Return how many numbers the weights hold that were changed."""
    return sum(math.prod(layer["shape"]) for layer in report["layers"])  # type: ignore[arg-type]


def main(arguments: list[str]) -> int:
    """Print a row a seed and the spread of each model."""
    before, options = split(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.bench.spread")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    asked = parser.parse_args(before)
    print(
        "| model | seed | bytes | loss | bytes at the tolerance | seconds |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as work:
        output, path = Path(work) / "out.onnx", Path(work) / "report.json"
        for model in asked.models:
            sizes = []
            for seed in range(asked.seeds):
                seconds = compress(model, output, "--seed", str(seed), "--report", str(path), *options)
                report = json.loads(path.read_text("utf-8"))
                (drift, *_) = (check for check in report["checks"] if check["kind"] == "drift")
                n_bytes, loss = output.stat().st_size, float(drift["value"])
                n_bits = math.log2(float(drift["limit"]) / loss)
                sizes.append(n_bytes - n_bits * n_weights(report) / 8)
                row = f"| {model.stem} | {seed} | {n_bytes:,} | {loss:.4f} | {sizes[-1]:,.0f} |"
                print(row, f"{seconds:.1f} |", flush=True)
            spread = (max(sizes) - min(sizes)) / (sum(sizes) / len(sizes))
            print(f"| {model.stem} | all | | | {100 * spread:.1f} % apart | |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
