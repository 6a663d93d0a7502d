"""Judge a digits model on the 360 test images: `python models/evaluate.py FILE.onnx ...`.

Needs onnxruntime and numpy only. Classifiers: share of correct answers. The autoencoder: peak
signal-to-noise ratio of its reconstructions, in dB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).parent


def evaluate(path: str | Path) -> tuple[str, float]:
    """Return ("accuracy", fraction) of a classifier or ("psnr", dB) of an autoencoder."""
    with np.load(HERE / "digits_test.npz") as data:
        images = data["image"]
    labels = np.load(HERE / "digits_test_labels.npy")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"image": images})
    if output.shape == images.shape:
        return "psnr", float(-10 * np.log10(np.mean((output - images) ** 2, dtype=np.float64)))
    return "accuracy", float(np.mean(output.argmax(axis=1) == labels))


def main() -> None:
    """Print one line per file."""
    if len(sys.argv) < 2:
        sys.exit("usage: python models/evaluate.py FILE.onnx ...")
    for path in sys.argv[1:]:
        metric, value = evaluate(path)
        shown = f"{100 * value:.2f} % correct" if metric == "accuracy" else f"{value:.2f} dB PSNR"
        print(f"{path}: {shown} on 360 test images, {Path(path).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
