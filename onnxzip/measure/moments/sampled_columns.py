"""Draws the vectors that a weight's columns are multiplied with from the values of one run.

A large run gives vectors at random places, so that the cost is bounded whatever the number and size of
the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import sgemm, ssyrk

from onnxzip.graph import Operand
from onnxzip.measure.moments.patches import Positions, patches
from onnxzip.records.aliases import Array

_MIN_VECTORS = 16384
"""What one small product of matrices costs anyway: a guess."""

_VECTORS_PER_COLUMN = 24
"""Sampling spreads a moment's eigenvalues by (1 +- sqrt(columns / vectors))^2 (Marchenko and Pastur
1967, doi 10.1070/SM1967v001n04ABEH001994): with 24, by a fifth to either side of the root."""


@dataclass(frozen=True)
class ColumnView:
    """An operand with all that decides what its vectors are; layers with equal views share a moment.

    For a Gather, n_columns is the number of rows of its table.
    """

    operand: Operand
    kernel: tuple[int, ...]
    n_columns: int


@dataclass(frozen=True, eq=False)
class Drawn:
    """Vectors and where they were found.

    Attributes:
        columns: (n_vectors, n_columns) float32; of another width where the value does not fit the
            weight.
        positions: indices of the output's axes but the channel axis, (n_vectors,) each; for a matrix
            product of its rows, all axes but the last one taken together.
        is_spatial: whether the channels are the output's second axis, as a Conv's are, not its last.
    """

    columns: NDArray[np.float32]
    positions: Positions
    is_spatial: bool

    def results(self, output: Array) -> NDArray[np.float32]:
        """Return what the operator's output (or one of its shape) holds for each vector.

        Args:
            output: (n_samples, n_out, *spatial), or (..., n_out).

        Returns:
            (n_vectors, n_out) float32.
        """
        if self.is_spatial:
            index: tuple[Any, ...] = (self.positions[0], slice(None), *self.positions[1:])
            return np.asarray(output[index], np.float32)
        return np.asarray(output.reshape(-1, output.shape[-1])[self.positions[0]], np.float32)


class OuterSum:
    """A growing sum of products x^T y over vectors x and y; of x^T x where there is no y.

    The sum is kept in place by BLAS (syrk, gemm): new arrays for each run cost more than the products.

    Attributes:
        n_vectors: how many were added.
        fourth: the sum of |x|^4, where there is no y.
    """

    def __init__(self, n_columns: int, n_others: int | None = None) -> None:
        """Begin with zeros, (n_columns, n_others or n_columns)."""
        self.n_vectors, self.fourth = 0, 0.0
        self._is_symmetric = n_others is None
        self._sum = np.zeros((n_columns, n_columns if n_others is None else n_others), np.float32, "F")

    def add(self, x: NDArray[np.float32], y: NDArray[np.float32] | None = None) -> None:
        """Add (n, n_columns) and, where there is a y, (n, n_others) vectors."""
        if not len(x):
            return
        a = np.ascontiguousarray(x, np.float32).T
        self.n_vectors += len(x)
        if y is None:
            squares = np.einsum("ij,ij->j", a, a).astype(np.float64)
            self.fourth += float(squares @ squares)
            self._sum = ssyrk(1.0, a, beta=1.0, c=self._sum, overwrite_c=1)
        else:
            b = np.ascontiguousarray(y, np.float32).T
            self._sum = sgemm(1.0, a, b, beta=1.0, c=self._sum, trans_b=1, overwrite_c=1)

    def total(self) -> NDArray[np.float32]:
        """Return the sum, C-contiguous."""
        if self._is_symmetric:  # syrk fills the upper triangle only
            return np.ascontiguousarray(np.triu(self._sum) + np.triu(self._sum, 1).T)
        return np.ascontiguousarray(self._sum)


def is_finite(vectors: NDArray[np.float32]) -> bool:
    """Return whether no number is infinite or NaN; large finite ones may pass for infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        flat = vectors.reshape(-1)
        return bool(np.isfinite(np.dot(flat, flat)))


def n_wanted(n_columns: int, n_runs: int) -> int:
    """Return how many vectors each of the runs should give for a moment of so many columns."""
    return -(-max(_MIN_VECTORS, _VECTORS_PER_COLUMN * n_columns) // n_runs)


def draw(source: ColumnView, array: Array, n_most: int, rng: np.random.Generator) -> Drawn:
    """Return at most `n_most` of the vectors that the weight's columns are multiplied with.

    Args:
        source: where the weight is multiplied.
        array: the exposed value of one run.
        n_most: most vectors to take.
        rng: chooses them.
    """
    operand, values = source.operand, array.astype(np.float32)
    attributes = dict(operand.attributes)
    if operand.op_type in ("Conv", "ConvTranspose"):
        return Drawn(*patches(values, source.kernel, operand.op_type, attributes, n_most, rng), True)
    if operand.op_type == "Gemm" and values.ndim == 2:
        transposed = bool(attributes.get("transA" if operand.index == 1 else "transB", 0))
        values = values.T if transposed != (operand.index == 0) else values
    elif operand.op_type == "MatMul" and operand.index == 0 and values.ndim >= 2:
        values = np.swapaxes(values, -1, -2)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    chosen = np.arange(len(rows))
    if len(rows) > n_most:
        chosen = np.sort(rng.choice(len(rows), n_most, replace=False))
        rows = rows[chosen]
    return Drawn(np.ascontiguousarray(rows), (chosen,), False)
