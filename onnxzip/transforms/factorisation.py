"""Factors of a kernel W (out, in, k_1 .. k_n) that lose least of what it answers to known inputs.

With the second moment H = E[x xᵀ] of the vectors x (in*k) that W meets, factors V in its place lose the
share |(W - V) H^(1/2)|² / |W H^(1/2)|² of its outputs' energy. The methods are those of lowrank.py:

    out      V = U Uᵀ W with the leading eigenvectors U of W H Wᵀ, which loses least of all V of a rank.
    in       z_t = L x_t at each tap t; L from the leading left singular vectors of C^(1/2) W, unfolded
             to (in, out*k), with C = mean_t E[x_t x_tᵀ]: the least loss where taps are alike and
             independent of each other.
    spatial  the same with the rows (in*k_1) and the taps (k_2 ..).
    tucker   both: what `in` answers, in the directions of `out`.

Taps are neither alike nor independent, so that what follows L is fitted to the outputs themselves, by
least squares: R = W H Fᵀ (F H Fᵀ)^-1 with the features F, L at each tap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, eigh, solve_triangular

from onnxzip.records.layer import Statistics
from onnxzip.transforms.lowrank import leading_eigenvectors, output_directions

Doubles: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["out", "in", "spatial", "tucker"]

_FLOOR = 1e-7
"""Of the largest eigenvalue, or of the mean diagonal: smaller ones are rounding of a float32 moment."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel and what it meets; keeps what all ranks share.

    Attributes:
        weight: (out, in, *kernel) float32; a matrix has no kernel axes.
        statistics: H of its columns, all of them together (one block).
    """

    weight: NDArray[np.float32]
    statistics: Statistics
    _fits: dict[int, _Fit] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods whose factors differ."""
        taps = self.weight.shape[2:]
        if int(np.prod(taps)) == 1:
            return ("out",)
        is_separable = taps[0] > 1 and int(np.prod(taps[1:])) > 1
        return ("out", "in", "tucker", "spatial") if is_separable else ("out", "in", "tucker")

    def max_rank(self, method: Method) -> int:
        """Return the rank at which a method loses nothing; of Tucker-2 that of its outputs."""
        n_out, n_columns = self._plane.shape
        if method in ("out", "tucker"):
            return int(min(n_out, n_columns))
        n_rows = self._n_rows(method)
        return int(min(n_rows, n_out * n_columns // n_rows))

    def error(self, method: Method, rank: int, rank_in: int = 0) -> float:
        """Return the relative error of the outputs, 0 ... 1.

        Args:
            method: one of `methods`.
            rank: how many components; of Tucker-2 output directions.
            rank_in: input directions of Tucker-2.
        """
        if method == "out":
            kept = float(self._directions[0][:rank].sum())
        elif method == "tucker":
            fitted = self._fit("in").explained(rank_in) @ self._directions[1][:, :rank]
            kept = float(np.einsum("io,io->", fitted, fitted))
        else:
            fitted = self._fit(method).explained(rank)
            kept = float(np.einsum("io,io->", fitted, fitted))
        return float(max(1 - kept / self._energy, 0.0) ** 0.5)

    def factors(self, method: Method, rank: int, rank_in: int = 0) -> tuple[NDArray[np.float32], ...]:
        """Return the factors in the order in which they run, (out, in, *kernel) each; see `error`."""
        n_axes = self.weight.ndim - 2
        basis = self._directions[1][:, :rank]
        last = basis.reshape(*basis.shape, *(1,) * n_axes)
        if method == "out":
            inner = (basis.T @ self._plane).reshape(-1, *self.weight.shape[1:])
            return _singles(inner, last)
        if method == "tucker":
            first, second = self._pair("in", rank_in)
            return _singles(first, np.tensordot(basis.T, second, 1), last)
        return _singles(*self._pair(method, rank))

    def _pair(self, method: Method, rank: int) -> tuple[Doubles, Doubles]:
        """Return the factors of `in` or `spatial`."""
        fit, kernel = self._fit(method), self.weight.shape[2:]
        n_split = 0 if method == "in" else 1
        n_axes, n_out = len(kernel), len(self.weight)
        ahead = (*kernel[:n_split], *(1,) * (n_axes - n_split))
        behind = (*(1,) * n_split, *kernel[n_split:])
        first = fit.first[:rank].reshape(-1, self.weight.shape[1], *ahead)
        return first, fit.second(rank).reshape(n_out, -1, *behind)

    def _fit(self, method: Method) -> _Fit:
        n_rows = self._n_rows(method)
        if n_rows not in self._fits:
            self._fits[n_rows] = _Fit(self._plane, self._met, self.statistics.second_moment, n_rows)
        return self._fits[n_rows]

    def _n_rows(self, method: Method) -> int:
        return int(self.weight.shape[1] * (self.weight.shape[2] if method == "spatial" else 1))

    @cached_property
    def _plane(self) -> Doubles:
        return self.weight.reshape(len(self.weight), -1).astype(np.float64)

    @cached_property
    def _met(self) -> Doubles:
        """W H, (out, in*k)."""
        return np.asarray(self._plane @ self.statistics.second_moment.astype(np.float64))

    @cached_property
    def _energy(self) -> float:
        """tr(W H Wᵀ)."""
        return max(float(np.einsum("oi,oi->", self._met, self._plane)), 1e-300)

    @cached_property
    def _directions(self) -> tuple[Doubles, Doubles]:
        """Energies of the outputs' directions, falling, and those, (out, r)."""
        plane = self._plane.astype(np.float32)
        energies, vectors = output_directions(plane, self.statistics)
        # those without energy are made of rounding, and may well repeat those that have it
        orthogonal = np.linalg.qr(vectors.astype(np.float64))[0]
        return energies, orthogonal


class _Fit:
    """Components of the inputs, and the least squares of a kernel's outputs on them.

    The features of a component at all taps stand together, so that those of the first r components are
    the first ones, and so are the rows of a Cholesky factor: one of all serves every rank.

    Args:
        plane: W, (out, rows * taps).
        met: W H, likewise.
        moment: H.
        n_rows: rows that a component is a sum of.

    Attributes:
        first: L, (components, rows).
    """

    def __init__(self, plane: Doubles, met: Doubles, moment: NDArray[np.float32], n_rows: int) -> None:
        """Decompose; see the class."""
        n_out, n_columns = plane.shape
        self._n_taps = n_taps = n_columns // n_rows
        known = moment.astype(np.float64).reshape(n_rows, n_taps, n_rows, n_taps)
        values, vectors = eigh(np.einsum("atbt->ab", known) / n_taps, driver="evd")
        values = np.maximum(values, _FLOOR * values[-1])
        unfolded = plane.reshape(n_out, n_rows, n_taps).transpose(1, 0, 2).reshape(n_rows, -1)
        rooted = (vectors * np.sqrt(values)).T @ unfolded
        _, leading = leading_eigenvectors(rooted @ rooted.T, n_rows)
        self.first = np.ascontiguousarray(((vectors / np.sqrt(values)) @ leading).T)
        seen = np.einsum("ra,oat->rto", self.first, met.reshape(n_out, n_rows, n_taps), optimize=True)
        half = np.tensordot(self.first, known, 1)  # (r, t, b, s)
        second = np.tensordot(half, self.first, (2, 1)).transpose(0, 1, 3, 2)
        second = second.reshape(n_columns, n_columns)
        second[np.diag_indices(n_columns)] += _FLOOR * np.trace(second) / n_columns
        self._lower = cholesky(second, lower=True, overwrite_a=True)
        self._seen = seen.reshape(n_columns, n_out)
        self._explained = solve_triangular(self._lower, self._seen, lower=True)

    def explained(self, rank: int) -> Doubles:
        """Return what the first components explain, (rank * taps, out); its squares are energy."""
        return np.asarray(self._explained[: rank * self._n_taps])

    def second(self, rank: int) -> Doubles:
        """Return R, (out, rank, taps)."""
        n = rank * self._n_taps
        found = cho_solve((self._lower[:n, :n], True), self._seen[:n])
        return np.asarray(found.T.reshape(-1, rank, self._n_taps))


def _singles(*factors: Doubles) -> tuple[NDArray[np.float32], ...]:
    return tuple(np.ascontiguousarray(factor, np.float32) for factor in factors)


def product(factors: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
    """Return the kernel that a chain of factors stands for, (out, in, *kernel).

    Where one has a kernel of one position along an axis, it is the other that counts there.
    """
    first, *others = (factor.astype(np.float64) for factor in factors)
    for factor in others:
        first = np.einsum("or...,ri...->oi...", factor, first, optimize=True)
    return np.ascontiguousarray(first, np.float32)


def with_equal_components(
    factors: tuple[NDArray[np.float32], ...], moment: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """Return factors of the same product between which every value has a mean square of 1.

    An int8 tensor has one step for all its channels: components of little energy would be lost in it.

    Args:
        factors: two or three.
        moment: H of the vectors that their product meets.
    """
    scaled = list(factors)
    for i in range(len(factors) - 1):
        ahead = product(tuple(scaled[: i + 1]))
        rows = ahead.reshape(len(ahead), -1).astype(np.float64)
        n_rows, n_taps = rows.shape[1], len(moment) // rows.shape[1]
        met = np.einsum("atbt->ab", moment.reshape(n_rows, n_taps, n_rows, n_taps)) / n_taps
        squares = np.einsum("ra,ab,rb->r", rows, met, rows, optimize=True)
        scales = np.sqrt(np.maximum(squares, _FLOOR * squares.max())).astype(np.float32)
        scales[scales == 0] = 1  # of a kernel of zeros
        n_axes = scaled[i].ndim - 1
        scaled[i] = scaled[i] / scales.reshape(-1, *(1,) * n_axes)
        scaled[i + 1] = scaled[i + 1] * scales.reshape(1, -1, *(1,) * (n_axes - 1))
    return tuple(scaled)
