"""The bands of a pyramid, as `wavelet` stores them without input statistics.

Coefficients are stored as one stream from the coarsest band to the finest, in segments of equal
length, so that a band is a run of segments. The graph rebuilds the plane level by level with the
synthesis matrices of transforms/wavelet.py, plane = S_rows [[A, V], [H, D]] S_columns^T.

A synthesis matrix is stored as it is when small. A larger one is rebuilt from its two filters: with
v of period n, the rows of width 2 n - 2 of the sequence v v v ... start at v[-2 j mod n], and are
therefore v shifted by 2 j: Expand to n - 1 copies, Reshape to (n / 2, 2 n - 2), Slice to the first n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.emit.nodes import cut
from onnxzip.codec.variable_rate import MIN_SEGMENT
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded
from onnxzip.transforms.wavelet import Geometry, halve, inverse, plan_geometry, synthesis_matrix

EXPANSION_BYTES = 3 * NODE_OVERHEAD_BYTES + 80
"""Nodes and shape constants that rebuild a synthesis matrix from its filters."""


def plane_shape(layer: Layer) -> tuple[int, int, int]:
    """(n_batch, out, in*k)."""
    return (layer.sizes[0], layer.sizes[1], layer.n_columns)


def planes(layer: Layer) -> NDArray[np.float32]:
    """Return the canonical weight as (n_batch, out, in*k)."""
    return layer.canonical().reshape(plane_shape(layer))


def geometry_of(layer: Layer, settings: Mapping[str, Scalar]) -> Geometry:
    """Tile the layer's planes as the settings say."""
    levels, tile = int(settings["levels"]), int(settings["tile"])
    return plan_geometry(plane_shape(layer), str(settings["wavelet"]), levels, tile)


