"""A weight as columns, which is how error feedback rounds it: a column holds what all rows have there.

Kernels are transformed first, where that is asked for: with B the DCT basis of the kernel's k positions
(transforms/dct.py), the columns are k x n_inner coefficients, by position and then by channel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder
from onnxzip.types import Layer


def count_rows(layer: Layer) -> int:
    """Return the rows of the canonical plane, n_batch * n_out."""
    return layer.sizes[0] * layer.sizes[1]


def to_columns(layer: Layer, basis: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the layer's columns, (n_columns, n_rows); with a basis (k, k) those of its coefficients."""
    n_rows = count_rows(layer)
    if basis is None:
        return np.ascontiguousarray(layer.canonical().reshape(n_rows, -1).T)
    k = len(basis)
    vectors = layer.canonical().reshape(-1, k)
    grid = (basis @ vectors.T).reshape(k, n_rows, -1)
    return np.ascontiguousarray(grid.transpose(0, 2, 1)).reshape(-1, n_rows)


def from_columns(columns: NDArray[np.float32], basis: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the plane (n_rows, n_inner * k) of columns; the inverse of `to_columns`."""
    n_rows = columns.shape[1]
    if basis is None:
        return np.ascontiguousarray(columns.T)
    grid = columns.reshape(len(basis), -1, n_rows)
    return np.ascontiguousarray(grid.transpose(2, 1, 0) @ basis).reshape(n_rows, -1)


def emit_from_columns(
    layer: Layer, value: str, basis: NDArray[np.float32] | None, builder: Builder
) -> None:
    """Emit what makes the layer's weight of a value of as many numbers as its columns have."""
    n_rows = count_rows(layer)
    if basis is None:
        n_columns = layer.weight.size // n_rows
        value = builder.reshape(value, (n_columns, n_rows))
        value = builder.node("Transpose", [value], (n_rows, n_columns), np.float32, perm=(1, 0))
    else:
        k, n_inner = len(basis), layer.sizes[2]
        value = builder.reshape(value, (k, n_inner, n_rows))
        value = builder.node("Transpose", [value], (n_rows, n_inner, k), np.float32, perm=(2, 1, 0))
        inputs = [value, builder.constant(basis, "basis")]
        value = builder.node("MatMul", inputs, (n_rows, n_inner, k), np.float32)
    builder.replace_weight(layer, value)
