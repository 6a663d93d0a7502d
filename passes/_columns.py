"""A weight as columns, as error feedback rounds it: a column holds what all rows have at its place.

Columns may be transformed first, k neighbours at a time (a kernel's positions, a tile): with the basis
B, w = c B for the coefficients c of k numbers w. The columns then are k x n_groups coefficients, ordered
by position and then by group. Where k does not divide the columns, the last one is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.emit.nodes import cut
from onnxzip.codec.layer_feedback import layer_feedback
from onnxzip.passbase import Builder, Codec
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded, Feedback
from onnxzip.records.plan import Candidate

from ._shared import rate_ladder


def has_kernel_basis(layer: Layer) -> bool:
    """Whether the layer has kernels, and a (k, k) basis of their positions is small beside it."""
    k = int(np.prod(layer.sizes[3]))
    return k > 1 and 2 * k * k <= layer.weight.size


def to_columns(
    layer: Layer, basis: NDArray[np.float32] | None, analysis: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the layer's columns, (n_columns, n_rows).

    Args:
        layer: of any layout.
        basis: B, (k, k); None leaves the columns as they are.
        analysis: A, (k, k), with c = A w; by default B, which is right where it is orthogonal.
    """
    n_rows, plane = layer.n_rows, layer.plane()
    if basis is None:
        return np.ascontiguousarray(plane.T)
    k = len(basis)
    if plane.shape[1] % k:
        plane = np.pad(plane, ((0, 0), (0, -plane.shape[1] % k)), mode="edge")
    vectors = plane.reshape(-1, k)
    grid = ((basis if analysis is None else analysis) @ vectors.T).reshape(k, n_rows, -1)
    return np.ascontiguousarray(grid.transpose(0, 2, 1)).reshape(-1, n_rows)


def from_columns(
    columns: NDArray[np.float32], basis: NDArray[np.float32] | None, n_columns: int | None = None
) -> NDArray[np.float32]:
    """Return the plane (n_rows, n_columns) of columns; the inverse of `to_columns`.

    Args:
        columns: (n_columns, n_rows), filled up to whole groups.
        basis: B, (k, k).
        n_columns: where the groups hold more.
    """
    n_rows = columns.shape[1]
    if basis is None:
        return np.ascontiguousarray(columns.T)
    grid = columns.reshape(len(basis), -1, n_rows)
    plane = np.ascontiguousarray(grid.transpose(2, 1, 0) @ basis).reshape(n_rows, -1)
    return plane if n_columns is None else np.ascontiguousarray(plane[:, :n_columns])


def restore_columns(
    layer: Layer, values: NDArray[np.float32], basis: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the canonical weight whose columns are `values`, in any shape: as `emit_from_columns`."""
    plane = from_columns(values.reshape(-1, layer.n_rows), basis, layer.n_columns)
    return plane.reshape(layer.canonical_shape)


def emit_from_columns(
    layer: Layer, value: str, basis: NDArray[np.float32] | None, builder: Builder
) -> None:
    """Emit what makes the layer's weight of a value of as many numbers as its columns have."""
    n_rows, n_columns = layer.n_rows, layer.n_columns
    if basis is None:
        value = builder.reshape(value, (n_columns, n_rows))
        value = builder.node("Transpose", [value], (n_rows, n_columns), np.float32, perm=(1, 0))
    else:
        k, n_groups = len(basis), -(-n_columns // len(basis))
        value = builder.reshape(value, (k, n_groups, n_rows))
        value = builder.node("Transpose", [value], (n_rows, n_groups, k), np.float32, perm=(2, 1, 0))
        inputs = [value, builder.constant(basis)]
        value = builder.node("MatMul", inputs, (n_rows, n_groups, k), np.float32)
        if n_columns < k * n_groups:
            value = builder.reshape(value, (n_rows, k * n_groups))
            value = cut(value, (n_rows, n_columns), builder, axis=1)
    builder.replace_weight(layer, value)


@dataclass(frozen=True, eq=False)
class RoundedColumns:
    """A layer's columns, rounded with error feedback: "columns" in a payload, the basis in its tables.

    Attributes:
        layer: of any layout.
        basis: B, (k, k), or None.
        analysis: as in `to_columns`.
    """

    layer: Layer
    basis: NDArray[np.float32] | None = None
    analysis: NDArray[np.float32] | None = None

    @cached_property
    def feedback(self) -> Feedback | None:
        """Where errors go; None without statistics."""
        return layer_feedback(self.layer, self.basis)

    @cached_property
    def _values(self) -> NDArray[np.float32]:
        return to_columns(self.layer, self.basis, self.analysis)

    def encode(self, rate: float, codec: Codec) -> Encoded:
        """Quantise all columns, (n_columns, n_rows)."""
        return self._encoded(codec.quantize(self._values, rate, self.feedback))

    def _encoded(self, columns: Coefficients) -> Encoded:
        tables = {} if self.basis is None else {"columns": self.basis}
        is_filled = columns.integers.size > self.layer.weight.size  # what fills up is not lost
        lost = None if is_filled else columns.lost
        return Encoded({"columns": columns}, tables=tables, lost=lost)

    def ladder(
        self,
        pass_name: str,
        settings: Mapping[str, Scalar],
        *,
        codec: Codec,
        n_nodes: int,
        rates: Sequence[float] | None = None,
    ) -> Iterator[Candidate]:
        """Offer a candidate a rate; see `rate_ladder`."""
        rates = codec.rates if rates is None else rates
        found = codec.quantize_all(self._values, rates, self.feedback)
        return rate_ladder(
            self.layer,
            pass_name,
            settings,
            lambda _: self._encoded(next(found)),
            lambda encoded: restore_rounded(self.layer, encoded),
            codec=codec,
            n_nodes=n_nodes,
            rates=rates,
        )


def restore_rounded(layer: Layer, encoded: Encoded) -> NDArray[np.float32]:
    """Return the weight of a payload of `RoundedColumns`, canonical shape."""
    values = encoded.coefficients["columns"].values()
    return restore_columns(layer, values, encoded.tables.get("columns"))


def emit_rounded(layer: Layer, encoded: Encoded, builder: Builder) -> None:
    """Emit the weight of a payload of `RoundedColumns`."""
    value = builder.coefficients(encoded.coefficients["columns"])
    emit_from_columns(layer, value, encoded.tables.get("columns"), builder)
