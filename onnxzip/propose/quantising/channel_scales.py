"""By how much each channel of a value is divided before the value is rounded to one grid for all.

A few channels behind a normalisation or a Gelu hold numbers ten times as large as the others, and all
share one step. x W = (x / s) (s W): the channels of x become alike, and the rows of W bear what they
differed by, each of whose columns has a step of its own. Two families of s are tried:

* s_j = max|x_j|^a / max|w_j|^(1 - a), SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, equation 4);
* s_j = max(max|x_j| / limit, 1), which leaves all but the largest channels alone: what many small
  channels meet in other inputs may be far above what was seen.

What the product then loses is measured on vectors that s was not made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.measure.moments.channels import Channels
from onnxzip.passbase import relative_error
from onnxzip.propose.quantising.grid import N_LEVELS, grid_of_range
from onnxzip.propose.quantising.steps import LARGEST

_POWERS = (0.5, 0.65, 0.8)
"""Values of a: in all-MiniLM-L6-v2 0.65 is the best behind its normalisations."""

_LIMITS = (2, 4, 8, 16, 32)
"""The largest magnitude over the limit: there 4 to 8 are the best behind its Gelus, three times as good
as no scales in the first layer, where the powers gain half as much."""

_MAX_COLUMNS = 1024
"""Columns of a weight that the error is measured in, evenly spaced: a bound on time."""


@dataclass(frozen=True, eq=False)
class Scales:
    """What a value's channels are divided by.

    Attributes:
        divisors: (n,) float32, all above 0.
        before: relative error of the products of rounded values and rounded weights, without them.
        after: likewise with them.
    """

    divisors: NDArray[np.float32]
    before: float
    after: float


def best_scales(channels: Channels, weight: NDArray[np.float32]) -> Scales:
    """Return the scales with which a product loses least; all 1 where none helps.

    Args:
        channels: of the value, n of them.
        weight: (n, n_out) float32, all weights that multiply it.
    """
    columns = weight[:, :: -(-weight.shape[1] // _MAX_COLUMNS)]
    wanted = channels.held @ columns
    ones = np.ones(len(weight), np.float32)
    before = _error(channels, columns, ones, wanted)
    found = [
        (_error(channels, columns, make, wanted), i, kind)
        for i, (kind, make) in enumerate(_ladder(channels.peaks, weight))
    ]
    after, _, (family, setting) = min(found)
    if after >= before:
        return Scales(ones, before, before)
    return Scales(_scales(family, setting, channels.all_peaks, weight), before, after)


def _ladder(
    peaks: NDArray[np.float32], weight: NDArray[np.float32]
) -> Iterator[tuple[tuple[str, float], NDArray[np.float32]]]:
    """Yield settings, and the scales that they make of the largest magnitudes of channels."""
    for family, settings in (("power", _POWERS), ("limit", _LIMITS)):
        for setting in settings:
            yield (family, setting), _scales(family, setting, peaks, weight)


def _scales(
    family: str, setting: float, peaks: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (n,) scales."""
    of_values = _floored(peaks)
    if family == "limit":
        scales = np.maximum(of_values * setting / of_values.max(), 1.0)
    else:
        scales = of_values**setting / _floored(np.abs(weight).max(axis=1)) ** (1 - setting)
        scales /= np.exp(np.log(scales).mean())
    return np.asarray(scales, np.float32)


def _floored(peaks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return magnitudes, those below a step of the largest as such a step.

    They are rounded to 0 without scales, and what was never seen would be scaled without bound.
    """
    largest = max(float(peaks.max()), 2.0**-100)
    return np.asarray(np.maximum(peaks, largest / N_LEVELS), np.float64)


def _error(
    channels: Channels,
    weight: NDArray[np.float32],
    scales: NDArray[np.float32],
    wanted: NDArray[np.float32],
) -> float:
    """Return the relative error of the held-out vectors' products."""
    low = float((channels.held_lows / scales).min())
    high = float((channels.held_highs / scales).max())
    values = grid_of_range(low, high).rounded(channels.held / scales)
    scaled = weight * scales[:, None]
    steps = np.maximum(np.abs(scaled).max(axis=0), np.finfo(np.float32).tiny) / np.float32(LARGEST)
    return relative_error(wanted, values @ (np.rint(scaled / steps) * steps))
