"""Photographs in the shape of an input: where its channels stand, and how many pictures a run takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.axes import IMAGE_CHANNELS, channel_axis
from onnxzip.inputs.generated.draws import Draw
from onnxzip.inputs.generated.scalings import Scaling
from onnxzip.inputs.generated.sources.photographs import photographs
from onnxzip.runtime.input_spec import InputSpec

_LEAST_SIDE = 16
"""Of a single picture without a batch: a smaller (3, n, m) may be anything."""


@dataclass(frozen=True)
class Layout:
    """Where an input has its pictures.

    Attributes:
        n_pictures: in one run.
        n_channels: 1, 3 or 4.
        height: in pixels.
        width: in pixels.
        is_last: whether the channels are the last axis, and not the third to last.
    """

    n_pictures: int
    n_channels: int
    height: int
    width: int
    is_last: bool

    def arrange(self, pictures: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Lay out pictures, (n, channels, height, width), as runs of an input: (n_runs, *shape)."""
        if self.is_last:
            pictures = np.moveaxis(pictures, 1, 3)
        return np.ascontiguousarray(pictures).reshape(-1, *shape)


def layout_of(spec: InputSpec, shape: tuple[int, ...]) -> Layout | None:
    """Return where an input has pictures; None for what has none.

    Batches of them, films (batch, frames, channels, height, width), and single ones where every axis is
    fixed.

    Args:
        spec: the input.
        shape: as resolved.
    """
    if len(shape) == 3:
        is_picture = all(isinstance(dim, int) for dim in spec.shape) and sorted(shape)[1] >= _LEAST_SIDE
        is_coloured = any(shape[axis] in IMAGE_CHANNELS[1:] for axis in (0, 2))
        if not (is_picture and is_coloured):
            return None
    if len(shape) not in (3, 4, 5):
        return None
    axis = channel_axis((1, *shape[-3:]))
    if axis is None:
        return None
    n_pictures = math.prod(shape[:-3])
    if axis == 3:
        height, width, n_channels = shape[-3:]
        return Layout(n_pictures, n_channels, height, width, is_last=True)
    n_channels, height, width = shape[-3:]
    return Layout(n_pictures, n_channels, height, width, is_last=False)


def pictures_of(layout: Layout, scaling: Scaling) -> Draw:
    """Return what draws photographs in one scaling."""

    def draw(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> NDArray[np.float64]:
        # One call for all runs: pictures come back after 48, so that every fourth run has others.
        n = n_runs * layout.n_pictures
        pictures = photographs(n, layout.n_channels, layout.height, layout.width, rng)
        return layout.arrange(scaling.apply(pictures), shape)

    return draw


def bytes_of(layout: Layout, least: int) -> Draw:
    """Return what draws photographs as bytes, whose least value is 0 or -128."""
    scaling = Scaling("bytes", lambda pictures: np.round(255 * pictures) + least)
    return pictures_of(layout, scaling)
