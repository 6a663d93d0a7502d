"""Scales are chosen by the error of products that they were not made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.measure.moments.channels import Channels
from onnxzip.propose.quantising.channel_scales import best_scales

N, N_OUT = 48, 16
RNG = np.random.default_rng(0)


def channels_of(first: NDArray[np.float32], second: NDArray[np.float32]) -> Channels:
    zero = np.zeros(first.shape[1], np.float32)
    ranges = [np.minimum(first.min(0), zero), np.maximum(first.max(0), zero)]
    ranges += [np.minimum(second.min(0), zero), np.maximum(second.max(0), zero)]
    return Channels(*ranges, second)


def normal(*shape: int) -> NDArray[np.float32]:
    return np.asarray(RNG.standard_normal(shape), np.float32)


def test_large_channels_are_divided_by_more() -> None:
    sizes = np.where(np.arange(N) < 3, 30, 1).astype(np.float32)
    scales = best_scales(channels_of(normal(200, N) * sizes, normal(200, N) * sizes), normal(N, N_OUT))
    assert scales.after < 0.5 * scales.before
    assert scales.divisors[:3].min() > 2 * scales.divisors[3:].max()


def test_scales_that_do_not_hold_elsewhere_are_not_taken() -> None:
    """Channels that are small in one half and large in the other: whatever is made of it hurts."""
    first, second = normal(200, N), normal(200, N)
    first[:, ::2] *= np.float32(0.01)
    second[:, 1::2] *= np.float32(0.01)
    scales = best_scales(channels_of(first, second), normal(N, N_OUT))
    assert np.array_equal(scales.divisors, np.ones(N, np.float32))
    assert scales.after == scales.before


def test_channels_and_rows_without_numbers_have_finite_scales() -> None:
    values, weight = normal(64, N), normal(N, N_OUT)
    values[:, :5] *= 25
    values[:, 7:20] = 0
    weight[30:33] = 0
    scales = best_scales(channels_of(values, values), weight)
    assert np.isfinite(scales.divisors).all()
    assert scales.divisors.min() > 0
    nothing = best_scales(channels_of(0 * values, 0 * values), 0 * weight)
    assert np.array_equal(nothing.divisors, np.ones(N, np.float32))
