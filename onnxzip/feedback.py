"""Error-feedback rounding: each column's rounding error is pushed onto the columns not yet rounded.

A layer's output error is tr(E H E^T) with E = W - W' and H the second moment of what its columns are
multiplied with. Rounding column j and moving its error e_j onto the later columns by
-e_j U[j, j+1:] / U[j, j], where H^-1 = U^T U with U upper triangular, makes the output error the sum
of (e_j / U[j, j])^2: that is the GPTQ recursion (Frantar et al. 2022, arXiv 2210.17323). With an
entropy coder behind it that sum is least, at equal entropy, where a column's step is proportional to
U[j, j], the reciprocal of that input's standard deviation given the inputs behind it (WaterSIC, arXiv
2603.04956). Columns come as a grid of n_outer x n_inner (channels and kernel positions), and their
steps as a product of one for each row and one for each column of the grid, which cost little to store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from onnxzip.types import Array, Statistics

STEPS_PER_OCTAVE = 4
"""Steps are powers of 2 ** (1 / STEPS_PER_OCTAVE), so that an exponent of a few bits stores one."""

MAX_COLUMNS = 8192
"""Most columns that errors are fed back through: the factor takes 4 bytes times the square of that."""

Quantise: TypeAlias = Callable[[NDArray[np.int64], NDArray[Any]], NDArray[Any]]

_BLOCK = 64
_ERROR_BLOCK = 1 << 18
_MAX_EXPONENT = 24
_DOUBLE_COLUMNS = 1024
_LEAST_MEAN, _MOST_LEAST, _MOST_SHIFT = 0.1, 0.8, 0.3
"""What errors that are fed back add to a column is not in its mean: no threshold goes too far."""


@dataclass(frozen=True, eq=False)
class Feedback:
    """How the rounding error of one column is made up for by the others.

    Attributes:
        order: (n_rounds, n_blocks) int64, the columns that are rounded in each round. H consists of
            blocks that are all alike; errors stay within a block, and rounds take one column of each.
        factor: U, (n_rounds, n_rounds) upper triangular with H^-1 = U^T U, where H is that of a block,
            rows and columns in that order; float64 for few columns, float32 for many.
        outer: (n_outer,) int64 exponents of the steps, in 1 / STEPS_PER_OCTAVE octaves.
        inner: (n_inner,) int64, likewise; the step of column (p, c) is 2^((outer[p] + inner[c]) / 4)
            times a common one, and n_columns = n_outer * n_inner.
    """

    order: NDArray[np.int64]
    factor: NDArray[Any]
    outer: NDArray[np.int64]
    inner: NDArray[np.int64]

    @property
    def importance(self) -> NDArray[np.float64]:
        """What a squared error in each column costs the layer's output: 1 / U[j, j]^2, (n_columns,)."""
        importance = np.empty(self.order.size)
        importance[self.order] = 1.0 / np.square(np.diag(self.factor).astype(np.float64))[:, None]
        return importance

    @property
    def mean_step(self) -> float:
        """The geometric mean of the steps at which every column costs the output as much, U[j, j]."""
        return float(np.exp(np.log(np.diag(self.factor).astype(np.float64)).mean()))


