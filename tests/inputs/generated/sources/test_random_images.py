"""Random images: which shapes are images, and whether they have the statistics that they claim."""

import numpy as np
import pytest

from onnxzip.inputs.axes import channel_axis
from onnxzip.inputs.generated.sources.random_images import random_images


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((8, 3, 32, 32), 1),
        ((8, 1, 28, 28), 1),
        ((2, 64, 48, 3), 3),
        ((2, 4, 64, 64), 1),
        ((2, 64, 16, 16), None),
        ((2, 3, 1, 3), None),
        ((8, 3, 32), None),
        ((8, 1), None),
        ((), None),
    ],
)
def test_what_is_an_image(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis


@pytest.mark.parametrize("shape", [(200, 3, 32, 32), (200, 48, 32, 3), (200, 1, 33, 31)])
def test_statistics(shape: tuple[int, ...]) -> None:
    """About normalised; neighbours and channels are alike, and samples differ in brightness."""
    axis = channel_axis(shape)
    assert axis is not None
    images = random_images(shape, axis, np.random.default_rng(0))
    assert images.shape == shape
    images = np.moveaxis(images, axis, 1)
    assert abs(images.mean()) < 0.1
    assert 0.8 < images.std() < 1.5
    assert np.corrcoef(images[..., 1:].ravel(), images[..., :-1].ravel())[0, 1] > 0.6
    assert images.mean(axis=(1, 2, 3)).std() > 0.2
    if images.shape[1] > 1:
        assert np.corrcoef(images[:, 0].ravel(), images[:, 1].ravel())[0, 1] > 0.6


def test_spectrum_falls_like_that_of_natural_images() -> None:
    images = random_images((300, 1, 64, 64), 1, np.random.default_rng(1))[:, 0]
    patterns = images - images.mean(axis=(1, 2), keepdims=True)
    patterns /= patterns.std(axis=(1, 2), keepdims=True)
    amplitude = np.abs(np.fft.rfft2(patterns)).mean(axis=0)[0, 1:32]
    slope = np.polyfit(np.log(np.arange(1, 32)), np.log(amplitude), 1)[0]
    assert -1.3 < slope < -0.7


def test_same_seed_same_images() -> None:
    first, second = (random_images((2, 3, 8, 8), 1, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(random_images((2, 3, 8, 8), 1, np.random.default_rng(6)) - first).min() > 0
