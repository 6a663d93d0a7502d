"""A weight of the model: what its axes mean, what consumes it, and what its inputs look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array, AttributeValue
from onnxzip.records.elements.exact import is_exact, n_stored_bytes

MAX_EXPONENT = 40
"""Magnitudes within 2^-40 ... 2^40 may be squared in float32, whose normal numbers are 2^-126 ... 2^128:
that leaves room for sums of 2^47 of the largest squares and for errors of 2^-23 of the smallest."""


@dataclass(frozen=True)
class Layout:
    """Say what each axis of a weight means; together the four tuples name every axis once.

    A weight in *canonical* order has its axes as batch + out + inner + spatial. A Conv weight
    (out, in/group, kh, kw) is canonical already; the B of a Gemm without transB, (in, out), is not.
    """

    batch: tuple[int, ...]
    out: tuple[int, ...]
    inner: tuple[int, ...]
    spatial: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The permutation of the weight's axes that gives canonical order."""
        return self.batch + self.out + self.inner + self.spatial

    @property
    def is_canonical(self) -> bool:
        """Whether the weight's own axis order is the canonical one."""
        return self.order == tuple(range(len(self.order)))

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int, tuple[int, ...]]:
        """Return (n_batch, n_out, n_inner, spatial shape) of a weight of the given shape."""
        return (
            int(np.prod([shape[a] for a in self.batch], dtype=np.int64)),
            int(np.prod([shape[a] for a in self.out], dtype=np.int64)),
            int(np.prod([shape[a] for a in self.inner], dtype=np.int64)),
            tuple(shape[a] for a in self.spatial),
        )


@dataclass(frozen=True)
class Statistics:
    """Second moment of what a layer's columns are multiplied with.

    Attributes:
        second_moment: M, float32, symmetric; damped, so that it is positive definite. H = E[x xᵀ] of all
            columns in canonical order, n_inner * prod(spatial), is M repeated along the diagonal.
        n_samples: number of input vectors averaged over.
        n_blocks: how often M is repeated: 1, or n_inner where M is that of the spatial positions alone.
    """

    second_moment: NDArray[np.float32]
    n_samples: int
    n_blocks: int = 1

    def times(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return plane @ H for (n_rows, n_columns) float32."""
        n_columns = len(self.second_moment)
        product: NDArray[np.float32] = plane.reshape(-1, n_columns) @ self.second_moment
        return product.reshape(plane.shape)


@dataclass(frozen=True, eq=False)
class Layer:
    """One weight of the model and what consumes it.

    Attributes:
        name: the weight's name, unique in the model.
        op_type: operator of the first consumer ("Conv", "Gemm", ...), "" when there is none known.
        weight: read-only array in the model's own axis order and float type.
        layout: meaning of the weight's axes.
        attributes: attributes of the first consumer (strides, group, transB, ...), defaults included.
        can_factorise: whether nodes with factors of it may take the place of its consumers.
        statistics: second moment of the consumer's input; None without calibration.
        row_weights: (n_out,) float32 of mean 1, how often each row of a Gather's table is read, damped;
            None where that is not known.
    """

    name: str
    op_type: str
    weight: Array
    layout: Layout
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    can_factorise: bool = False
    statistics: Statistics | None = None
    row_weights: NDArray[np.float32] | None = None

    @cached_property
    def sizes(self) -> tuple[int, int, int, tuple[int, ...]]:
        """(n_batch, n_out, n_inner, spatial shape)."""
        return self.layout.sizes(self.weight.shape)

    @cached_property
    def is_near_infinity(self) -> bool:
        """Whether rounding may carry numbers of it out of float32, in which weights are decoded."""
        if is_exact(self.weight.dtype):
            return False
        largest = max(float(self.weight.max(initial=0)), -float(self.weight.min(initial=0)))
        return largest > float(np.finfo(np.float32).max) / 2

    @property
    def n_bytes(self) -> int:
        """Bytes of the weight in a file."""
        return n_stored_bytes(self.weight)

    @property
    def n_rows(self) -> int:
        """Rows of the plane, n_batch * n_out."""
        return self.sizes[0] * self.sizes[1]

    @property
    def n_columns(self) -> int:
        """Columns of the plane, n_inner * prod(spatial)."""
        return self.sizes[2] * int(np.prod(self.sizes[3], dtype=np.int64))

    @property
    def canonical_shape(self) -> tuple[int, ...]:
        """(n_batch, n_out, n_inner, *spatial)."""
        n_batch, n_out, n_inner, spatial = self.sizes
        return (n_batch, n_out, n_inner, *spatial)

    def canonical(self) -> NDArray[np.float32]:
        """Return the weight as float32 (n_batch, n_out, n_inner, *spatial), C-contiguous."""
        ordered = np.transpose(self.weight, self.layout.order).astype(np.float32)
        return np.ascontiguousarray(ordered).reshape(self.canonical_shape)

    def plane(self) -> NDArray[np.float32]:
        """Return the canonical weight as float32 (n_rows, n_columns), C-contiguous."""
        return self.canonical().reshape(self.n_rows, self.n_columns)

    def from_canonical(self, array: NDArray[np.float32]) -> Array:
        """Return a canonical float32 array in the weight's own shape, axis order and dtype."""
        shape = self.weight.shape
        order = self.layout.order
        permuted = array.reshape([shape[a] for a in order])
        restored = np.transpose(permuted, np.argsort(order))
        with np.errstate(over="ignore"):  # rounded up, the largest float16 is Inf, as in the graph
            return np.ascontiguousarray(restored).astype(self.weight.dtype)