def quantize(
    coefficients: NDArray[np.float32], geometry: Geometry, rate: float, codec: Codec
) -> Encoded:
    """Quantise the stream in segments of equal length, the last one filled up with zeros."""
    length = min(4 * MIN_SEGMENT, max(MIN_SEGMENT, coefficients.size // 256))
    filled = np.pad(coefficients, (0, -coefficients.size % length)).reshape(-1, length)
    return Encoded({"bands": codec.quantize(filled, rate)}, tables=_tables(geometry))


def stream_of(encoded: Encoded) -> NDArray[np.float32]:
    """Return the reconstructed stream, filling included."""
    return encoded.coefficients["bands"].values().reshape(-1)


def decode(encoded: Encoded, geometry: Geometry) -> NDArray[np.float32]:
    """Return the (n_batch, out, in*k) planes."""
    return inverse(stream_of(encoded)[: geometry.n_coefficients], geometry)


def _tables(geometry: Geometry) -> dict[str, NDArray[np.float32]]:
    """Return S^T of every axis length in use, or its two filters (2, 1, n) where that is smaller."""
    levels = geometry.levels
    lengths = {*geometry.rows.lengths(levels)[:-1], *geometry.columns.lengths(levels)[:-1]} - {1}
    tables = {}
    for n in sorted(lengths):
        half = halve(n)[0]
        if 4 * 2 * half * n <= 4 * 4 * half + EXPANSION_BYTES:
            tables[f"synthesis{n}"] = synthesis_matrix(n, geometry.wavelet).T.astype(np.float32)
        else:  # the filters of the even length; an odd one is cropped
            even = synthesis_matrix(2 * half, geometry.wavelet)
            tables[f"synthesis{n}"] = even[:, [0, half]].T[:, None, :].astype(np.float32)
    return {name: np.ascontiguousarray(table) for name, table in tables.items()}


def count_nodes(geometry: Geometry, encoded: Encoded) -> int:
    """Count the nodes that `emit` adds."""
    n_expanded = sum(table.ndim == 3 for table in encoded.tables.values())
    n_bands = sum(0 not in shape for shape in geometry.band_shapes())
    n_cropped = sum(axis.n_tiles * axis.tile > axis.n for axis in (geometry.rows, geometry.columns))
    n_crops = n_cropped + 1 if n_cropped else 0
    return 2 + n_bands + 8 * geometry.levels + 3 * n_expanded + n_crops + 1


def emit_bands(encoded: Encoded, geometry: Geometry, builder: Builder) -> str:
    """Emit Split into bands, and two MatMuls a level; return the value's name."""
    plane, *details = _emit_split(encoded.coefficients["bands"], geometry, builder)
    matrices = _emit_matrices(encoded, builder)
    for level in reversed(range(geometry.levels)):
        corners = [plane, *details[:3]]
        details = details[3:]
        plane = _emit_level(corners, geometry, level, matrices, builder)
    return _emit_crop(plane, geometry, builder)


def _emit_split(coefficients: Coefficients, geometry: Geometry, builder: Builder) -> list[str]:
    """Emit the stream's Split; return the bands' values, "" where a band is empty."""
    value = builder.coefficients(coefficients)
    n_filled = coefficients.integers.size
    value = builder.reshape(value, (n_filled,))
    shapes = geometry.band_shapes()
    sizes = [int(np.prod(shape)) for shape in shapes]
    ends = [size for size in (*sizes, n_filled - sum(sizes)) if size]
    parts = builder.split(value, [(size,) for size in ends], np.float32) if len(ends) > 1 else [value]
    remaining = iter(parts)  # what Split leaves beyond the bands is the filling, read by nobody
    return [builder.reshape(next(remaining), shape) if 0 not in shape else "" for shape in shapes]


def _emit_matrices(encoded: Encoded, builder: Builder) -> dict[int, str]:
    """Emit S^T of every axis length, (2 m, n)."""
    matrices = {}
    for name, table in encoded.tables.items():
        n = int(name.removeprefix("synthesis"))
        value = builder.constant(table)
        if table.ndim == 3:
            even = table.shape[2]
            half = even // 2
            shape = builder.constant(np.array([2, even - 1, even], np.int64))
            value = builder.node("Expand", [value, shape], (2, even - 1, even), np.float32)
            value = builder.reshape(value, (even, 2 * even - 2))
            value = cut(value, (2 * half, n), builder, axis=1)
        matrices[n] = value
    return matrices


def _emit_level(
    corners: Sequence[str], geometry: Geometry, level: int, matrices: Mapping[int, str], builder: Builder
) -> str:
    """Emit one level's synthesis from its A, H, V, D; return the next finer approximation."""
    n_rows, n_columns = geometry.tile_shape(level)
    (low_r, high_r), (low_c, high_c) = halve(n_rows), halve(n_columns)
    stacks, tiles = geometry.n_stacks, geometry.columns.n_tiles
    a, h, v, d = corners
    wide = low_c + high_c
    if high_c:
        a = builder.node("Concat", [a, v], (stacks, low_r, tiles, wide), np.float32, axis=3)
        if high_r:
            h = builder.node("Concat", [h, d], (stacks, high_r, tiles, wide), np.float32, axis=3)
    if high_r:
        a = builder.node("Concat", [a, h], (stacks, low_r + high_r, tiles, wide), np.float32, axis=1)
    if high_c:
        shape = (stacks, low_r + high_r, tiles, n_columns)
        a = builder.node("MatMul", [a, matrices[n_columns]], shape, np.float32)
    if high_r:
        transposed = (n_rows, low_r + high_r)
        rows = builder.node("Transpose", [matrices[n_rows]], transposed, np.float32, perm=(1, 0))
        a = builder.reshape(a, (stacks, low_r + high_r, tiles * n_columns))
        a = builder.node("MatMul", [rows, a], (stacks, n_rows, tiles * n_columns), np.float32)
    return builder.reshape(a, (stacks, n_rows, tiles, n_columns))


def _emit_crop(plane: str, geometry: Geometry, builder: Builder) -> str:
    """Emit the removal of rows and columns that only filled the last tile."""
    rows, columns = geometry.rows, geometry.columns
    filled = (geometry.n_batch, rows.n_tiles * rows.tile, columns.n_tiles * columns.tile)
    target = (geometry.n_batch, rows.n, columns.n)
    shape = (filled[0], target[1], filled[2])
    if filled == target:
        return plane
    plane = builder.reshape(plane, filled)
    if filled != shape:
        plane = cut(plane, shape, builder, axis=1)
    return plane if shape == target else cut(plane, target, builder, axis=2)
