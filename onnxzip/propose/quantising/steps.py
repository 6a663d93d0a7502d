"""The int8 steps of a weight that was settled on: how wide, and one for all channels or one each.

Runtimes decode a weight in float32, with rounding errors of their own. Where a number lies within them
of the middle between two integers, they may round it to different ones. Somewhat wider steps move the
numbers against the grid: steps are widened until no number lies that near.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.estimates import FLOAT16_NORMAL
from onnxzip.records.aliases import Array
from onnxzip.records.payload import IntegerGrid

LARGEST = 127
"""Largest integer of a weight."""

LARGEST_PAIR = 128
"""Largest sum of two that are neighbours: processors without VNNI add two products with uint8 in int16
(255 * 128 < 2^15). 7 bits, which onnxruntime's quantisation page calls reduced range, see to that too,
with steps that are a third wider, as the largest weights are seldom neighbours."""

_LEAST_STEP = float(np.finfo(np.float32).tiny) * 2**14
"""What a weight of zeros is taken for: steps times those of an input are normal numbers still."""

_MARGIN = LARGEST * 2.0**-20
"""Least distance of a number from the middle between two integers: 16 times the rounding error of
float32 at the largest integer. tests/propose/quantising/test_steps.py measures what decoders make."""

_N_WIDTHS, _WIDEST = 64, 1.125
"""Steps that are tried, up to so many times the narrowest."""

_MOST_DIVISIONS = 1 << 25
"""For steps of a whole weight: a tenth of a second."""

_MOST_DIVISIONS_BY_CHANNEL = 1 << 28
"""For steps of channels, most of which need one try each: a few seconds, for weights of 100 MB."""

_SHARE = 1 / 64
"""Of the squared error that coding a weight makes, which landing may add where one step serves all
channels: 1.6 %, less than a step of the search."""


def grid_for(
    weight: Array,
    original: Array,
    axis: int,
    least: NDArray[np.float32],
    *,
    has_axis: bool = True,
) -> IntegerGrid:
    """Return the grid that a weight lands on; no integer exceeds LARGEST.

    Args:
        weight: as it is decoded, float32.
        original: as it was: where coding has moved it by more than one step for all of it would, there
            is just one.
        axis: of the channels.
        least: (n_channels,), the least steps that channels may have.
        has_axis: whether channels may have steps of their own.
    """
    narrowest = _narrowest(np.moveaxis(weight, axis, 0))
    if narrowest.any():  # a channel of zeros bears any steps: it gets some that are like the others
        narrowest = np.where(narrowest > 0, narrowest, np.median(narrowest[narrowest > 0]))
    steps = np.maximum(np.maximum(narrowest, _LEAST_STEP), least).astype(np.float32)
    moved = ((weight - original) / steps.max()).reshape(-1)
    error = float(moved @ moved) / moved.size
    if not has_axis:
        common = _common_step(weight, steps.max())
        return IntegerGrid(np.asarray(steps.max()) if common is None else common, axis)
    if error == 0:  # it is not decoded, or exactly
        return IntegerGrid(_narrow(steps), axis)
    if _SHARE * error >= 1 / 12:
        found = _common_step(weight, steps.max())
        if found is not None:
            return IntegerGrid(found, axis)
    return IntegerGrid(_channel_steps(np.moveaxis(weight, axis, 0).reshape(len(steps), -1), steps), axis)


def _narrowest(channels: Array) -> Array:
    """Return the narrowest steps of (n_channels, n_inputs, *kernel) weights, float32.

    Kernels of convolutions take a position's inputs one after the other, or an input's positions;
    neighbours in either order count.
    """
    sizes = np.abs(channels)
    narrowest = sizes.reshape(len(sizes), -1).max(axis=1) / np.float32(LARGEST + 0.25)
    for order in (sizes, np.moveaxis(sizes, 1, -1)):
        halves = order.reshape(len(sizes), -1) / 2  # whose sums are finite
        # Both may be rounded up by a half.
        pairs = (halves[:, :-1] + halves[:, 1:]).max(axis=1, initial=0.0) / (LARGEST_PAIR / 2 - 0.375)
        narrowest = np.maximum(narrowest, pairs)
    return np.asarray(narrowest)


def _widths(step: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(step * np.linspace(1, _WIDEST, _N_WIDTHS, dtype=np.float32)[:, None], np.float32)


def _narrow(steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the next steps that float16 holds to its full precision, if it does so with all of them."""
    if steps.min() < FLOAT16_NORMAL[0] or steps.max() > FLOAT16_NORMAL[1] / 2:
        return steps
    narrow = steps.astype(np.float16)
    up = np.nextafter(narrow, np.float16(np.inf))
    return np.where(narrow.astype(np.float32) < steps, up, narrow).astype(np.float32)


def _common_step(weight: Array, narrowest: np.float32) -> NDArray[np.float32] | None:
    """Return a step () at which all numbers keep their distance; None where none was found."""
    n_tries = max(_MOST_DIVISIONS // max(weight.size, 1), 1)
    for step in _widths(np.array([narrowest]))[:n_tries, 0]:
        if _distance(weight / step).min() >= _MARGIN:
            return np.asarray(step, np.float32)
    return None


def _channel_steps(rows: Array, narrowest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return steps for (n_channels, n) numbers, each the best that is tried, or the first good one."""
    best = np.full(len(rows), -1.0)
    steps = narrowest.copy()
    n_tries = max(_MOST_DIVISIONS_BY_CHANNEL // max(rows.size, 1), 4)
    for tried in map(_narrow, _widths(narrowest)[:n_tries]):
        (open_,) = np.nonzero(best < _MARGIN)
        if not len(open_):
            break
        distances = _distance(rows[open_] / tried[open_, None]).min(axis=1)
        better = open_[distances > best[open_]]
        steps[better] = tried[better]
        best[open_] = np.maximum(best[open_], distances)
    return steps


def _distance(levels: Array) -> Array:
    """Return how far numbers are from the middle between two integers."""
    return np.asarray(np.abs(levels - np.floor(levels) - np.float32(0.5)))
