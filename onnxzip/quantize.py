"""Turns float coefficients into integers and steps.

Fixed rate: a group of consecutive coefficients of a segment shares one step, and its integers fit
-h ... h. The step is the one of a few clipped ranges, c * max|x| / h with c <= 1, that has the least
squared error: for few levels, clipping the largest values costs less than a coarser grid for all
(Jacob et al. 2018, arXiv 1712.05877, with the range search of Banner et al. 2019, arXiv 1810.05723).

Variable rate: all coefficients of an array share one step, a multiple of their rms, and the integers may
take any value: behind an entropy coder a uniform step is within 0.25 bit of the rate-distortion bound at
high rate (Gish and Pierce 1968, doi 10.1109/TIT.1968.1054193), and no group needs a step of its own,
because a group of small coefficients gets small integers, which cost few bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.coding.packed import choose_alphabet, n_packed_bytes
from onnxzip.feedback import STEPS_PER_OCTAVE, Feedback, round_at, round_columns, thresholds
from onnxzip.types import Coefficients, Encoded

MIN_SEGMENT = 128
"""Shortest segment worth its own step: a float16 step costs 1/8 bit a weight at this length."""

BIT_PRICE = 0.06
"""Squared steps that a bit is worth; at high rates a bit less costs ln(2) / 6 = 0.116."""

_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_GROUP = 64
_CHUNK = 1 << 20
_N_BYTES_PER_ARRAY = 200
_N_BYTES_PER_TABLE = 40
_N_BYTES_PER_GRID = 100
_N_CLASSES = 4
_CLASS_SIZE = 4096
_CODER_OVERHEAD = 1.02
_LARGEST_INTEGER = 2.0**20
_LARGEST_EXPONENT = 40
_FLOAT16_NORMAL = (6.2e-5, 6.5e4)


@dataclass(frozen=True)
class FixedRate:
    """A codec (`passbase.Codec`) of packed integers with a step per group.

    A rate is the largest integer: 1 (1.6 bits), 2 (2.67), 7 (4), 127 (8), 32767 (16 bits).

    Attributes:
        n_sharing: weights among which the tables that unpack several integers of a byte are shared.
    """

    rates: Sequence[float] = (1, 2, 7, 127, 32767)
    n_sharing: int = 1
    is_continuous: ClassVar[bool] = False

    def quantize(
        self,
        values: NDArray[np.float32],
        rate: float,
        feedback: Feedback | None = None,
        rms: float | None = None,
    ) -> Coefficients:
        """Quantise (n_segments, length) float32 values to integers in -rate ... rate.

        Args:
            values: with feedback each segment is a column.
            rate: the largest integer.
            feedback: where each column's error goes; None rounds every value for itself.
            rms: not used: a rate says nothing of the step.

        Returns:
            Coefficients whose steps are (n_segments, n_groups, 1) where the length is a multiple of the
            group size, else (n_segments, 1).
        """
        exponent = _extreme_exponent(values)
        if exponent:
            return _rescaled(self.quantize(np.ldexp(values, -exponent), rate, feedback), exponent)
        n_segments, length = values.shape
        n_groups = length // _GROUP if rate < 127 and length > _GROUP and length % _GROUP == 0 else 1
        dtype = np.int8 if rate <= 127 else np.int16
        integers = np.empty((n_segments, n_groups, length // n_groups), dtype)
        steps = np.empty((n_segments, n_groups, 1), np.float32)
        n_rows = max(1, _CHUNK // max(length, 1))
        for i in range(0, n_segments, n_rows):
            view = values[i : i + n_rows].reshape(-1, n_groups, length // n_groups)
            steps[i : i + n_rows] = _best_steps(view, np.float32(rate))
            if feedback is None:
                integers[i : i + n_rows] = _integers(view, steps[i : i + n_rows], np.float32(rate))
        if feedback is not None:
            each = np.repeat(steps[..., 0], length // n_groups, axis=1)
            integers[:] = round_columns(values, each, feedback, rate).reshape(integers.shape)
        flat = steps if n_groups > 1 else steps[:, 0]
        return Coefficients(integers.reshape(values.shape), flat, is_fixed_rate=True)

    def n_bytes(self, encoded: Encoded) -> int:
        """Return payload, steps and an allowance for the nodes that decode them."""
        total = 0
        for coefficients in encoded.coefficients.values():
            n_step_bytes = step_dtype(coefficients.steps).itemsize * coefficients.steps.size
            total += self._n_bytes(coefficients.integers) + n_step_bytes
        for integers in encoded.integers.values():
            total += self._n_bytes(integers)
        return total + sum(t.nbytes + _N_BYTES_PER_TABLE for t in encoded.tables.values())

    def _n_bytes(self, integers: NDArray[np.signedinteger[Any]]) -> int:
        alphabet = choose_alphabet(integers)
        n_table_bytes = alphabet.table().nbytes if alphabet.digits > 1 else 0
        return n_packed_bytes(integers) + _N_BYTES_PER_ARRAY + n_table_bytes // self.n_sharing


@dataclass(frozen=True)
class VariableRate:
    """A codec (`passbase.Codec`) of unbounded integers for the entropy coder.

    A rate is 1 / step in units of the array's rms: 1 is about 2 bits a Gaussian coefficient, and every
    doubling one bit more. With feedback each column has a step of its own (`onnxzip.feedback`).

    Attributes:
        plain_bit_price: BIT_PRICE where numbers are rounded each for itself.
    """

    rates: Sequence[float] = (
        *(float(f"{2 ** (i / 2 - 2.5):.3g}") for i in range(14)),
        *(32.0, 64.0, 128.0, 181.0),
    )
    plain_bit_price: float = 0.0
    is_continuous: ClassVar[bool] = True

    def quantize(
        self,
        values: NDArray[np.float32],
        rate: float,
        feedback: Feedback | None = None,
        rms: float | None = None,
    ) -> Coefficients:
        """Quantise (n_segments, length) float32 values.

        Args:
            values: with feedback each segment is a column.
            rate: rms / step.
            feedback: where each column's error goes; None rounds every value for itself.
            rms: what the step is relative to; the values' own by default.

        Returns:
            Coefficients with a single step, (1, 1); with feedback the steps are products
            (`Coefficients.outer`), and a segment is one column, or several neighbours of few rows.
        """
        exponent = _extreme_exponent(values)
        if exponent:
            normal = np.ldexp(values, -exponent), rate, feedback, rms and float(np.ldexp(rms, -exponent))
            scaled = _rescaled(self.quantize(*normal), exponent)
            # a step that left the normal numbers has no exponent to be stored by
            has_lost_steps = scaled.outer is not None and not scaled.steps.all()
            return self.quantize(values, rate) if has_lost_steps else scaled
        flat = values.reshape(-1)
        if rms is None:
            rms = float(np.sqrt(np.dot(flat, flat) / max(flat.size, 1)))
        largest = float(np.abs(flat).max(initial=0.0))
        step = np.float32(max(rms / rate, largest / _LARGEST_INTEGER))
        if feedback is not None and step > 0:
            return _with_feedback(values, step, feedback)
        steps = np.full((1, 1), step, np.float32)
        if not step > 0:
            return Coefficients(np.zeros(values.shape, np.int8), np.zeros((1, 1), np.float32))
        integers = np.empty(values.shape, _smallest_type(largest / float(step) + 1))
        n_rows = max(1, _CHUNK // max(values.shape[1], 1))
        for i in range(0, len(values), n_rows):
            part = values[i : i + n_rows]
            least, shift = thresholds(part, np.full((1, 1), step), self.plain_bit_price)
            integers[i : i + n_rows] = round_at(part / step, least[:, None], shift[:, None])
        return Coefficients(integers, steps)

    def n_bytes(self, encoded: Encoded) -> int:
        """Return the ideal code length by segment contexts, and an allowance for nodes and tables."""
        total = 0.0
        for c in encoded.coefficients.values():
            total += 0 if c.outer is None else c.steps.size + c.outer.size + _N_BYTES_PER_GRID
        arrays = [c.integers for c in encoded.coefficients.values()]
        for integers in [*arrays, *encoded.integers.values()]:
            total += n_ideal_bits(integers) / 8 * _CODER_OVERHEAD + _N_BYTES_PER_ARRAY
        return int(total) + sum(t.nbytes + _N_BYTES_PER_TABLE for t in encoded.tables.values())


def n_ideal_bits(integers: NDArray[np.signedinteger[Any]]) -> float:
    """Return the zeroth-order entropy of (n_segments, length) integers within segment contexts, in bits.

    The segments are put into at most _N_CLASSES classes of about equal size by mean magnitude, as
    a stand-in for the contexts that the coder finds over the whole model.
    """
    if integers.size == 0:
        return 0.0
    n_classes = min(_N_CLASSES, max(1, integers.size // _CLASS_SIZE), len(integers))
    spread = np.abs(integers).mean(axis=1, dtype=np.float32) if n_classes > 1 else np.zeros(1)
    order = np.argsort(spread, kind="stable") if n_classes > 1 else np.arange(len(integers))
    low = int(integers.min())
    bits = 0.0
    for members in np.array_split(order, n_classes):
        rows = integers if n_classes == 1 else integers[members]
        counts = np.bincount(rows.ravel().astype(np.int32) - low).astype(np.float64)
        used = counts[counts > 0]
        bits += float((used * np.log2(used.sum() / used)).sum())
    return bits


def _with_feedback(values: NDArray[np.float32], step: np.float32, feedback: Feedback) -> Coefficients:
    """Quantise columns with a step each, around `step`."""
    start = int(np.rint(STEPS_PER_OCTAVE * np.log2(step)))
    steps = _powers(feedback.inner + start)[:, None]
    outer = _powers(feedback.outer)[:, None, None]
    each = (outer * steps).reshape(-1, 1)
    rounded = round_columns(values, each, feedback, bit_price=BIT_PRICE)
    integers = rounded.astype(_smallest_type(float(np.abs(rounded).max())))
    n_joined = rows_per_segment(len(steps), values.shape[1])
    return Coefficients(integers.reshape(-1, n_joined * values.shape[1]), steps, outer=outer)


def _powers(exponents: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.exp2(exponents / STEPS_PER_OCTAVE).astype(np.float32)


def rows_per_segment(n_rows: int, row_length: int) -> int:
    """Return the smallest divisor of `n_rows` that makes segments of at least MIN_SEGMENT elements."""
    smallest = -(-MIN_SEGMENT // max(row_length, 1))
    return next((n for n in range(smallest, n_rows) if n_rows % n == 0), n_rows)


def _smallest_type(highest: float) -> type[np.signedinteger[Any]]:
    return next(t for t in (np.int8, np.int16, np.int32) if highest <= np.iinfo(t).max)


def _extreme_exponent(values: NDArray[np.float32]) -> int:
    """Return the binary exponent of the largest value where squares would leave float32, else 0."""
    largest = float(np.abs(values).max(initial=0.0))
    exponent = int(np.frexp(largest)[1]) if largest > 0 else 0
    return exponent if abs(exponent) > _LARGEST_EXPONENT else 0


def _rescaled(coefficients: Coefficients, exponent: int) -> Coefficients:
    """Multiply the steps by 2 ** exponent; steps too small for a normal float32 become zero."""
    steps = np.ldexp(coefficients.steps, exponent)
    return replace(coefficients, steps=np.where(steps < np.finfo(np.float32).tiny, 0, steps))


def step_dtype(steps: NDArray[np.float32]) -> np.dtype[np.generic]:
    """Return float16 when that holds every step exactly, else float32."""
    with np.errstate(over="ignore"):
        exact = bool(np.array_equal(steps.astype(np.float16).astype(np.float32), steps))
    return np.dtype(np.float16 if exact else np.float32)


def _best_steps(view: NDArray[np.float32], highest: np.float32) -> NDArray[np.float32]:
    """Return the step of each group, (..., 1), that leaves the least squared error."""
    largest = np.abs(view).max(axis=-1, keepdims=True, initial=0)
    best_steps = _round_steps(largest / highest)
    if highest >= 127:
        return best_steps
    best = _squared_error(view, best_steps, highest)
    for clip in _CLIPS[1:]:
        steps = _round_steps(largest * np.float32(clip) / highest)
        error = _squared_error(view, steps, highest)
        best_steps = np.where(error < best, steps, best_steps)
        best = np.minimum(error, best)
    return best_steps


def _round_steps(steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round all steps to float16 where none leaves its normal range; zeros stay zero."""
    used = steps[steps > 0]
    if used.size and (used.min() < _FLOAT16_NORMAL[0] or used.max() > _FLOAT16_NORMAL[1]):
        return steps
    return steps.astype(np.float16).astype(np.float32)


def _integers(
    view: NDArray[np.float32], steps: NDArray[np.float32], highest: np.float32
) -> NDArray[np.float32]:
    is_normal = steps >= np.finfo(np.float32).tiny  # the reciprocal of a smaller one may be infinite
    inverse = np.divide(np.float32(1), steps, out=np.zeros_like(steps), where=is_normal)
    scaled = view * inverse
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -highest, highest, out=scaled)


def _squared_error(
    view: NDArray[np.float32], steps: NDArray[np.float32], highest: np.float32
) -> NDArray[np.float32]:
    difference = _integers(view, steps, highest)
    difference *= steps
    difference -= view
    error: NDArray[np.float32] = np.einsum("...i,...i->...", difference, difference)
    return error[..., None]
