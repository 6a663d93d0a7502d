"""Real photographs as inputs, for models whose user gives none.

A network that looks at pictures does other things with photographs than with noise: 48 pictures of
people, animals, things, buildings, textures, the sky, the earth, text and medicine lie in `pictures/`,
with their authors and licences in `pictures/PROVENANCE.md`. What is fed are crops of them, which differ
in place, size and direction, so that 48 pictures give many samples.
"""

from __future__ import annotations

import functools
import io
import math
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FOLDER = "pictures"
_SUFFIX = ".jpg"

_MIN_SIDE = 48
"""Pixels: the shorter side of a crop; in a smaller one no object of these pictures can be told."""

_ASPECT_DEVIATION = 0.1
"""Of the logarithm of a crop's aspect ratio: objects are seen a tenth too wide or too narrow."""

_MAX_ASPECT = 3.0
"""Of a crop: lines of text may be 10 to 1, where a crop of the pictures would be 16 pixels high."""

_PAPER = (0.5, 0.95)
"""Share of a sheet that is empty: of the digits in models/ half to three quarters, of text more."""

_SOFTNESS = 0.1
"""Difference of brightness over which a stroke ends."""

_MIN_FRAMED = 96
"""Pixels: smaller inputs are those of classifiers, which are fed what fills them."""

_FRAMED_SHARE, _FRAMED_SIZES = 0.25, (0.3, 1.0)
"""Of pictures, and of their sides: detectors are fed pictures of other shapes, padded. Guesses."""

_GROUNDS = ((0, 0, 0), (0, 0, 0), (114, 114, 114), (255, 255, 255))
"""What is padded with: black, the grey of YOLO's letterboxes (Redmon et al.; ultralytics), white."""


def photographs(
    n: int, n_channels: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return random crops of photographs, each of another picture until all have been taken.

    The order of the pictures is drawn once: crops i and j are of the same picture only if i - j is a
    multiple of their number, so that samples that are held out show other pictures than the rest as
    long as there are not more of both than pictures.

    Of large ones every fourth is padded, as detectors are fed pictures of another shape than their own.
    Of one channel every second one is drawn: grey inputs are as often letters, signs and plans.

    Args:
        n: number of crops.
        n_channels: 1 for luminance, 3 for red, green and blue, 4 for these and an opaque alpha.
        height: of the result, in pixels; crops are resized to it with antialiasing.
        width: likewise.
        rng: source of the random numbers.

    Returns:
        (n, n_channels, height, width), from 0 to 1. The same numbers follow from the same state of
        `rng` with the same Pillow.
    """
    pictures = _pictures()
    order = rng.permutation(len(pictures))
    crops = np.empty((n, n_channels, height, width))
    crops[:, 3:] = 1.0  # alpha
    for i in range(n):
        picture = pictures[order[i % len(pictures)]]
        is_framed = min(width, height) >= _MIN_FRAMED and rng.random() < _FRAMED_SHARE
        crop = (_framed if is_framed else _resized)(picture, (width, height), rng)
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        bands = crop.convert("L" if n_channels == 1 else "RGB").split()
        for channel, band in enumerate(bands):
            np.divide(np.asarray(band), 255, out=crops[i, channel])
        if n_channels == 1 and i % 2:
            crops[i, 0] = _drawn(crops[i, 0], rng)
    return crops


def _resized(picture: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a random crop in a given width and height."""
    box = _box(picture.size, size[0] / size[1], rng)
    return picture.resize(size, Image.Resampling.BICUBIC, box)


def _framed(picture: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a random crop that leaves a part of the width and height empty, as letterboxes do."""
    scales = rng.uniform(*_FRAMED_SIZES, 2)
    inner = tuple(max(int(scale * side), 1) for scale, side in zip(scales, size, strict=True))
    ground = Image.new("RGB", size, _GROUNDS[rng.integers(len(_GROUNDS))])
    is_centred = rng.random() < 0.5
    place = tuple(
        (whole - part) // 2 if is_centred else 0 for whole, part in zip(size, inner, strict=True)
    )
    ground.paste(_resized(picture, (inner[0], inner[1]), rng), (place[0], place[1]))
    return ground


def _drawn(picture: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the outlines of what is bright, or dark, as strokes on an empty sheet, (height, width)."""
    level = np.quantile(picture, rng.uniform(*_PAPER))
    strokes = np.clip((picture - level) / _SOFTNESS + 0.5, 0.0, 1.0)
    return 1.0 - strokes if rng.random() < 0.5 else strokes


def _box(
    size: tuple[int, int], aspect: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw a crop's left, top, right and bottom: from a few dozen pixels to all that fits."""
    aspect = min(max(aspect, 1 / _MAX_ASPECT), _MAX_ASPECT) * math.exp(rng.normal(0, _ASPECT_DEVIATION))
    largest = min(size[0], size[1] * aspect)  # wide
    shorter = largest * min(1.0, 1 / aspect)
    scale = min(_MIN_SIDE / shorter, 1.0) ** rng.random()
    width, height = min(scale * largest, size[0]), min(scale * largest / aspect, size[1])
    left, top = rng.random(2) * (size[0] - width, size[1] - height)
    # Rounding must not lead out of the picture: Pillow refuses that.
    return left, top, min(left + width, size[0]), min(top + height, size[1])


@functools.cache
def _pictures() -> tuple[Image.Image, ...]:
    """Decode all pictures, 2 MB in memory, in the order of their names."""
    folder = resources.files(__package__) / _FOLDER
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(_SUFFIX)), key=str)
    return tuple(Image.open(io.BytesIO(file.read_bytes())).convert("RGB") for file in files)
