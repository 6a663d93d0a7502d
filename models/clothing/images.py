"""Greyscale images as truncated DCT coefficients, and back.

An image x of n x n pixels in [0, 1] becomes C (x - 1/2) C^T with C the orthonormal DCT-II
(onnxzip/transforms/dct.py). Of these coefficients the k x k of the lowest frequencies are kept, each a
whole number of steps in one byte: k^2 bytes an image before any entropy coding, instead of n^2. As C is
orthogonal no coefficient is larger than |x - 1/2| <= n / 2, so with n = 28 and a step of 1/8 none is
beyond 112 steps, and a signed byte holds all of them.
"""

from __future__ import annotations

import lzma
import math

import numpy as np
from numpy.typing import NDArray

from onnxzip.transforms.dct import dct_matrix

N_PIXELS = 28
"""Width and height of an image."""
FINEST_STEP = 1 / 8
"""Of the quantiser, in units of the pixels' range: the finest power of two that fits a byte."""
MIDDLE = 0.5
"""Subtracted from pixels, as JPEG does it, so that the mean takes no more bits than it must."""


def truncate(pixels: NDArray[np.uint8], n_kept: int, step: float) -> NDArray[np.int8]:
    """Return the n_kept x n_kept lowest coefficients in steps.

    Args:
        pixels: (images, n, n), 0 ... 255.
        n_kept: rows and columns of coefficients that stay, 1 ... n.
        step: of the quantiser, in units of the pixels' range; FINEST_STEP or more.

    Returns:
        (images, n_kept, n_kept) numbers of steps, frequency 0 first.
    """
    basis = dct_matrix(pixels.shape[-1])[:n_kept]
    coefficients = basis @ (pixels / 255 - MIDDLE) @ basis.T
    return np.rint(coefficients / step).astype(np.int8)


def network_input(
    steps: NDArray[np.int8], step: float, n_kept: int | None = None
) -> NDArray[np.float32]:
    """Return what the network is fed: coefficients, float32 (images, 1, k, k).

    Args:
        steps: (images, k, k), as `truncate` gives them.
        step: of the quantiser.
        n_kept: replace all but the n_kept x n_kept lowest by 0.
    """
    values = steps[:, None].astype(np.float32) * np.float32(step)
    if n_kept is not None:
        values[:, :, n_kept:] = 0
        values[:, :, :, n_kept:] = 0
    return values


def restore(coefficients: NDArray[np.floating], n_pixels: int = N_PIXELS) -> NDArray[np.uint8]:
    """Return what is left of images: the inverse DCT, dropped coefficients being 0.

    Args:
        coefficients: (..., k, k), k at most n_pixels.
        n_pixels: width and height of the pictures.

    Returns:
        (..., n_pixels, n_pixels), 0 ... 255.
    """
    basis = dct_matrix(n_pixels)[: coefficients.shape[-1]]
    pixels = basis.T @ coefficients @ basis + MIDDLE
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def coded_bytes(steps: NDArray[np.int8]) -> float:
    """Return bytes an image takes in an archive (xz -9) of all, one frequency after the other."""
    ordered = np.ascontiguousarray(np.moveaxis(steps, 0, -1))
    return len(lzma.compress(ordered.tobytes(), preset=9)) / len(steps)


def thumbnail_basis(n_kept: int) -> NDArray[np.float32]:
    """Return B, (k, k): B.T X B + 1/2 is the image of k x k pixels that k x k coefficients X amount to.

    The inverse DCT of length k, times sqrt(k / n) an axis, because an orthonormal basis of fewer pixels
    has larger entries.
    """
    return np.asarray(dct_matrix(n_kept) * math.sqrt(n_kept / N_PIXELS), np.float32)
