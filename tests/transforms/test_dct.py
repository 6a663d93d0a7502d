"""transforms.dct against scipy.fft."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.transforms.dct import (
    dct_matrix,
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
def test_basis_is_scipys_transform_and_its_own_inverse(spatial: tuple[int, ...]) -> None:
    kernels = gaussian(4, 3, *spatial)
    axes = tuple(range(2, 2 + len(spatial)))
    expected = scipy.fft.dctn(kernels, axes=axes, norm="ortho") if axes else kernels
    basis = spatial_basis(spatial)
    flat = kernels.reshape(12, -1)
    np.testing.assert_allclose(flat @ basis.T, expected.reshape(12, -1), atol=1e-5)
    np.testing.assert_allclose(flat @ basis.T @ basis, flat, atol=1e-5)
    assert basis.dtype == np.float32


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
    coefficients = kernels.reshape(30, 9) @ spatial_basis((3, 3)).T
    energy = np.square(coefficients.astype(np.float64)).sum(axis=0)
    kept = kept_positions(energy, 0.9)
    assert 0 < len(kept) < 9
    restored = (coefficients[:, kept] @ spatial_basis((3, 3))[kept]).reshape(kernels.shape)
    lost = np.square(kernels - restored, dtype=np.float64).sum()
    assert lost == pytest.approx(energy.sum() - energy[kept].sum(), rel=1e-4)
    assert lost <= 0.1 * energy.sum() * (1 + 1e-4)
