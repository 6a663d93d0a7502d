"""The data the models are trained and judged on: scikit-learn's handwritten digits.

`python models/digits.py` writes the arrays stored beside the models; `train_*.py` import the split.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
N_TEST = 360
N_CALIBRATION = 512


def split() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return train images, train labels, test images, test labels of a fixed stratified split.

    Returns:
        Images are float32 (n, 1, 8, 8) in [0, 1] (the data set's 17 grey levels divided by 16),
        labels int64 (n,); 1,437 images to train on and 360 to test.
    """
    data = load_digits()
    images = (data.images[:, None] / 16).astype(np.float32)
    labels = data.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=N_TEST, random_state=0, stratify=labels
    )
    return x_train, y_train, x_test, y_test


def main() -> None:
    """Write digits_calibration*.np* (training images only) and digits_test*.np*."""
    x_train, y_train, x_test, y_test = split()
    np.savez_compressed(HERE / "digits_calibration.npz", image=x_train[:N_CALIBRATION])
    np.save(HERE / "digits_calibration_labels.npy", y_train[:N_CALIBRATION].astype(np.uint8))
    np.savez_compressed(HERE / "digits_test.npz", image=x_test)
    np.save(HERE / "digits_test_labels.npy", y_test.astype(np.uint8))


if __name__ == "__main__":
    main()
