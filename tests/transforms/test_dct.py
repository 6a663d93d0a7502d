"""transforms.dct against scipy.fft."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.transforms.dct import (
    dct_matrix,
    forward_blocks,
    forward_spatial,
    inverse_blocks,
    inverse_spatial,
    kept_positions,
    spatial_basis,
)

SHAPES = [(3, 3), (1, 1), (5,), (1, 7), (3, 2, 4), (7, 5), ()]


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 31])
def test_matrix_is_scipys_and_orthogonal(n: int) -> None:
    matrix = dct_matrix(n)
    np.testing.assert_allclose(matrix, scipy.fft.dct(np.eye(n), axis=0, norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(n), atol=1e-12)


@pytest.mark.parametrize("spatial", SHAPES)
def test_spatial_dct_is_scipys(spatial: tuple[int, ...]) -> None:
    kernels = gaussian(4, 3, *spatial)
    axes = tuple(range(2, 2 + len(spatial)))
    expected = scipy.fft.dctn(kernels, axes=axes, norm="ortho") if axes else kernels
    coefficients = forward_spatial(kernels, len(spatial))
    np.testing.assert_allclose(coefficients, expected, atol=1e-5)
    np.testing.assert_allclose(inverse_spatial(coefficients, len(spatial)), kernels, atol=1e-5)
    assert coefficients.dtype == np.float32


def test_one_by_one_is_the_identity() -> None:
    kernels = gaussian(4, 3, 1, 1)
    np.testing.assert_array_equal(forward_spatial(kernels, 2), kernels)


@pytest.mark.parametrize("spatial", SHAPES)
def test_basis_inverts_flattened_axes_in_one_matmul(spatial: tuple[int, ...]) -> None:
    kernels = gaussian(4, 3, *spatial)
    basis = spatial_basis(spatial)
    flat = forward_spatial(kernels, len(spatial)).reshape(12, -1)
    np.testing.assert_allclose(flat @ basis, kernels.reshape(12, -1), atol=1e-5)


def blocks_by_scipy(matrix: np.ndarray, block_columns: int, block_rows: int) -> np.ndarray:
    expected = np.empty_like(matrix)
    for top in range(0, matrix.shape[0], block_rows):
        for left in range(0, matrix.shape[1], block_columns):
            place = np.s_[top : top + block_rows, left : left + block_columns]
            expected[place] = scipy.fft.dctn(matrix[place], norm="ortho")
    return expected


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(1, 30), st.integers(1, 9), st.integers(1, 5))
def test_blocks_are_scipys(rows: int, columns: int, width: int, height: int) -> None:
    matrix = gaussian(rows, columns, seed=rows * 31 + columns)
    coefficients = forward_blocks(matrix, width, height)
    np.testing.assert_allclose(coefficients, blocks_by_scipy(matrix, width, height), atol=1e-5)
    np.testing.assert_allclose(inverse_blocks(coefficients, width, height), matrix, atol=1e-5)


def test_block_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="block of 0"):
        forward_blocks(gaussian(2, 2), 0)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_kept_positions_hold_the_energy_and_no_fewer_do(energies: list[float], fraction: float) -> None:
    energy = np.array(energies)
    kept = kept_positions(energy, fraction)
    total = energy.sum()
    assert len(kept) >= 1
    assert np.array_equal(kept, np.unique(kept))
    slack = 1e-9 * total
    assert energy[kept].sum() >= fraction * total - slack
    if len(kept) > 1:
        assert np.sort(energy)[::-1][: len(kept) - 1].sum() <= fraction * total + slack


def test_truncation_error_is_the_dropped_energy() -> None:
    kernels = gaussian(6, 5, 3, 3) + 2
    coefficients = forward_spatial(kernels, 2).reshape(30, 9)
    energy = np.square(coefficients.astype(np.float64)).sum(axis=0)
    kept = kept_positions(energy, 0.9)
    assert 0 < len(kept) < 9
    restored = (coefficients[:, kept] @ spatial_basis((3, 3))[kept]).reshape(kernels.shape)
    lost = np.square(kernels - restored, dtype=np.float64).sum()
    assert lost == pytest.approx(energy.sum() - energy[kept].sum(), rel=1e-4)
    assert lost <= 0.1 * energy.sum() * (1 + 1e-4)
