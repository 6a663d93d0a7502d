"""Factors for known inputs: what they lose is what is predicted, and as little as theory allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxzip.records.layer import Statistics
from onnxzip.transforms.factorisation import Kernel, Method, product, with_equal_components

SETTINGS = settings(derandomize=True, deadline=None, max_examples=40)
SHAPES = ((12, 9), (9, 14), (8, 6, 3), (8, 6, 3, 2), (5, 7, 2, 3, 2), (10, 4, 1, 1), (6, 8, 1, 5))


def kernel_for(shape: tuple[int, ...], seed: int = 0) -> Kernel:
    """A kernel whose inputs have a few strong directions."""
    rng = np.random.default_rng(seed)
    n_columns = int(np.prod(shape[1:]))
    spread = np.geomspace(1, 0.03, n_columns)
    inputs = rng.standard_normal((4 * n_columns, n_columns)) * spread
    inputs = inputs @ np.linalg.qr(rng.standard_normal((n_columns, n_columns)))[0]
    moment = (inputs.T @ inputs / len(inputs) + 1e-4 * np.eye(n_columns)).astype(np.float32)
    return Kernel(rng.standard_normal(shape, np.float32), Statistics(moment, len(inputs)))


def loss(kernel: Kernel, other: NDArray[np.float32]) -> float:
    """The relative error of the outputs, by definition."""
    moment = kernel.statistics.second_moment.astype(np.float64)
    weight, changed = (w.reshape(len(w), -1).astype(np.float64) for w in (kernel.weight, other))
    before, after = (np.einsum("oi,ij,oj->", w, moment, w) for w in (weight, weight - changed))
    return float(np.sqrt(after / before))


def ranks_of(kernel: Kernel, method: Method, share: float) -> tuple[int, int]:
    rank = max(int(share * kernel.max_rank(method)), 1)
    return rank, max(int(share * kernel.weight.shape[1]), 1) if method == "tucker" else 0


@SETTINGS
@given(st.sampled_from(SHAPES), st.floats(0.1, 0.9), st.integers(0, 99))
def test_the_loss_of_factors_is_what_is_predicted(
    shape: tuple[int, ...], share: float, seed: int
) -> None:
    kernel = kernel_for(shape, seed)
    for method in kernel.methods:
        ranks = ranks_of(kernel, method, share)
        found = loss(kernel, product(kernel.factors(method, *ranks)))
        assert kernel.error(method, *ranks) == pytest.approx(found, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_full_ranks_lose_nothing(shape: tuple[int, ...]) -> None:
    kernel = kernel_for(shape)
    for method in kernel.methods:
        ranks = ranks_of(kernel, method, 1.0)
        whole = product(kernel.factors(method, *ranks))
        assert whole.shape == shape
        np.testing.assert_allclose(whole, kernel.weight, atol=2e-3)
        assert kernel.error(method, *ranks) < 2e-3


@SETTINGS
@given(st.integers(1, 8), st.integers(0, 99))
def test_no_factors_of_a_matrix_lose_less(rank: int, seed: int) -> None:
    """The tail of the singular values of W H^(1/2) bounds every approximation of a rank."""
    kernel = kernel_for((12, 9), seed)
    root = np.linalg.cholesky(kernel.statistics.second_moment.astype(np.float64))
    singular = np.linalg.svd(kernel.weight @ root, compute_uv=False)
    bound = float(np.sqrt(np.square(singular[rank:]).sum() / np.square(singular).sum()))
    assert kernel.error("out", rank) == pytest.approx(bound, rel=1e-3, abs=1e-5)


def test_inputs_decide_which_directions_are_kept() -> None:
    """Channels that are always zero, nearly, cost nothing, however large their weights are."""
    weight = (
        np.ones((6, 4, 3, 3), np.float32) * np.array([1, 2, 3, 100], np.float32)[None, :, None, None]
    )
    weight += np.random.default_rng(0).standard_normal(weight.shape, np.float32)
    level = np.repeat([1.0, 1.0, 1.0, 1e-8], 9)
    kernel = Kernel(weight, Statistics(np.diag(level).astype(np.float32), 9))
    assert kernel.error("in", 3) < 0.02
    blind = Kernel(weight, Statistics(np.eye(36, dtype=np.float32), 9))
    first, second = blind.factors("in", 3)
    assert loss(kernel, product((first, second))) > 2 * kernel.error("in", 3)


def test_what_follows_is_fitted_to_the_outputs() -> None:
    """With taps that go together no other second factor loses less."""
    kernel = kernel_for((8, 6, 3, 3), 3)
    for method in ("in", "spatial"):
        first, second = kernel.factors(method, 3)
        least = loss(kernel, product((first, second)))
        rng = np.random.default_rng(0)
        for _ in range(20):
            other = second + 0.02 * np.abs(second).mean() * rng.standard_normal(second.shape, np.float32)
            assert loss(kernel, product((first, other))) >= least - 1e-6


@pytest.mark.parametrize("shape", [(12, 9), (8, 6, 3, 2)])
def test_equal_components_keep_the_product(shape: tuple[int, ...]) -> None:
    kernel = kernel_for(shape)
    moment = kernel.statistics.second_moment
    for method in kernel.methods:
        factors = kernel.factors(method, *ranks_of(kernel, method, 0.5))
        equal = with_equal_components(factors, moment)
        np.testing.assert_allclose(product(equal), product(factors), atol=1e-4)
        rows = equal[0].reshape(len(equal[0]), -1)
        n_taps = len(moment) // rows.shape[1]
        met = np.einsum("atbt->ab", moment.reshape(rows.shape[1], n_taps, -1, n_taps)) / n_taps
        np.testing.assert_allclose(np.einsum("ra,ab,rb->r", rows, met, rows), 1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(96, 64), (64, 96), (40, 8, 3, 3), (90, 4, 3, 3)])
def test_more_components_than_there_are_lose_nothing(shape: tuple[int, ...]) -> None:
    kernel = kernel_for(shape)
    rng, n_columns = np.random.default_rng(0), int(np.prod(shape[1:]))
    weight = rng.standard_normal((shape[0], 4)) @ rng.standard_normal((4, n_columns))
    poor = Kernel(weight.reshape(shape).astype(np.float32), kernel.statistics)
    for rank in (4, 16, 24):
        assert loss(poor, product(poor.factors("out", rank))) < 1e-4


def test_a_kernel_of_zeros_stays_one() -> None:
    kernel = Kernel(np.zeros((6, 5, 3, 3), np.float32), Statistics(np.eye(45, dtype=np.float32), 9))
    for method in kernel.methods:
        factors = with_equal_components(kernel.factors(method, 2, 2), kernel.statistics.second_moment)
        assert not product(factors).any()
