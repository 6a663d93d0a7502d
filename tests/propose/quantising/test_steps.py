"""Steps of int8 weights: sums of two products fit int16, and no runtime rounds to other integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.propose.quantising.steps import LARGEST, LARGEST_PAIR, grid_for
from onnxzip.records.payload import IntegerGrid
from onnxzip.transforms.dct import spatial_basis
from tests.casebook.kit import Draft, value
from tests.graph.running import BASIC, OFF, run

MARGIN = 127 * 2.0**-20
SCALES = (0.0, 1e-38, 1e-30, 1e-20, 1e-5, 0.01, 1.0, 300.0, 1e10, 1e30)


def distance(grid: IntegerGrid, weight: np.ndarray) -> float:
    """Return how near a number is to the middle between two integers."""
    levels = grid.levels(weight).astype(np.float64)
    return float(np.abs(levels - np.floor(levels) - 0.5).min())


def weight_of(shape: tuple[int, ...], axis: int, seed: int, scales: list[float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spread = rng.choice(scales, [n if i == axis else 1 for i, n in enumerate(shape)])
    return np.asarray(rng.standard_normal(shape) * spread, np.float32)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.sampled_from(
        [((16, 8, 3, 3), 0), ((40, 30), 1), ((9, 30), 0), ((8, 4, 5), 0), ((300, 1, 3, 3), 0)]
    ),
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(SCALES), min_size=1, max_size=4),
    st.sampled_from([0.0, 1e-3, 0.2]),
)
def test_integers_fit_and_are_the_same_everywhere(
    place: tuple[tuple[int, ...], int], seed: int, scales: list[float], noise: float
) -> None:
    shape, axis = place
    weight = weight_of(shape, axis, seed, scales)
    with np.errstate(over="ignore"):
        original = weight * np.float32(1 + noise)
    grid = grid_for(weight, original, axis, np.zeros(shape[axis], np.float32))
    integers = grid.integers(weight)
    assert np.abs(integers.astype(int)).max() <= LARGEST
    channels = np.moveaxis(integers, axis, 0)
    for order in (channels, np.moveaxis(channels, 1, -1)):
        rows = np.abs(order.reshape(len(channels), -1).astype(int))
        assert (rows[:, :-1] + rows[:, 1:]).max() <= LARGEST_PAIR
    assert grid.steps.min() > 0
    assert np.isfinite(grid.steps).all()
    if not noise or not weight.any():  # nothing is decoded, or nothing that is rounded
        return
    assert distance(grid, weight) >= MARGIN
    # So that numbers that are off by what float32 rounds are still rounded to the same integers.
    assert np.array_equal(grid.integers(weight * np.float32(1 + 2**-21)), integers)
    assert grid.excess(weight, integers) == 0.0
    assert grid.excess(weight, np.where(integers > 0, integers - 1, integers + 1)) > 1e-5


def test_one_step_serves_a_weight_that_is_coded_coarsely() -> None:
    rng = np.random.default_rng(0)
    original = rng.standard_normal((16, 8, 3, 3)).astype(np.float32)
    least = np.zeros(16, np.float32)
    coarse = (np.rint(original / 0.7) * 0.7).astype(np.float32)
    assert grid_for(coarse, original, 0, least).steps.shape == ()
    fine = (np.rint(original / 0.1) * 0.1).astype(np.float32)
    assert grid_for(fine, original, 0, least).steps.shape == (16,)
    assert grid_for(original, original, 0, least).steps.shape == (16,)


def test_steps_of_channels_are_no_wider_than_an_eighth_more_and_fit_float16() -> None:
    weight = np.random.default_rng(1).standard_normal((64, 300)).astype(np.float32)
    weight[5] = 0  # bears any steps, and must not spoil the others
    steps = grid_for(weight, weight, 0, np.zeros(64, np.float32)).steps
    sizes = np.abs(weight)
    pairs = (sizes[:, 1:] + sizes[:, :-1]).max(axis=1)
    narrowest = np.maximum(sizes.max(axis=1) / LARGEST, pairs / LARGEST_PAIR) * 0.99
    assert (steps >= narrowest).all()
    others = np.arange(64) != 5
    assert (steps[others] <= narrowest[others] * 1.15).all()
    assert np.array_equal(steps.astype(np.float16).astype(np.float32), steps)


def test_steps_are_as_wide_as_biases_want_them() -> None:
    weight = np.full((4, 70), 1e-20, np.float32)
    least = np.array([0, 1e-3, 0, 1e-30], np.float32)
    steps = grid_for(weight, weight, 0, least).steps
    assert steps[1] >= 1e-3
    assert steps[0] < 1e-21


@pytest.mark.parametrize("k", [3, 8])
def test_what_decoders_make_of_a_weight_is_within_half_of_the_margin(k: int) -> None:
    """The product with a basis, as `dct` decodes, in both kinds of sessions beside float64."""
    rng = np.random.default_rng(k)
    basis = spatial_basis((k, k))
    coefficients = (rng.integers(-9, 10, (4096, k * k)) * 0.037).astype(np.float32)
    draft = Draft()
    draft.add("MatMul", ["x", draft.tensor("b", basis)], "y")
    proto = draft.model([value("x", [4096, k * k])], [value("y", [4096, k * k])])
    exact = coefficients.astype(np.float64) @ basis.astype(np.float64)
    for level in (OFF, BASIC):
        found = run(proto, {"x": coefficients}, level)["y"]
        assert np.abs(found - exact).max() <= 2.0**-20 / 2 * np.abs(exact).max()
