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
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from onnxzip.records.aliases import Array
from onnxzip.records.payload import STEPS_PER_OCTAVE, Feedback

MAX_COLUMNS = 8192
"""Most columns that errors are fed back through: the factor takes 4 bytes times the square of that."""

Quantise: TypeAlias = Callable[[int, NDArray[Any]], NDArray[Any]]
_BLOCK = 64
"""Columns between two updates of all later ones: GPTQ does so every 128 (its "lazy batch updates"). It
changes the time, and what comes out by no more than rounding."""

_MAX_EXPONENT = 24
"""In 1 / STEPS_PER_OCTAVE octaves: a step is within 2^6 of the mean one by its row, and by its column.
Damping (measure/moments/damping.py) keeps deviations above a tenth of the root mean square: only far
larger ones reach it."""

_DOUBLE_COLUMNS = 1024
"""Up to here the factor takes at most 8 MB as float64; larger ones are float32, half the memory and
time."""


_LEAST_MEAN, _MOST_LEAST, _MOST_SHIFT = 0.1, 0.8, 0.3
"""What errors that are fed back add to a column is not in its mean: no threshold goes too far."""


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
    # It is symmetric, so that its own order serves for Fortran's.
    reversed_moment = np.array(second_moment[::-1, ::-1], dtype, order="C").T
    factorise, invert = get_lapack_funcs(("potrf", "trtri"), (reversed_moment,))
    lower, failed = factorise(reversed_moment, lower=1, clean=1, overwrite_a=1)
    if failed:
        return None
    inverse, failed = invert(lower, lower=1, overwrite_c=1)
    if failed:
        return None
    factor = np.asfortranarray(inverse[::-1, ::-1])  # a copy from end to start, not transposed
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
    rounded, _ = round_columns_together(columns, steps[None], feedback, highest, bit_price)
    return np.asarray(rounded[0])


def round_columns_together(
    columns: NDArray[np.float32],
    steps: NDArray[np.float32],
    feedback: Feedback,
    highest: float | None = None,
    bit_price: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Round the same columns to several sets of steps: as `round_columns` for each, to the last bit.

    Args:
        columns: (n_columns, n_rows).
        steps: (n_sets, ...), each as `round_columns` takes them.
        feedback: of these columns.
        highest: as `round_columns` has it, for all sets.
        bit_price: as `round_columns` has it.

    Returns:
        Whole numbers, (n_sets, n_columns, n_rows) float32, and what each set loses: tr(E H E^T).
    """
    limits = [thresholds(columns, each, bit_price) for each in steps]
    n_sets, order = len(steps), feedback.order
    least, shift = (
        np.stack(arrays)[:, order.ravel()].reshape(n_sets, *order.shape, 1)
        for arrays in zip(*limits, strict=True)
    )
    steps = steps.astype(feedback.factor.dtype)
    steps = np.broadcast_to(steps, (n_sets, len(columns), steps.shape[2]))
    steps = steps[:, order.ravel()].reshape(n_sets, *order.shape, steps.shape[2])
    inverse = np.divide(1.0, steps, out=np.zeros_like(steps), where=steps > 0)
    rounded = np.empty((n_sets, *columns.shape), np.float32)

    def quantise(j: int, values: NDArray[Any]) -> NDArray[Any]:
        scaled = values * inverse[:, j]
        if bit_price:
            integers = round_at(scaled, least[:, j], shift[:, j])
        else:
            integers = np.rint(scaled, out=scaled)
        if highest is not None:
            np.clip(integers, -highest, highest, out=integers)
        rounded[:, order[j]] = integers
        decoded: NDArray[Any] = integers * steps[:, j]
        return decoded

    lost = feed_back(columns, feedback, quantise, n_sets)
    return rounded, lost


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
    integers: NDArray[Any] = np.asarray(magnitude + (0.5 - shift))
    np.maximum(np.floor(integers, out=integers), 1.0, out=integers)
    integers *= magnitude >= least
    np.copysign(integers, scaled, out=integers)
    return integers


def feed_back(
    columns: NDArray[np.float32], feedback: Feedback, quantise: Quantise, n_sets: int = 1
) -> NDArray[np.float64]:
    """Quantise columns round by round, pushing each round's errors onto those not yet quantised.

    Several sets, each with errors of its own, take hardly longer than one where there are few rows. Each
    is multiplied for itself: one product of all would be rounded otherwise than that of a single set.

    Args:
        columns: (n_columns, n_rows).
        feedback: of these columns.
        quantise: gets a round, and the values of its columns as they are by then, (n_sets, n_blocks,
            n_rows); returns what they are decoded to.
        n_sets: in how many ways the columns are quantised.

    Returns:
        tr(E H E^T) of each way, the sum of its squared (e_j / U[j, j]), (n_sets,).
    """
    factor, order = feedback.factor, feedback.order
    n_rounds, n_blocks = order.shape
    first = columns[order.ravel()].reshape(n_rounds, -1).astype(factor.dtype)
    work = np.repeat(first[None], n_sets, axis=0)
    lost = np.zeros(n_sets)
    for start in range(0, n_rounds, _BLOCK):
        end = min(start + _BLOCK, n_rounds)
        errors = np.empty((n_sets, end - start, work.shape[2]), factor.dtype)
        for j in range(start, end):
            values = work[:, j] - factor[start:j, j] @ errors[:, : j - start]
            decoded = quantise(j, values.reshape(n_sets, n_blocks, -1))
            errors[:, j - start] = (values - decoded.reshape(n_sets, -1)) / factor[j, j]
        lost += np.einsum("sjr,sjr->s", errors, errors)
        for later, error in zip(work[:, end:], errors, strict=True):
            later -= factor[start:end, end:].T @ error
    return lost


def _to_grid(exponents: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.rint(exponents), -_MAX_EXPONENT, _MAX_EXPONENT).astype(np.int64)
