"""A script that called onnxruntime's quantize_static, after the one line that had to change.

python from_quantize_static.py MODEL.onnx IMAGES.npz OUT.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader

import onnxzip


class Images(CalibrationDataReader):
    """The images of a .npz file, a batch at a time."""

    def __init__(self, path: str, batch: int = 64) -> None:
        """Open the file."""
        with np.load(path) as data:
            images = data["image"]
        parts = (images[start : start + batch] for start in range(0, len(images), batch))
        self.feeds: Iterator[dict[str, NDArray[np.float32]]] = ({"image": part} for part in parts)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return what to feed next, None when there is no more."""
        return next(self.feeds, None)


def main() -> None:
    """Quantise, as before."""
    model, images, output = sys.argv[1:]
    # quantize_static(model, output, Images(images))
    onnxzip.compress(model, output, calibration=Images(images), overwrite=True)


if __name__ == "__main__":
    main()