def make_feedback(
    second_moment: NDArray[np.float32], n_outer: int, order: NDArray[np.int64] | None = None
) -> Feedback | None:
    """Factorise the second moment of a layer's columns, in the order in which they are rounded.

    Args:
        second_moment: of a block, (n_rounds, n_rounds) symmetric, in the order in which its columns are
            rounded; positive definite, so damped.
        n_outer: rows of the grid of columns.
        order: (n_rounds, n_blocks), the columns that each row of the moment stands for; by default there
            is a single block, and its columns are rounded as they come.

    Returns:
        None where it cannot be factorised in floating point.
    """
    dtype = np.float64 if len(second_moment) <= _DOUBLE_COLUMNS else np.float32
    # With J reversing the order, J H J = L L^T gives H = (J L J)(J L J)^T, and J L J is upper.
    reversed_moment = np.asarray(second_moment[::-1, ::-1], dtype, order="F")
    factorise, invert = get_lapack_funcs(("potrf", "trtri"), (reversed_moment,))
    lower, failed = factorise(reversed_moment, lower=1, clean=1)
    if failed:
        return None
    inverse, failed = invert(lower, lower=1)
    if failed:
        return None
    factor = np.ascontiguousarray(inverse[::-1, ::-1])
    diagonal = np.diag(factor).astype(np.float64)
    if not (np.isfinite(diagonal).all() and (diagonal > 0).all()):
        return None
    if order is None:
        order = np.arange(len(second_moment))[:, None]
    exponents = np.empty(order.size)
    exponents[order] = STEPS_PER_OCTAVE * np.log2(diagonal)[:, None]
    grid = exponents.reshape(n_outer, -1)
    mean = grid.mean()
    outer = _to_grid(grid.mean(axis=1) - mean)
    return Feedback(order, factor, outer, _to_grid(grid.mean(axis=0) - mean))


