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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.coding.split import choose_shift
from onnxzip.codec.estimates import (
    CHUNK,
    N_BYTES_PER_ARRAY,
    N_BYTES_PER_TABLE,
    choose_whole_shift,
    n_coded_bytes,
)
from onnxzip.codec.extreme_ranges import extreme_exponent, rescaled
from onnxzip.codec.feedback import round_at, round_columns_together, thresholds
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.records.payload import STEPS_PER_OCTAVE, Coefficients, Encoded, Feedback

MIN_SEGMENT = 128
"""Shortest segment worth its own step: a float16 step costs 1/8 bit a weight at this length."""

BIT_PRICE = 0.06
"""Squared steps that a bit is worth; at high rates a bit less costs ln(2) / 6 = 0.116."""

_N_BYTES_PER_GRID = 100
"""Nodes and names that make steps of exponents. Half of it: bytes 0, 0, -1.9, 0 % of digits_cnn,
_autoencoder, _attention (at a true loss of 0.0998 instead of 0.0973) and _gru
(`tests.bench.constants`)."""

PACKED_RATE = 4096.0
"""From 14 bits a number on an entropy coder saves less than a step for each segment is worth: at 16 bits
packed, each is within 2^-16 of its segment's largest number, whatever the others are."""

_GAUSSIAN_BITS = 2.05
"""Entropy of a Gaussian of deviation 1 in steps of 1, log2(2 pi e) / 2 (Gish and Pierce 1968)."""

_LARGEST_INTEGER = 2.0**20
"""A sixteenth of 2^24, below which decoders add exactly: errors that are fed back make integers
larger."""


_N_TOGETHER = 1 << 19
"""Numbers that are rounded together at several rates, as float64 4 MB: larger arrays take long enough
that what a step in Python costs is nothing."""


