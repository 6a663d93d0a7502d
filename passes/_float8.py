"""8-bit floats as integers in rising order, and back; for `lossless`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array

N_NEGATIVE = 128
"""Floats whose sign bit is set; the first of them, -0, is at place -1."""


def places_of(floats: Array) -> NDArray[np.int16]:
    """Return where 8-bit floats stand in rising order: 0 is 0, -1 is -0, as the bits tell it."""
    bits = floats.view(np.uint8).astype(np.int16)
    return np.where(bits < N_NEGATIVE, bits, N_NEGATIVE - 1 - bits)


def floats_of_places(dtype: np.dtype[np.generic]) -> NDArray[np.float32]:
    """Return the floats of all places, (256,), from the least up; 0 for what is not finite."""
    places = np.arange(-N_NEGATIVE, N_NEGATIVE)
    bits = np.where(places < 0, N_NEGATIVE - 1 - places, places).astype(np.uint8)
    floats = bits.view(dtype).astype(np.float32)
    return np.where(np.isfinite(floats), floats, np.float32(0))
