"""transforms.wavelet against PyWavelets."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.transforms.wavelet import (
    Geometry,
    Tiling,
    analysis_matrix,
    forward,
    inverse,
    plan_geometry,
    pyramid_matrix,
    synthesis_matrix,
    threshold,
    threshold_levels,
    tile_axis,
    universal_threshold,
)

WAVELETS = [
    "haar",
    "db2",
    "db5",
    "sym4",
    "coif1",
    "bior2.2",
    "rbio3.1",
    "bior4.4",
]  # "dmey" inverts itself to 1e-3 only, in PyWavelets too


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def whole(rows: int, columns: int, wavelet: str, levels: int, n_batch: int = 1) -> Geometry:
    return Geometry(wavelet, levels, n_batch, Tiling(rows, rows, 1), Tiling(columns, columns, 1))


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize(("n", "levels"), [(2, 1), (8, 3), (12, 2), (40, 3)])
def test_pyramid_matrix_is_pywts(n: int, levels: int, wavelet: str) -> None:
    x = gaussian(n).astype(np.float64)
    coefficients, approximation = [], x
    for _ in range(levels):
        approximation, detail = pywt.dwt(approximation, wavelet, mode="periodization")
        coefficients.insert(0, detail)
    stacked = np.concatenate([approximation, *coefficients])
    np.testing.assert_allclose(pyramid_matrix(n, levels, wavelet) @ stacked, x, atol=1e-9)


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("n", [2, 3, 6, 7, 16])
def test_matrices_are_pywts_and_invert_each_other(n: int, wavelet: str) -> None:
    x = gaussian(n).astype(np.float64)
    a, d = pywt.dwt(x, wavelet, mode="periodization")
    np.testing.assert_allclose(analysis_matrix(n, wavelet) @ x, np.concatenate([a, d]), atol=1e-10)
    np.testing.assert_allclose(synthesis_matrix(n, wavelet) @ np.concatenate([a, d]), x, atol=1e-9)
    product = synthesis_matrix(n, wavelet) @ analysis_matrix(n, wavelet)
    np.testing.assert_allclose(product, np.eye(n), atol=1e-9)


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("n", [2, 6, 16])
def test_synthesis_is_the_filters_shifted_by_two(n: int, wavelet: str) -> None:
    matrix = synthesis_matrix(n, wavelet)
    for band in (0, n // 2):
        for j in range(n // 2):
            np.testing.assert_allclose(matrix[:, band + j], np.roll(matrix[:, band], 2 * j), atol=1e-12)


@pytest.mark.filterwarnings("ignore:Level value of")
@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize(("rows", "columns"), [(16, 24), (15, 9), (7, 32)])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_bands_are_wavedec2s(rows: int, columns: int, levels: int, wavelet: str) -> None:
    plane = gaussian(rows, columns)
    geometry = whole(rows, columns, wavelet, levels)
    approximation, *details = pywt.wavedec2(
        plane.astype(np.float64), wavelet, mode="periodization", level=levels
    )
    expected = [approximation, *(band for level in details for band in level)]
    coefficients = forward(plane[None], geometry)
    flat = np.concatenate([band.ravel() for band in expected])
    np.testing.assert_allclose(coefficients, flat, atol=1e-4)
    shapes = [(1, band.shape[0], 1, band.shape[1]) for band in expected]
    assert geometry.band_shapes() == shapes
    restored = pywt.waverec2([approximation, *details], wavelet, mode="periodization")
    ours = inverse(flat.astype(np.float32), geometry)[0]
    np.testing.assert_allclose(ours, restored[:rows, :columns], atol=1e-4)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from(["haar", "db3", "bior2.2"]),
    st.integers(1, 20),
)
def test_inverse_undoes_forward(
    n_batch: int, rows: int, columns: int, levels: int, wavelet: str, limit: int
) -> None:
    planes = gaussian(n_batch, rows, columns, seed=rows)
    geometry = plan_geometry(planes.shape, wavelet, levels, limit)
    coefficients = forward(planes, geometry)
    assert coefficients.dtype == np.float32
    assert coefficients.shape == (geometry.n_coefficients,)
    np.testing.assert_allclose(inverse(coefficients, geometry), planes, atol=1e-4)


def test_small_haar_tiles_equal_the_whole_plane() -> None:
    planes = gaussian(2, 24, 32)
    geometry = plan_geometry(planes.shape, "haar", 2)
    assert (geometry.rows.tile, geometry.columns.tile) == (4, 4)
    for i in range(2):
        untiled = forward(planes[i : i + 1], whole(24, 32, "haar", 2))
        ours = np.split(forward(planes, geometry).reshape(-1), [2 * 6 * 8])[0]
        np.testing.assert_allclose(ours.reshape(2, -1)[i], untiled[: 6 * 8], atol=1e-5)


@pytest.mark.parametrize("n", [1, 5, 384, 1000, 30522])
@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_tiles_are_affordable_and_hardly_redundant(n: int, wavelet: str) -> None:
    tiling = tile_axis(n, 2, wavelet, 64)
    assert tiling.tile <= 64
    assert tiling.n_tiles * tiling.tile >= n
    assert (tiling.n_tiles - 1) * tiling.tile < n
    assert tiling.n_coefficients(2) <= max(1.06 * n, n + 3)


def test_orthogonal_wavelet_keeps_the_energy() -> None:
    planes = gaussian(1, 32, 48)
    coefficients = forward(planes, whole(32, 48, "sym4", 3))
    assert np.linalg.norm(coefficients) == pytest.approx(np.linalg.norm(planes), rel=1e-5)


def test_universal_threshold_of_unit_noise() -> None:
    noise = gaussian(100_000)
    assert universal_threshold(noise) == pytest.approx(np.sqrt(2 * np.log(100_000)), rel=0.02)
    assert universal_threshold(noise[:1]) == 0.0


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_threshold_is_pywts(kind: str) -> None:
    details = gaussian(500)
    expected = pywt.threshold(details, 0.7, kind)
    np.testing.assert_allclose(threshold(details, 0.7, soft=kind == "soft"), expected, atol=1e-6)
    assert threshold(details, 0.7, soft=kind == "soft").dtype == np.float32


def test_levels_have_their_own_thresholds() -> None:
    geometry = whole(16, 16, "haar", 2)
    coefficients = forward(gaussian(1, 16, 16), geometry)
    slices = geometry.details()
    assert [(s.start, s.stop) for s in slices] == [(16, 64), (64, 256)]
    result = threshold_levels(coefficients, slices, [0.0, 100.0], soft=False)
    np.testing.assert_array_equal(result[:64], coefficients[:64])
    assert not result[64:].any()
