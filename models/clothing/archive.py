"""The files beside the scripts: the network, and the images that it is compressed and judged on.

Test images are stored as what this application is about, truncated DCT coefficients of a byte each, one
frequency after the other; ten of them, one of each class, also as pixels, for comparison by eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.clothing.images import N_PIXELS, network_input, truncate
from models.clothing.pictures import CLASSES, Pictures

HERE = Path(__file__).parent
NETWORK = HERE / "clothing.onnx"
CALIBRATION = HERE / "calibration.npz"
CALIBRATION_LABELS = HERE / "calibration_labels.npy"
TEST = HERE / "test.npz"
EXAMPLES = HERE / "examples.png"
SEARCH = HERE / "search.csv"
TRAININGS = HERE / "trainings.csv"
N_CALIBRATION = 512
N_TEST = 2_000


@dataclass(frozen=True)
class TestImages:
    """The test images.

    Attributes:
        steps: (images, k, k) truncated DCT coefficients, in steps.
        step: of the quantiser, in units of the pixels' range.
        labels: (images,) classes.
    """

    steps: NDArray[np.int8]
    step: float
    labels: NDArray[np.uint8]

    @property
    def n_kept(self) -> int:
        """Rows and columns of coefficients, k."""
        return int(self.steps.shape[-1])


@cache
def read_test() -> TestImages:
    """Return the test images."""
    with np.load(TEST) as data:
        return TestImages(np.moveaxis(data["steps"], -1, 0), float(data["step"]), data["labels"])


def read_examples() -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Return ten pictures, (10, 28, 28), one of each class, and their places among the test images."""
    with Image.open(EXAMPLES) as sheet:
        pixels = np.asarray(sheet)
    return pixels.reshape(N_PIXELS, -1, N_PIXELS).transpose(1, 0, 2), _first_of_each(read_test().labels)


def write(training: Pictures, test: Pictures, n_kept: int, step: float) -> None:
    """Write calibration*.np*, test.npz and examples.png: the first images of either part."""
    calibration, kept = training[:N_CALIBRATION], test[:N_TEST]
    inputs = network_input(truncate(calibration.pixels, n_kept, step), step)
    np.savez_compressed(CALIBRATION, coefficients=inputs)
    np.save(CALIBRATION_LABELS, calibration.labels)
    ordered = np.ascontiguousarray(np.moveaxis(truncate(kept.pixels, n_kept, step), 0, -1))
    np.savez_compressed(TEST, steps=ordered, step=step, labels=kept.labels)
    pixels = kept.pixels[_first_of_each(kept.labels)]
    sheet = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 0, 2)).reshape(N_PIXELS, -1))
    sheet.save(EXAMPLES, optimize=True)
    read_test.cache_clear()


def _first_of_each(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.array([np.flatnonzero(labels == label)[0] for label in range(len(CLASSES))])
