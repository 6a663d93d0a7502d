"""Compresses what onnxruntime's static quantisation makes of CIFAR-10 classifiers, without loss.

    python -m tests.bench.qdq FOLDER MODEL...

FOLDER is that of tests.bench.cifar. Each model is quantised (QDQ, u8 activations, s8 weights) with a
scale for each tensor, which is quantize_static's default, and with one for each channel. Exit status 1
where an output on the test images differs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tests.bench.cifar import feed_of
from tests.bench.command import compress
from tests.bench.peers import quantise


def answers(model: Path, images: np.ndarray) -> np.ndarray:
    """Return a model's first output."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(values)


def main(arguments: list[str]) -> int:
    """Print a row for each model and kind of scales."""
    folder, *models = map(Path, arguments)
    data = np.load(folder / "cifar10.npz")
    calibration, test = feed_of(data["calibration"]), feed_of(data["test"])[:256]
    all_equal = True
    print(
        "| model | scales | bytes before | bytes after | change | outputs |", "|" + "---|" * 6, sep="\n"
    )
    for model in models:
        for per_channel in (False, True):
            with tempfile.TemporaryDirectory() as work:
                ready, quantised, output = (Path(work) / name for name in ("r.onnx", "q.onnx", "o.onnx"))
                quantise(model, ready, quantised, calibration, per_channel=per_channel)
                compress(quantised, output)
                before, after = quantised.stat().st_size, output.stat().st_size
                is_equal = np.array_equal(answers(quantised, test), answers(output, test))
            all_equal = all_equal and is_equal
            kind = "per channel" if per_channel else "per tensor"
            cells = (f"{before:,}", f"{after:,}", f"{100 * (after / before - 1):.1f} %")
            equal = "identical" if is_equal else "DIFFERENT"
            print(f"| {model.name} | {kind} | {' | '.join(cells)} | {equal} |", flush=True)
    return 0 if all_equal else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
