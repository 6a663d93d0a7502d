"""Compresses CIFAR-10 classifiers with calibration images and prints what that costs on test images.

    python -m tests.bench.cifar FOLDER MODEL... -- --tolerance 0.2

FOLDER holds cifar10.npz: uint8 images `calibration` and `test`, (n, 32, 32, 3), and `test_labels`. The
test images are used for nothing but the accuracies. What stands behind -- goes to onnxzip.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tests.bench.command import compress, split

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def feed_of(images: np.ndarray) -> np.ndarray:
    """Return normalised float32 images, (n, 3, 32, 32)."""
    scaled = (images / 255 - np.array(MEAN)) / np.array(DEVIATION)
    return np.ascontiguousarray(scaled.astype(np.float32).transpose(0, 3, 1, 2))


def accuracy(model: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Return top-1 accuracy in percent."""
    session = ort.InferenceSession(model)
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: images[i : i + 100]})[0] for i in range(0, len(images), 100)]
    return float(100 * np.mean(np.concatenate(parts).argmax(axis=1) == labels))


def main(arguments: list[str]) -> int:
    """Print one row a model."""
    (name, *models), options = split(arguments)
    data = np.load(Path(name) / "cifar10.npz")
    test, labels = feed_of(data["test"]), data["test_labels"]
    print("| model | bytes before | bytes after | ratio | top-1 before | top-1 after | seconds |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        calibration, output = Path(work) / "calibration.npz", Path(work) / "out.onnx"
        np.savez(calibration, input=feed_of(data["calibration"]))
        for model in map(Path, models):
            seconds = compress(model, output, "-c", str(calibration), *options)
            before, after = model.stat().st_size, output.stat().st_size
            accuracies = [f"{accuracy(path, test, labels):.2f}" for path in (model, output)]
            print(
                f"| {model.name} | {before:,} | {after:,} | {before / after:.2f}x "
                f"| {' | '.join(accuracies)} | {seconds:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
