"""The pictures: Fashion-MNIST, as Debian packages it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.clothing.images import N_PIXELS

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""
CLASSES = (
    *("T-shirt", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
N_VALIDATION = 5_000


@dataclass(frozen=True)
class Pictures:
    """Pictures (images, 28, 28) and their classes (images,), both uint8."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: slice) -> Pictures:
        return Pictures(self.pixels[which], self.labels[which])


def read_installed(folder: Path = INSTALLED) -> tuple[Pictures, Pictures, Pictures]:
    """Return 55,000 pictures to train on, 5,000 to choose settings by, and 10,000 to test on.

    Args:
        folder: with the four .gz files of Fashion-MNIST in their IDX format.

    Raises:
        SystemExit: there are none.
    """
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        raise SystemExit(
            f"{folder}: holds no Fashion-MNIST; `apt-get install dataset-fashion-mnist` puts it into"
            f" {INSTALLED}, --data names another folder"
        )
    training, test = _read(folder, "train"), _read(folder, "t10k")
    return training[:-N_VALIDATION], training[-N_VALIDATION:], test


def _read(folder: Path, part: str) -> Pictures:
    images, labels = (
        gzip.decompress((folder / f"{part}-{kind}-ubyte.gz").read_bytes())
        for kind in ("images-idx3", "labels-idx1")
    )
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, N_PIXELS, N_PIXELS)
    return Pictures(pixels.copy(), np.frombuffer(labels, np.uint8, offset=8).copy())