@dataclass(frozen=True)
class VariableRate:
    """A codec (`passbase.Codec`) of unbounded integers for the entropy coder.

    A rate is 1 / step in units of the array's rms: 1 is about 2 bits a Gaussian coefficient, and every
    doubling one bit more; from PACKED_RATE on numbers are packed in 16 bits (`FixedRate`). With feedback
    each column has a step of its own (`onnxzip.feedback`).

    Attributes:
        plain_bit_price: BIT_PRICE where numbers are rounded each for itself.
    """

    rates: Sequence[float] = (
        *(float(f"{2 ** (i / 2 - 2.5):.3g}") for i in range(14)),
        *(32.0, 64.0, 128.0, 181.0),
    )
    high_rates: Sequence[float] = (362.0, 1024.0, 2 * PACKED_RATE)
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
        if rate >= PACKED_RATE:
            return FixedRate().quantize(values, 32767)
        exponent = extreme_exponent(values)
        if exponent:
            normal = np.ldexp(values, -exponent), rate, feedback, rms and float(np.ldexp(rms, -exponent))
            scaled = rescaled(self.quantize(*normal), exponent)
            # a step that left the normal numbers has no exponent to be stored by
            has_lost_steps = scaled.outer is not None and not scaled.steps.all()
            return self.quantize(values, rate) if has_lost_steps else scaled
        flat = values.reshape(-1)
        largest = float(np.abs(flat).max(initial=0.0))
        if feedback is not None and largest > 0:
            return _with_feedback(values, [rate], feedback, rms)[0]
        step = _steps(flat, [rate], rms)[0]
        steps = np.full((1, 1), step, np.float32)
        if not step > 0:
            return Coefficients(np.zeros(values.shape, np.int8), np.zeros((1, 1), np.float32))
        integers = np.empty(values.shape, _smallest_type(largest / float(step) + 1))
        n_rows = max(1, CHUNK // max(values.shape[1], 1))
        for i in range(0, len(values), n_rows):
            part = values[i : i + n_rows]
            least, shift = thresholds(part, np.full((1, 1), step), self.plain_bit_price)
            integers[i : i + n_rows] = round_at(part / step, least[:, None], shift[:, None])
        return Coefficients(integers, steps)

    def quantize_all(
        self, values: NDArray[np.float32], rates: Sequence[float], feedback: Feedback | None = None
    ) -> Iterator[Coefficients]:
        """Quantise at several rates; see `Codec`."""
        n_together = _N_TOGETHER // max(values.size, 1)
        is_special = n_together < 2 or max(rates, default=0) >= PACKED_RATE or not values.any()
        if feedback is None or is_special or extreme_exponent(values):
            return (self.quantize(values, rate, feedback) for rate in rates)
        groups = [rates[i : i + n_together] for i in range(0, len(rates), n_together)]
        return (c for group in groups for c in _with_feedback(values, group, feedback))

    def n_bytes(self, encoded: Encoded) -> int:
        """Return the ideal code length by segment contexts, and an allowance for nodes and tables."""
        total = 0.0
        for c in encoded.coefficients.values():
            total += _n_coded_bytes(c)
        for integers in encoded.integers.values():
            total += n_coded_bytes(integers, choose_whole_shift(integers)) + N_BYTES_PER_ARRAY
        return int(total) + sum(t.nbytes + N_BYTES_PER_TABLE for t in encoded.tables.values())

    def n_bits(self, rate: float) -> float:
        """Return about how many bits a number takes at a high rate; see `Codec`."""
        return 16.0 if rate >= PACKED_RATE else math.log2(rate) + _GAUSSIAN_BITS


def _n_coded_bytes(c: Coefficients) -> float:
    """Estimate what coefficients take: packed, coded whole, or their high parts alone."""
    if c.is_fixed_rate:
        return FixedRate().n_bytes(Encoded({"": c}))
    n_grid_bytes = 0 if c.outer is None else c.steps.size + c.outer.size + _N_BYTES_PER_GRID
    return n_grid_bytes + n_coded_bytes(c.integers, choose_shift(c.integers)) + N_BYTES_PER_ARRAY


def _steps(
    flat: NDArray[np.float32], rates: Sequence[float], rms: float | None = None
) -> list[np.float32]:
    """Return the step of an array at each rate, relative to its own root mean square by default."""
    if rms is None:
        rms = float(np.sqrt(np.dot(flat, flat) / max(flat.size, 1)))
    largest = float(np.abs(flat).max(initial=0.0))
    return [np.float32(max(rms / rate, largest / _LARGEST_INTEGER)) for rate in rates]


def _with_feedback(
    values: NDArray[np.float32], rates: Sequence[float], feedback: Feedback, rms: float | None = None
) -> list[Coefficients]:
    """Quantise columns at each rate, with a step each around the array's."""
    outer = _powers(feedback.outer)[:, None, None]
    starts = [
        int(np.rint(STEPS_PER_OCTAVE * np.log2(step))) for step in _steps(values.reshape(-1), rates, rms)
    ]
    inner = [_powers(feedback.inner + start)[:, None] for start in starts]
    each = np.stack([(outer * steps).reshape(-1, 1) for steps in inner])
    rounded, lost = round_columns_together(values, each, feedback, bit_price=BIT_PRICE)
    length = rows_per_segment(len(feedback.inner), values.shape[1]) * values.shape[1]
    return [
        Coefficients(_narrowed(integers, length), steps, outer=outer, lost=float(energy))
        for integers, steps, energy in zip(rounded, inner, lost, strict=True)
    ]


def _narrowed(integers: NDArray[np.float32], length: int) -> NDArray[np.signedinteger[Any]]:
    """Return whole numbers in segments of a length, in the smallest type."""
    return integers.astype(_smallest_type(float(np.abs(integers).max()))).reshape(-1, length)


def _powers(exponents: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.exp2(exponents / STEPS_PER_OCTAVE).astype(np.float32)


def rows_per_segment(n_rows: int, row_length: int) -> int:
    """Return the smallest divisor of `n_rows` that makes segments of at least MIN_SEGMENT elements."""
    smallest = -(-MIN_SEGMENT // max(row_length, 1))
    return next((n for n in range(smallest, n_rows) if n_rows % n == 0), n_rows)


def _smallest_type(highest: float) -> type[np.signedinteger[Any]]:
    return next(t for t in (np.int8, np.int16, np.int32) if highest <= np.iinfo(t).max)
