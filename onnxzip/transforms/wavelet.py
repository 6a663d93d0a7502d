"""Multi-level 2-D discrete wavelet transform of planes, as matrices, and thresholding.

One level along an axis of even length n maps x to the n/2 approximations and n/2 details of a
two-channel filter bank on the periodised axis; synthesis is the matrix S with x = S [a; d], whose
columns are the synthesis filters shifted by two:

    S[t, j] = g0[(t - 2 j) mod n],     S[t, n/2 + j] = g1[(t - 2 j) mod n].

An odd axis is extended by its last sample first (one coefficient more than samples), and cropped
after synthesis; an axis of length 1 is left alone. Level l is applied to level l-1's approximation
along both axes: plane = S_rows [[A, V], [H, D]] S_columns^T (Mallat's pyramid).

A matrix over a long axis is neither affordable nor useful, so that an axis longer than a limit is
cut into equal tiles (the last one extended by the last row) and each tile is periodised by itself:
(n, cols) -> (n_tiles, tile, cols). With the Haar filter and tiles of 2^levels that changes nothing.

Thresholding: lambda_l = m sigma_l sqrt(2 ln n_l) over the n_l details of level l, where
sigma_l = median|d| / 0.6745; m = 1 is universal. Hard: d or 0; soft: sign(d) max(|d| - lambda, 0).

Sources: S. Mallat, "A theory for multiresolution signal decomposition", IEEE PAMI 11, 1989; filters
and border handling as PyWavelets' mode "periodization"; D. Donoho, I. Johnstone, "Ideal spatial
adaptation by wavelet shrinkage", Biometrika 81, 1994 (universal threshold, MAD); I. Johnstone,
B. Silverman, "Wavelet threshold estimators for data with correlated noise", JRSS B 59, 1997 (per level).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pywt
from numpy.typing import NDArray

MAD_OF_UNIT_NORMAL = 0.6745
"""Phi^-1(3/4), the median of |x| (Donoho and Johnstone 1994)."""


@cache
def synthesis_matrix(n: int, wavelet: str) -> NDArray[np.float64]:
    """Return S, (n, 2 ceil(n / 2)): x = S [a; d] for one level; the identity for n = 1."""
    if n == 1:
        return np.eye(1)
    half = (n + 1) // 2
    units, zeros = np.eye(half), np.zeros((half, half))
    low = pywt.idwt(units, zeros, wavelet, mode="periodization", axis=0)
    high = pywt.idwt(zeros, units, wavelet, mode="periodization", axis=0)
    return np.asarray(np.hstack([low, high])[:n], np.float64)


@cache
def analysis_matrix(n: int, wavelet: str) -> NDArray[np.float64]:
    """Return A, (2 ceil(n / 2), n): [a; d] = A x for one level; S A = 1."""
    if n == 1:
        return np.eye(1)
    units = np.pad(np.eye(n), ((0, n % 2), (0, 0)), mode="edge")
    return np.asarray(np.vstack(pywt.dwt(units, wavelet, mode="periodization", axis=0)), np.float64)


@cache
def pyramid_matrix(n: int, levels: int, wavelet: str) -> NDArray[np.float64]:
    """Return S, (n, n), with x = S c for the coefficients c of all levels, coarse to fine.

    Args:
        n: a multiple of 2^levels.
        levels: of the pyramid.
        wavelet: as in PyWavelets.
    """
    matrix = np.eye(n)
    for level in range(levels):
        inner = np.eye(n)
        length = n >> level
        inner[:length, :length] = synthesis_matrix(length, wavelet)
        matrix = matrix @ inner
    return matrix


def halve(n: int) -> tuple[int, int]:
    """Return the numbers of approximations and details of an axis of length n."""
    return ((n + 1) // 2, (n + 1) // 2) if n > 1 else (1, 0)


@dataclass(frozen=True)
class Tiling:
    """How an axis of `n` is cut: `n_tiles` tiles of `tile`, together at least n."""

    n: int
    tile: int
    n_tiles: int

    def lengths(self, levels: int) -> list[int]:
        """Length of a tile before each level, and of its last approximation."""
        lengths = [self.tile]
        for _ in range(levels):
            lengths.append(halve(lengths[-1])[0])
        return lengths

    def n_coefficients(self, levels: int) -> int:
        """Coefficients of the whole axis; n when nothing is extended."""
        lengths = self.lengths(levels)
        return self.n_tiles * (lengths[-1] + sum(halve(n)[1] for n in lengths[:-1]))


def tile_axis(n: int, levels: int, wavelet: str, limit: int = 512) -> Tiling:
    """Cut an axis into tiles of at most `limit` that need few coefficients more than samples.

    Of the tiles that need at most 5% more coefficients than the best: the largest; with a filter of two
    taps, which does not see its neighbours' tiles, the smallest, as its matrices are smallest.
    """
    sizes = range(min(n, 2**levels), max(min(n, limit), min(n, 2**levels)) + 1)
    tilings = [Tiling(n, size, -(-n // size)) for size in sizes]
    affordable = 1.05 * min(tiling.n_coefficients(levels) for tiling in tilings)
    smallest_first = pywt.Wavelet(wavelet).dec_len == 2
    ordered = tilings if smallest_first else reversed(tilings)
    return next(tiling for tiling in ordered if tiling.n_coefficients(levels) <= affordable)


@dataclass(frozen=True)
class Geometry:
    """Shape of a transform of (n_batch, rows, columns) planes.

    Bands are ordered from coarse to fine: A of the last level, then H, V, D of each level (H is
    detail along the rows' axis, V along the columns', D both). A band of m_r x m_c coefficients a
    tile has shape (n_batch * row tiles, m_r, column tiles, m_c).
    """

    wavelet: str
    levels: int
    n_batch: int
    rows: Tiling
    columns: Tiling

    @property
    def n_stacks(self) -> int:
        """Row tiles of all planes."""
        return self.n_batch * self.rows.n_tiles

    def band_shapes(self) -> list[tuple[int, int, int, int]]:
        """Shapes of all bands, coarse to fine; a detail of an axis of length 1 has size 0."""
        shapes = [self.tile_shape(self.levels)]
        for level in reversed(range(self.levels)):
            (low_r, high_r), (low_c, high_c) = (halve(n) for n in self.tile_shape(level))
            shapes += [(high_r, low_c), (low_r, high_c), (high_r, high_c)]
        return [(self.n_stacks, r, self.columns.n_tiles, c) for r, c in shapes]

    def tile_shape(self, level: int) -> tuple[int, int]:
        """(rows, columns) of a tile's approximation after `level` levels; level 0 is the tile itself."""
        return self.rows.lengths(level)[-1], self.columns.lengths(level)[-1]

    def details(self) -> list[slice]:
        """Where each level's details lie in the concatenated bands, coarse to fine."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.band_shapes()])
        return [slice(int(ends[3 * i]), int(ends[3 * i + 3])) for i in range(self.levels)]

    @property
    def n_coefficients(self) -> int:
        """Coefficients of all bands."""
        return sum(int(np.prod(shape)) for shape in self.band_shapes())


def plan_geometry(shape: tuple[int, int, int], wavelet: str, levels: int, limit: int = 512) -> Geometry:
    """Choose tiles for (n_batch, rows, columns) planes; levels end where an axis has length 1."""
    n_batch, n_rows, n_columns = shape
    shorter = min((n for n in (n_rows, n_columns) if n > 1), default=1)
    levels = max(1, min(levels, shorter.bit_length() - 1))
    rows = tile_axis(n_rows, levels, wavelet, limit)
    return Geometry(wavelet, levels, n_batch, rows, tile_axis(n_columns, levels, wavelet, limit))


def forward(planes: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Return the bands of (n_batch, rows, columns) planes, raveled and concatenated, float32."""
    rows, columns = geometry.rows, geometry.columns
    extra_rows = rows.n_tiles * rows.tile - rows.n
    extra_columns = columns.n_tiles * columns.tile - columns.n
    if extra_rows or extra_columns:
        planes = np.pad(planes, ((0, 0), (0, extra_rows), (0, extra_columns)), mode="edge")
    plane = planes.reshape(geometry.n_stacks, rows.tile, columns.n_tiles, columns.tile)
    bands: list[NDArray[np.float32]] = []
    for level in range(geometry.levels):
        n_rows, n_columns = geometry.tile_shape(level)
        low_r, low_c = halve(n_rows)[0], halve(n_columns)[0]
        plane = _transform(
            plane,
            analysis_matrix(n_rows, geometry.wavelet),
            analysis_matrix(n_columns, geometry.wavelet),
        )
        details = [plane[:, low_r:, :, :low_c], plane[:, :low_r, :, low_c:], plane[:, low_r:, :, low_c:]]
        bands = [*details, *bands]
        plane = plane[:, :low_r, :, :low_c]
    return np.concatenate([band.ravel() for band in (plane, *bands)])