def round_columns(
    columns: NDArray[np.float32],
    steps: NDArray[np.float32],
    feedback: Feedback,
    highest: float | None = None,
    bit_price: float = 0.0,
) -> NDArray[np.float32]:
    """Round columns one by one to multiples of their steps, feeding errors back.

    Args:
        columns: (n_columns, n_rows): what the weight's rows have in one column lies together.
        steps: broadcastable to (n_columns, n_rows); where a step is zero the integer is zero.
        feedback: of these columns.
        highest: largest magnitude of an integer; None for any.
        bit_price: what a bit of an entropy coder behind is worth, in squared steps (`thresholds`).

    Returns:
        Whole numbers, (n_columns, n_rows) float32.
    """
    least, shift = thresholds(columns, steps, bit_price)
    steps = np.broadcast_to(steps.astype(feedback.factor.dtype), columns.shape)
    inverse = np.divide(1.0, steps, out=np.zeros_like(steps), where=steps > 0)
    rounded = np.empty(columns.shape, np.float32)

    def quantise(where: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
        scaled = values * inverse[where]
        integers: NDArray[Any] = np.rint(scaled)
        if bit_price:
            integers = round_at(scaled, least[where, None], shift[where, None])
        if highest is not None:
            np.clip(integers, -highest, highest, out=integers)
        rounded[where] = integers
        decoded: NDArray[Any] = integers * steps[where]
        return decoded

    feed_back(columns, feedback, quantise)
    return rounded


def thresholds(
    columns: NDArray[np.float32], steps: NDArray[np.float32], bit_price: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where rounding pays that weighs the squared error against the bits of the integer.

    An integer k is taken instead of k - 1 where that gains more than it costs: from the magnitude
    k - 1/2 + price * (bits(k) - bits(k - 1)) / 2 on. For a Laplace distribution of mean magnitude m, the
    difference in bits is 1 / (m ln 2) for each k above 1 (Sullivan 1996, doi 10.1109/18.532878).

    Args:
        columns: (n_columns, n_rows).
        steps: broadcastable to (n_columns, n_rows).
        bit_price: what a bit is worth, in squared steps.

    Returns:
        The least magnitude, in steps, that does not become zero, and how far the other thresholds lie
        above the middle, (n_columns,) each.
    """
    if not bit_price:
        return np.full(len(columns), 0.5), np.zeros(len(columns))
    size = np.broadcast_to(np.asarray(steps, np.float64), columns.shape).mean(axis=1)
    mean = np.divide(np.abs(columns).mean(axis=1), size, out=np.zeros_like(size), where=size > 0)
    mean = np.maximum(mean, _LEAST_MEAN)
    decay = np.exp(-0.5 / mean)
    first = np.maximum(np.log2((1 - decay) / (0.5 * (decay - decay**3))), 0.0)
    least = np.minimum(0.5 + bit_price / 2 * first, _MOST_LEAST)
    return least, np.minimum(bit_price / (2 * np.log(2)) / mean, _MOST_SHIFT)


def round_at(scaled: NDArray[Any], least: Array | float, shift: Array | float) -> NDArray[Any]:
    """Round numbers, in steps, at the thresholds that `thresholds` gives."""
    magnitude = np.abs(scaled)
    integers = np.where(magnitude < least, 0.0, np.maximum(np.floor(magnitude + (0.5 - shift)), 1.0))
    rounded: NDArray[Any] = np.copysign(integers, scaled)
    return rounded


def feed_back(columns: NDArray[np.float32], feedback: Feedback, quantise: Quantise) -> None:
    """Quantise columns round by round, pushing each round's errors onto those not yet quantised.

    Args:
        columns: (n_columns, n_rows).
        feedback: of these columns.
        quantise: gets the positions of a round's columns, (n_blocks,), and their values as they are by
            then, (n_blocks, n_rows); returns what they are decoded to.
    """
    factor, order = feedback.factor, feedback.order
    n_rounds, n_blocks = order.shape
    work = columns[order.ravel()].reshape(n_rounds, -1).astype(factor.dtype)
    for start in range(0, n_rounds, _BLOCK):
        end = min(start + _BLOCK, n_rounds)
        errors = np.empty((end - start, work.shape[1]), factor.dtype)
        for j in range(start, end):
            decoded = quantise(order[j], work[j].reshape(n_blocks, -1))
            error = (work[j] - decoded.ravel()) / factor[j, j]
            errors[j - start] = error
            work[j + 1 : end] -= factor[j, j + 1 : end, None] * error
        work[end:] -= factor[start:end, end:].T @ errors


class OutputError:
    """The relative error of a layer's output: sqrt(tr(E H E^T) / tr(W H W^T)).

    Args:
        original: W, a canonical weight or its (n_rows, n_columns) plane.
        statistics: of the layer.
    """

    def __init__(self, original: NDArray[np.float32], statistics: Statistics) -> None:
        self._statistics = statistics
        self._plane = original.reshape(-1, len(statistics.second_moment) * statistics.n_blocks)
        self._signal = self._energy(self._plane)

    def __call__(self, restored: NDArray[np.float32]) -> float:
        """Return the error of a restored weight, of the same shape as the original."""
        noise = self._energy(self._plane - restored.reshape(self._plane.shape))
        return _relative(noise, self._signal)

    def _energy(self, plane: NDArray[np.float32]) -> float:
        seen = self._statistics.times(plane)
        return max(float(np.einsum("ij,ij->", seen, plane, dtype=np.float64)), 0.0)


class RowError:
    """The relative error of the rows of a table as they are read: sqrt(sum_r f_r |E_r|^2 / ...|W_r|^2).

    Args:
        original: W, (n_rows, ...), of any float type.
        row_weights: f, (n_rows,), not negative.
    """

    def __init__(self, original: Array, row_weights: NDArray[np.float32]) -> None:
        self._plane = original.reshape(len(row_weights), -1)
        self._weights = row_weights
        self._signal = self._energy(None)

    def __call__(self, restored: NDArray[np.float32]) -> float:
        """Return the error of a restored table, of the same shape as the original."""
        return _relative(self._energy(restored.reshape(self._plane.shape)), self._signal)

    def _energy(self, restored: NDArray[np.float32] | None) -> float:
        """Sum in blocks of rows: a table may be half of the model."""
        total = 0.0
        n_rows = max(1, _ERROR_BLOCK // max(self._plane.shape[1], 1))
        for start in range(0, len(self._plane), n_rows):
            rows = self._plane[start : start + n_rows].astype(np.float32)
            if restored is not None:
                rows -= restored[start : start + n_rows]
            squares = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
            total += float(squares @ self._weights[start : start + n_rows])
        return total


def _relative(noise: float, signal: float) -> float:
    if signal > 0:
        return float(np.sqrt(noise / signal))
    return 0.0 if noise == 0 else float("inf")


def _to_grid(exponents: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.rint(exponents), -_MAX_EXPONENT, _MAX_EXPONENT).astype(np.int64)
