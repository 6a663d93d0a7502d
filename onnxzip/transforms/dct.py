"""Orthonormal DCT-II over the spatial axes of kernels and over blocks of matrices.

The DCT-II of x in R^n is X = C x with

    C[k, i] = s_k cos(pi (2 i + 1) k / (2 n)),   s_0 = sqrt(1 / n),   s_k = sqrt(2 / n) for k > 0.

C is orthogonal, so x = C^T X, and energy is preserved: |X| = |x| (Parseval).
The transform over several axes is separable; over the flattened axes it is the Kronecker product
C_1 x C_2 x ... (row-major vec). Keeping some positions P of X and dropping the rest gives
x' = C[P]^T X[P] with |x - x'|^2 = the energy of what was dropped.

Source: N. Ahmed, T. Natarajan, K. R. Rao, "Discrete Cosine Transform", IEEE Trans. Computers C-23,
1974; normalisation as scipy.fft.dct(type=2, norm="ortho").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dct_matrix(n: int) -> NDArray[np.float64]:
    """Return C, the orthonormal DCT-II of length n: (n, n), row k is the k-th basis vector."""
    k = np.arange(n)[:, None]
    i = np.arange(n)[None, :]
    matrix = np.sqrt(2.0 / max(n, 1)) * np.cos(np.pi * (2 * i + 1) * k / (2 * max(n, 1)))
    matrix[:1] *= np.sqrt(0.5)
    return np.asarray(matrix, np.float64)


def spatial_basis(spatial: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the separable DCT over flattened axes as one matrix.

    Args:
        spatial: sizes of the axes, any number of them (none: the identity of size 1).

    Returns:
        B, (k, k) float32 with k = prod(spatial): coefficients = values @ B.T and, as B is
        orthogonal, values = coefficients @ B, over row-major flattened axes.
    """
    basis: NDArray[np.floating] = np.eye(1)
    for n in spatial:
        basis = np.kron(basis, dct_matrix(n))
    return np.asarray(basis, np.float32)


def kept_positions(energies: NDArray[np.float64], keep_fraction: float) -> NDArray[np.int64]:
    """Return the fewest positions that hold a given share of the energy.

    Args:
        energies: (positions,) energy of each position, not negative.
        keep_fraction: share to keep, 0 to 1; at 1 only positions without any energy are dropped.

    Returns:
        Sorted positions, at least one; ties keep the lower position.
    """
    order = np.argsort(-energies, kind="stable")
    dropped = np.cumsum(energies[order][::-1])[::-1]  # energy lost when dropping from this rank on
    limit = (1.0 - keep_fraction) * float(energies.sum())
    n_kept = max(1, int(np.count_nonzero(dropped > limit)))
    return np.sort(order[:n_kept])
