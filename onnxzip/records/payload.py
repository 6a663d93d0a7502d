"""What a pass stores for one weight, how its rounding errors are fed back, and where it lands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array

STEPS_PER_OCTAVE = 4
"""Steps are powers of 2 ** (1 / STEPS_PER_OCTAVE), so that an exponent of a few bits stores one."""


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


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Quantised coefficients: value = integers * steps.

    Attributes:
        integers: (n_segments, length) int32 or narrower. A segment is a run of numbers that are
            expected to have a common distribution (a filter, a DCT position, a wavelet band); the
            coder chooses a code for each segment, so that a pass decides what a context is and the
            coder its price.
        steps: float32; two-dimensional: broadcastable to (n_segments, length); three-dimensional:
            (n_segments, n_groups, 1), one step for each of n_groups equal runs of a segment.
        is_fixed_rate: the integers fill a fixed alphabet, so that packing suits them.
        outer: None, or (n_outer, 1, 1) float32: the integers then are a grid of n_outer x n_inner
            columns, one behind the other, steps is (n_inner, 1), and a column's step is the product.
        lost: tr(E H E^T) of the errors E, where they were fed back for H; None where nobody knows it.
    """

    integers: NDArray[np.signedinteger[Any]]
    steps: NDArray[np.float32]
    is_fixed_rate: bool = False
    outer: NDArray[np.float32] | None = None
    lost: float | None = None

    @property
    def view(self) -> tuple[int, ...]:
        """The shape of the integers that the steps broadcast to."""
        if self.outer is not None:
            n_columns = len(self.outer) * len(self.steps)
            return (len(self.outer), len(self.steps), self.integers.size // n_columns)
        n_segments, length = self.integers.shape
        if self.steps.ndim == 2:
            return (n_segments, length)
        n_groups = self.steps.shape[1]
        return (n_segments, n_groups, length // n_groups)

    def values(self) -> NDArray[np.float32]:
        """Return the reconstructed coefficients, (n_segments, length) float32."""
        steps = self.steps if self.outer is None else self.outer * self.steps
        viewed = self.integers.astype(np.float32).reshape(self.view)
        with np.errstate(over="ignore", invalid="ignore"):  # Inf and NaN, as the graph computes them
            return (viewed * steps).reshape(self.integers.shape)


@dataclass(frozen=True, eq=False)
class WholeNumbers:
    """Integers that are wanted as they are, and in which type.

    Attributes:
        integers: (n_segments, length) int32.
        offset: to be added to all of them.
        dtype: of the sums, which fit it: int32 or a narrower integer type.
        is_packed: whether they must not be entropy coded, which takes memory at load.
    """

    integers: NDArray[np.int32]
    offset: int = 0
    dtype: type[np.generic] = np.int32
    is_packed: bool = False


Stored: TypeAlias = Coefficients | WholeNumbers
"""What decoders are emitted for."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a pass stores for one weight; the input of both its numpy decoder and its emitter.

    Attributes:
        coefficients: quantised arrays that decode to floats.
        integers: (n_segments, length) int32 arrays that decode to integers (codebook indices).
        tables: small arrays stored as they are (codebooks in float16, positions of kept coefficients).
        lost: tr(E H E^T) of the weight's errors E, H that of its inputs; None where nobody knows it.
    """

    coefficients: Mapping[str, Coefficients] = field(default_factory=dict)
    integers: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    tables: Mapping[str, Array] = field(default_factory=dict)
    lost: float | None = None


@dataclass(frozen=True, eq=False)
class IntegerGrid:
    """A weight is integers times steps, as DequantizeLinear computes it.

    Attributes:
        steps: float32, () for the whole weight, or (n_channels,).
        axis: the weight's axis of channels.
        scale: name of the initializer with the steps; "" before there is one.
        zero_point: name of that with int8 zeros of the same shape; likewise.
    """

    steps: NDArray[np.float32]
    axis: int
    scale: str = ""
    zero_point: str = ""

    def levels(self, weight: Array) -> NDArray[np.float32]:
        """Return weight / steps, as QuantizeLinear divides it: in float32."""
        return np.asarray(weight, np.float32) / self._spread(weight.ndim)

    def integers(self, weight: Array) -> NDArray[np.int8]:
        """Return what QuantizeLinear makes of a weight: rounded, halves to even."""
        return np.clip(np.rint(self.levels(weight)), -128, 127).astype(np.int8)

    def excess(self, weight: Array, integers: Array) -> float:
        """Return by how much numbers must differ from a weight's to be rounded to these integers.

        It is relative to the largest number that the grid has room for, in a channel.
        """
        off = np.abs(integers.astype(np.float32) - self.levels(weight)) - np.float32(0.5)
        return float(np.maximum(off, 0).max(initial=0.0)) / 127

    def _spread(self, rank: int) -> NDArray[np.float32]:
        if self.steps.ndim == 0:
            return self.steps
        return self.steps.reshape([-1 if i == self.axis else 1 for i in range(rank)])
