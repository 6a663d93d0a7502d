"""Low-rank factorisation of matrices and of convolution kernels W (out, in, k_1 .. k_n).

Truncated SVD, the best approximation of rank r (Eckart and Young, Psychometrika 1, 1936):

    A = U S Vᵀ ≈ L R,  L = U_r S_r^(1/2) (m, r),  R = S_r^(1/2) V_rᵀ (r, n),  |A - L R|² = Σ_(i>r) σ_i²

For inputs x with the second moment H = E[x xᵀ] the error of the output, tr((A - L R) H (A - L R)ᵀ), is
least with L = U_r of A H^(1/2) = U S Vᵀ, and R = Lᵀ A (the eigenvectors of A H Aᵀ are U).

A kernel is a matrix in three ways (`Method`), each a pair of thinner convolutions:

    out      (out, in*k)           k -> 1x1           Zhang et al., TPAMI 38(10), 2016
    in       (in, out*k)           1x1 -> k           the same, the other way round
    spatial  (in*k_1, out*k_2*..)  k_1 x1 -> 1x k_2   Jaderberg et al., BMVC 2014, scheme 2

Tucker-2, 1x1 -> k -> 1x1 (Kim et al., ICLR 2016): W ≈ G ×_out P ×_in Q with orthonormal P and Q, from
the leading eigenvectors of both unfoldings (HOSVD), improved by alternating least squares (HOOI; De
Lathauwer et al., SIAM J. Matrix Anal. Appl. 21(4), 2000).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from onnxzip.records.layer import Statistics

Method: TypeAlias = Literal["out", "in", "spatial"]

ROW_AXES: dict[Method, tuple[int, ...]] = {"out": (1,), "in": (2,), "spatial": (2, 3)}
"""Axes of the canonical weight (batch, out, in, k_1 ..) that make the rows of its matrix."""

HOOI_ITERATIONS = 3
"""HOSVD alone is within sqrt(2) of the least error (De Lathauwer et al., property 10), and no iteration
adds to it; the kernels of digits_cnn at a third of their ranks lose 0.829 and 0.762 with HOSVD alone,
0.806 and 0.747 after three iterations, 0.805 and 0.747 after ten (`tucker2`)."""


MAX_GRAM_BYTES = 1 << 26
"""float64 bytes of a slab of a matrix while its Gram matrix is summed."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The full SVD of a stack of matrices.

    Attributes:
        left: (b, m, r_max) float32, U S^(1/2).
        right: (b, r_max, n) float32, S^(1/2) Vᵀ.
        singular: (b, r_max) float64, falling.
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    singular: NDArray[np.float64]


def svd(matrices: NDArray[np.float32]) -> Decomposition:
    """Decompose a stack of matrices through the eigenvectors of the smaller Gram matrix.

    A 30522 x 384 matrix takes a second, where numpy's SVD takes 10 times as long. The Gram matrix is
    float64: squared singular values are exact to 1e-16 of the largest, that is singular values to 1e-8.

    Args:
        matrices: (b, m, n) float32.

    Returns:
        The decomposition with r_max = min(m, n).
    """
    if matrices.shape[1] < matrices.shape[2]:
        turned = svd(np.ascontiguousarray(np.swapaxes(matrices, 1, 2)))
        return Decomposition(
            np.ascontiguousarray(np.swapaxes(turned.right, 1, 2)),
            np.ascontiguousarray(np.swapaxes(turned.left, 1, 2)),
            turned.singular,
        )
    parts = [_tall_svd(matrix) for matrix in matrices]
    return Decomposition(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))


