"""Random images with the statistics of natural ones, for models whose real inputs are not at hand.

On white noise a network that looks at images answers nearly the same to every sample, so that one
direction of its output decides what any error seems to cost. Natural images have amplitudes that fall
with spatial frequency as 1 / f^a, with a near 1 and different from image to image (Field 1987,
doi 10.1364/JOSAA.4.002379), channels that mostly go together, and a brightness, contrast and cast of
colour of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLOPES = (0.6, 1.4)
"""Exponents a: around the 1 of photographs (256 of CIFAR-10, which were made small, have 1.3 to 1.8)."""

_CHANNEL_CORRELATION = 0.9
"""256 normalised images of CIFAR-10 have 0.89 to 0.95."""

_CONTRAST_DEVIATION = 0.4
"""Of its logarithm: those images have 0.36."""

_OFFSET_DEVIATION = 0.35
"""For brightness and the cast of colour alike: those images have 0.56 and 0.24."""


def random_images(shape: tuple[int, ...], axis: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Generate images, normalised as models expect them: mean 0 and deviation 1 over many.

    Args:
        shape: (n, channels, height, width), or (n, height, width, channels).
        axis: of the channels, 1 or 3.
        rng: source of the random numbers.
    """
    n, n_channels = shape[0], shape[axis]
    height, width = shape[2:] if axis == 1 else shape[1:3]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0  # the mean is drawn below
    images = np.empty((n, n_channels, height, width))
    for i in range(n):
        noise = np.sqrt(1 - _CHANNEL_CORRELATION) * rng.standard_normal((n_channels, height, width))
        noise += np.sqrt(_CHANNEL_CORRELATION) * rng.standard_normal((1, height, width))
        spectrum = np.fft.rfft2(noise) / frequency ** rng.uniform(*_SLOPES)
        pattern = np.fft.irfft2(spectrum, (height, width))
        pattern -= pattern.mean()
        contrast = np.exp(rng.normal(0, _CONTRAST_DEVIATION)) / max(np.std(pattern), 1e-12)
        brightness = rng.normal(0, _OFFSET_DEVIATION) + rng.normal(
            0, _OFFSET_DEVIATION, (n_channels, 1, 1)
        )
        images[i] = contrast * pattern + brightness
    return images if axis == 1 else np.moveaxis(images, 1, 3)
