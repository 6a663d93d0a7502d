"""scikit-learn: convert a pipeline with skl2onnx, and compress it.

python scikit_learn.py OUT.onnx
"""

from __future__ import annotations

import sys

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import onnxzip


def main() -> None:
    """Fit, convert, compress."""
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    network = MLPClassifier((256, 128), max_iter=30, random_state=0)
    pipeline = make_pipeline(StandardScaler(), network).fit(images[:1000], labels[:1000])
    # zipmap off: probabilities as an array, which can be compared, instead of a list of dicts
    model = to_onnx(pipeline, images[:1], options={"zipmap": False})
    result = onnxzip.compress(model, sys.argv[1], calibration=images[:1000], overwrite=True)
    print(f"{result.report.bytes_before:,} -> {result.report.bytes_after:,} bytes")


if __name__ == "__main__":
    main()