def _tall_svd(
    matrix: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return left (m, n), right (n, n) and the singular values (n,) of one matrix with m >= n."""
    values, vectors = leading_eigenvectors(gram(matrix), matrix.shape[1])
    singular = np.sqrt(np.maximum(values, 0))
    # left = A V S^(-1/2); where σ vanishes so does A v, and any finite scale will do
    floor = max(float(singular[0]) * 1e-8, np.finfo(np.float64).tiny)
    inverse = np.where(singular > floor, 1 / np.sqrt(np.maximum(singular, floor)), 0)
    left = matrix @ (vectors * inverse).astype(np.float32)
    right = (vectors * np.sqrt(singular)).T.astype(np.float32)
    return left, np.ascontiguousarray(right), singular


def gram(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return AᵀA of (m, n) in float64, (n, n), summed over slabs of rows."""
    n_rows = max(MAX_GRAM_BYTES // (8 * max(matrix.shape[1], 1)), 1)
    total = np.zeros((matrix.shape[1],) * 2)
    for start in range(0, len(matrix), n_rows):
        slab = matrix[start : start + n_rows].astype(np.float64)
        total += slab.T @ slab
    return total


def leading_eigenvectors(
    symmetric: NDArray[np.float64], rank: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the `rank` largest eigenvalues, falling, and their vectors (n, rank) of (n, n)."""
    values, vectors = eigh(symmetric, driver="evd")
    return values[::-1][:rank], vectors[:, ::-1][:, :rank]


def output_directions(
    plane: NDArray[np.float32], statistics: Statistics
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the orthogonal directions of A x for x with the given second moment, by falling energy.

    Args:
        plane: A, (m, n) float32.
        statistics: have H.

    Returns:
        The eigenvalues (r,) of A H Aᵀ and their vectors (m, r), with r = min(m, n). They are the squared
        singular values and the left singular vectors of A H^(1/2); zero where there is no energy.
    """
    if len(plane) <= plane.shape[1]:
        values, vectors = leading_eigenvectors(
            (statistics.times(plane) @ plane.T).astype(np.float64), len(plane)
        )
        return np.maximum(values, 0), vectors.astype(np.float32)
    values, vectors = eigh(statistics.second_moment.astype(np.float64), driver="evd")
    root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
    left, _, singular = _tall_svd(replace(statistics, second_moment=root).times(plane))
    norms = np.sqrt(np.maximum(np.square(left, dtype=np.float64).sum(axis=0), 1e-300))
    return np.square(singular), (left / norms).astype(np.float32)


def rank_for_energy(singular: NDArray[np.float64], fraction: float) -> int:
    """Return the least rank that keeps a fraction of the energy Σ σ², over all matrices of a stack.

    Args:
        singular: (b, r_max).
        fraction: of the energy, above 0, at most 1.
    """
    energy = np.cumsum(np.square(singular).sum(0))
    return min(int(np.searchsorted(energy, fraction * energy[-1] * (1 - 1e-12))) + 1, len(energy))


def unfold(weight: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """Return the matrices of a canonical weight (b, out, in, k_1 ..), (b, rows, columns) float32."""
    axes = _order(weight.ndim, method)
    n_rows = int(np.prod([weight.shape[a] for a in ROW_AXES[method]]))
    return np.ascontiguousarray(np.transpose(weight, axes)).reshape(len(weight), n_rows, -1)


def fold(matrices: NDArray[np.float32], shape: tuple[int, ...], method: Method) -> NDArray[np.float32]:
    """Return the canonical weight of the given shape from its matrices; the inverse of `unfold`."""
    unfolded = matrices.reshape(unfolded_shape(shape, method))
    return np.ascontiguousarray(np.transpose(unfolded, fold_permutation(len(shape), method)))


def unfolded_shape(shape: tuple[int, ...], method: Method) -> tuple[int, ...]:
    """Return the canonical shape with its axes in the order of `unfold`: batch, rows, columns."""
    return tuple(shape[a] for a in _order(len(shape), method))


def fold_permutation(n_axes: int, method: Method) -> tuple[int, ...]:
    """Return the permutation that takes `unfolded_shape` back to the canonical order."""
    return tuple(int(a) for a in np.argsort(_order(n_axes, method)))


def _order(n_axes: int, method: Method) -> tuple[int, ...]:
    rows = ROW_AXES[method]
    return (0, *rows, *(a for a in range(1, n_axes) if a not in rows))


@dataclass(frozen=True, eq=False)
class Tucker:
    """W ≈ Σ_(p,q) out_basis[o,p] core[p,q,k] in_basis[i,q].

    Attributes:
        core: (r_out, r_in, k) float32.
        out_basis: (out, r_out) float32, orthonormal columns.
        in_basis: (in, r_in) float32, orthonormal columns.
    """

    core: NDArray[np.float32]
    out_basis: NDArray[np.float32]
    in_basis: NDArray[np.float32]

    def product(self) -> NDArray[np.float32]:
        """Return the kernel it stands for, (out, in, k)."""
        half = np.tensordot(self.out_basis, self.core, 1)
        return np.ascontiguousarray(np.matmul(self.in_basis, half))


def tucker2(kernel: NDArray[np.float32], rank_out: int, rank_in: int) -> Tucker:
    """Decompose a kernel over its out and in axes by HOSVD and a few HOOI iterations.

    Args:
        kernel: (out, in, k) float32.
        rank_out: r_out, at most out and at most r_in * k.
        rank_in: r_in, at most in.
    """
    in_basis = _basis(np.swapaxes(kernel, 0, 1), rank_in)
    for _ in range(HOOI_ITERATIONS):
        out_basis = _basis(np.einsum("oik,iq->oqk", kernel, in_basis, optimize=True), rank_out)
        in_basis = _basis(np.einsum("oik,op->ipk", kernel, out_basis, optimize=True), rank_in)
    core = np.einsum("oik,op,iq->pqk", kernel, out_basis, in_basis, optimize=True)
    return Tucker(np.ascontiguousarray(core), out_basis, in_basis)


def _basis(tensor: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
    """Return the leading left singular vectors of a tensor unfolded along its first axis."""
    rows = tensor.reshape(len(tensor), -1)
    _, vectors = leading_eigenvectors(gram(np.ascontiguousarray(rows.T)), rank)
    return np.ascontiguousarray(vectors, np.float32)