def inverse(coefficients: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Undo `forward`: (n_batch, rows, columns) planes from `n_coefficients` numbers."""
    shapes = geometry.band_shapes()
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(coefficients, ends[:-1])
    plane, *details = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    for level in reversed(range(geometry.levels)):
        n_rows, n_columns = geometry.tile_shape(level)
        (high_low, low_high, high_high), details = details[:3], details[3:]
        top = np.concatenate([plane, low_high], axis=3)
        bottom = np.concatenate([high_low, high_high], axis=3)
        plane = _transform(
            np.concatenate([top, bottom], axis=1),
            synthesis_matrix(n_rows, geometry.wavelet),
            synthesis_matrix(n_columns, geometry.wavelet),
        )
    rows, columns = geometry.rows, geometry.columns
    whole = plane.reshape(geometry.n_batch, rows.n_tiles * rows.tile, -1)
    return whole[:, : rows.n, : columns.n]


def _transform(
    stacks: NDArray[np.float32], of_rows: NDArray[np.float64], of_columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Multiply axis 3 and then axis 1 of (stacks, rows, tiles, columns) by matrices."""
    n_stacks, n_rows, n_tiles, n_columns = stacks.shape
    across = stacks.reshape(-1, n_columns) @ of_columns.T.astype(np.float32)
    down = np.matmul(of_rows.astype(np.float32), across.reshape(n_stacks, n_rows, -1))
    return np.asarray(down).reshape(n_stacks, len(of_rows), n_tiles, len(of_columns))


def universal_threshold(details: NDArray[np.float32]) -> float:
    """Return sigma sqrt(2 ln n) with sigma = median|d| / 0.6745; 0 for fewer than two details."""
    if details.size < 2:
        return 0.0
    sigma = float(np.median(np.abs(details))) / MAD_OF_UNIT_NORMAL
    return sigma * float(np.sqrt(2 * np.log(details.size)))


def threshold(details: NDArray[np.float32], limit: float, *, soft: bool) -> NDArray[np.float32]:
    """Return details with magnitudes up to `limit` set to zero, the others kept or shrunk by it."""
    if soft:
        return np.asarray(details - np.clip(details, -limit, limit))
    return np.where(np.abs(details) > limit, details, np.float32(0))


def threshold_levels(
    coefficients: NDArray[np.float32], slices: Sequence[slice], limits: Sequence[float], *, soft: bool
) -> NDArray[np.float32]:
    """Return all coefficients with each level's details thresholded at its own limit."""
    result = coefficients.copy()
    for where, limit in zip(slices, limits, strict=True):
        result[where] = threshold(coefficients[where], limit, soft=soft)
    return result
