"""Fixed rate: integers that fit a small alphabet, with a step for each group.

A group of consecutive coefficients of a segment shares one step, and its integers fit
-h ... h. The step is the one of a few clipped ranges, c * max|x| / h with c <= 1, that has the least
squared error: for few levels, clipping the largest values costs less than a coarser grid for all
(Jacob et al. 2018, arXiv 1712.05877, with the range search of Banner et al. 2019, arXiv 1810.05723).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.packed import choose_alphabet, n_packed_bytes, n_table_bytes
from onnxzip.codec.coding.split import (
    LARGEST_OF_6_BITS,
    LARGEST_OF_7_BITS,
    LARGEST_OF_12_BITS,
    packed_factor,
    split,
)
from onnxzip.codec.estimates import (
    CHUNK,
    FLOAT16_NORMAL,
    N_BYTES_PER_ARRAY,
    N_BYTES_PER_SPLIT,
    N_BYTES_PER_TABLE,
    N_LISTED,
    n_step_bytes,
)
from onnxzip.codec.extreme_ranges import extreme_exponent, rescaled
from onnxzip.codec.feedback import round_columns
from onnxzip.codec.windows import choose_window
from onnxzip.records.payload import Coefficients, Encoded, Feedback

_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Only 1, at level 3: bytes +1.7, +2.7, +1.8, -0.7 % of digits_cnn, _autoencoder, _attention and _gru,
true losses 0.0900, 0.0901, 0.1081, 0.0972 instead of 0.0956, 0.0977, 0.1026, 0.0960
(`tests.bench.constants ... -- -3`)."""

_GROUP, _GROUP_OF_FINE_RATES = 64, 32
"""Numbers that share a step, a byte: 1/8 and 1/4 bit a number. In bits at equal error groups of 32, 64
and 128 of all-MiniLM-L6-v2's take 0.68, 0.62, 0.63 at rate 1, 1.10, 1.04, 1.03 at 2, 0.92, 0.95, 1.01
at 7, 0.88, 0.94, 1.04 at 19, 0.85, 0.90, 1.01 at 127 (`python -m tests.bench.packing MODEL`)."""

_FINE_RATE = 4
"""Rate from which on groups are short: at 4 both take 0.84."""

_STEPS_PER_OCTAVE = 16
"""Of steps that a byte tells: 8, 16, 32 make it 1.04, 1.04, 1.06 at rate 2, 0.91, 0.88, 0.90 at 19."""


LARGE_RATES = (1, 2, 4, 7, 19, LARGEST_OF_6_BITS, LARGEST_OF_7_BITS, 127, 32767)
"""Rates of arrays that are large enough to be packed in two bytes."""


@dataclass(frozen=True)
class FixedRate:
    """A codec (`passbase.Codec`) of packed integers with a step per group.

    A rate is the largest integer: 1 (1.6 bits), 2 (2.67), 4 (3.2), 7 (4), 19 (5.33), 29 (6), 44 (6.67),
    127 (8), 2039 (12), 32767 (16 bits).

    Attributes:
        n_sharing: weights among which the tables that unpack several integers of a byte are shared.
    """

    rates: Sequence[float] = (1, 2, 7, LARGEST_OF_6_BITS, LARGEST_OF_7_BITS, 127, 32767)
    high_rates: Sequence[float] = (LARGEST_OF_12_BITS,)
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
        exponent = extreme_exponent(values)
        if exponent:
            return rescaled(self.quantize(np.ldexp(values, -exponent), rate, feedback), exponent)
        n_segments, length = values.shape
        group = _GROUP if rate < _FINE_RATE else _GROUP_OF_FINE_RATES
        n_groups = length // group if rate <= 127 and length > group and length % group == 0 else 1
        dtype = np.int8 if rate <= 127 else np.int16
        integers = np.empty((n_segments, n_groups, length // n_groups), dtype)
        steps = np.empty((n_segments, n_groups, 1), np.float32)
        n_rows = max(1, CHUNK // max(length, 1))
        for i in range(0, n_segments, n_rows):
            view = values[i : i + n_rows].reshape(-1, n_groups, length // n_groups)
            steps[i : i + n_rows] = _best_steps(view, np.float32(rate))
        if n_groups > 1:
            steps = _told_by_a_byte(steps, is_clipped=rate < 127)
        for i in range(0, n_segments if feedback is None else 0, n_rows):
            view = values[i : i + n_rows].reshape(-1, n_groups, length // n_groups)
            integers[i : i + n_rows] = _integers(view, steps[i : i + n_rows], np.float32(rate))
        if feedback is not None:
            each = np.repeat(steps[..., 0], length // n_groups, axis=1)
            integers[:] = round_columns(values, each, feedback, rate).reshape(integers.shape)
        flat = steps if n_groups > 1 else steps[:, 0]
        return Coefficients(integers.reshape(values.shape), flat, is_fixed_rate=True)

    def quantize_all(
        self, values: NDArray[np.float32], rates: Sequence[float], feedback: Feedback | None = None
    ) -> Iterator[Coefficients]:
        """Quantise at several rates; see `Codec`."""
        return (self.quantize(values, rate, feedback) for rate in rates)

    def n_bytes(self, encoded: Encoded) -> int:
        """Return payload, steps and an allowance for the nodes that decode them."""
        total = 0
        for coefficients in encoded.coefficients.values():
            total += self._n_bytes(coefficients.integers) + n_step_bytes(coefficients.steps)
        for integers in encoded.integers.values():
            saved = n_packed_bytes(integers) - choose_window(integers).n_bytes
            total += self._n_whole_bytes(integers) - saved
        return total + sum(t.nbytes + N_BYTES_PER_TABLE for t in encoded.tables.values())

    def n_bits(self, rate: float) -> float:
        """Return about how many bits a number takes at a high rate; see `Codec`."""
        return 8.0 if rate <= 127 else 12.0 if rate <= LARGEST_OF_12_BITS else 16.0

    def _n_bytes(self, integers: NDArray[np.signedinteger[Any]]) -> int:
        if (factor := packed_factor(integers)) > 1:
            n_bytes = sum(n_packed_bytes(part) for part in split(integers, factor))
            return n_bytes + N_BYTES_PER_SPLIT + N_BYTES_PER_ARRAY
        return self._n_whole_bytes(integers)

    def _n_whole_bytes(self, integers: NDArray[np.signedinteger[Any]]) -> int:
        tables = n_table_bytes(choose_alphabet(integers)) // self.n_sharing
        return n_packed_bytes(integers) + N_BYTES_PER_ARRAY + tables


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
    if used.size and (used.min() < FLOAT16_NORMAL[0] or used.max() > FLOAT16_NORMAL[1]):
        return steps
    return steps.astype(np.float16).astype(np.float32)


def _told_by_a_byte(steps: NDArray[np.float32], *, is_clipped: bool) -> NDArray[np.float32]:
    """Round steps to powers of 2 ** (1 / 16) where a byte tells those apart, and not the steps.

    Up, where nothing is clipped: of many levels the largest number would miss several.
    """
    used = steps[steps > 0]
    if np.unique(steps).size <= N_LISTED or not used.size:
        return steps
    exponents = np.log2(used.astype(np.float64)) * _STEPS_PER_OCTAVE
    exponents = np.rint(exponents) if is_clipped else np.ceil(exponents)
    if exponents.max() - exponents.min() > N_LISTED - 2:  # with 0
        return steps
    rounded = np.zeros_like(steps)
    rounded[steps > 0] = np.exp2(exponents / _STEPS_PER_OCTAVE)
    return rounded


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
