"""Multi-level 2-D wavelet transform of the (out, in*k) plane, thresholded and quantised.

With input statistics only the columns are transformed, a tile at a time, and rounded with error feedback
in that domain (onnxzip/feedback.py): a transform of the rows leaves the second moment as it is, and
thresholds follow from what a bit is worth. Without them:

Coefficients are stored as one stream from the coarsest band to the finest, in segments of equal
length, so that a band is a run of segments. The graph rebuilds the plane level by level with the
synthesis matrices of transforms/wavelet.py, plane = S_rows [[A, V], [H, D]] S_columns^T.

A synthesis matrix is stored as it is when small. A larger one is rebuilt from its two filters: with
v of period n, the rows of width 2 n - 2 of the sequence v v v ... start at v[-2 j mod n], and are
therefore v shifted by 2 j: Expand to n - 1 copies, Reshape to (n / 2, 2 n - 2), Slice to the first n.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pywt
from numpy.typing import NDArray

from onnxzip.codec.feedback import layer_feedback
from onnxzip.codec.variable_rate import MIN_SEGMENT
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec, Pass, relative_error
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients, Encoded, Feedback
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms.wavelet import (
    Geometry,
    forward,
    halve,
    inverse,
    plan_geometry,
    pyramid_matrix,
    synthesis_matrix,
    threshold_levels,
    tile_axis,
    universal_threshold,
)

from ._columns import (
    emit_from_columns,
    emit_slice,
    has_kernel_basis,
    restore_columns,
    to_columns,
)
from .keep import example_layers
from .scalar import payload, refusal_of_transforms

EXPANSION_BYTES = 3 * NODE_OVERHEAD_BYTES + 80
"""Nodes and shape constants that rebuild a synthesis matrix from its filters."""

_N_TILED_NODES = 6
MAX_ELEMENTS = 8_000_000
"""Above this the transform's copies would be the peak of the whole run, 36 bytes a weight."""


@dataclass(frozen=True)
class Wavelet(Pass):
    """Store quantised wavelet coefficients.

    Attributes:
        wavelet: any discrete wavelet of PyWavelets, by name.
        levels: levels of the pyramid, fewer on small planes.
        tile: longest run of rows or columns that is transformed together.
        threshold: "hard", "soft" or "none".
        multiples: multiples of the universal threshold to choose from, rate by rate.
        truncation: energy that thresholding may lose, as a share of the quantisation noise.
    """

    name: ClassVar[str] = "wavelet"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    wavelet: str = "haar"
    levels: int = 2
    tile: int = 64
    threshold: str = "hard"
    multiples: tuple[float, ...] = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)
    truncation: float = 0.3

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        if self.threshold not in ("hard", "soft", "none"):
            raise ValueError(f"threshold {self.threshold!r}; choose hard, soft or none")
        if self.wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"wavelet {self.wavelet!r}; choose one of pywt.wavelist(kind='discrete')")

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate, each with the largest threshold its noise allows."""
        if "stored" not in forms:
            yield Skip(layer.name, self.name, "wavelets have no computed form")
            return
        if (skip := refusal_of_transforms(layer, self.name)) is not None:
            yield skip
            return
        if layer.weight.size > MAX_ELEMENTS:
            reason = f"{layer.weight.size} elements; above {MAX_ELEMENTS} it takes too much memory"
            yield Skip(layer.name, self.name, reason)
            return
        if (tile := self._tile_for(layer)) is not None:
            yield from self._with_feedback(layer, tile, codec)
            return
        planes = _planes(layer)
        geometry = plan_geometry(_planes_shape(layer), self.wavelet, self.levels, self.tile)
        coefficients = forward(planes, geometry)
        magnitudes = [np.abs(coefficients[where]) for where in geometry.details()]
        limits = [universal_threshold(level) for level in magnitudes]
        losses = {m: self._loss(magnitudes, [m * x for x in limits]) for m in self._multiples()}
        options: dict[str, Scalar] = {"wavelet": self.wavelet, "levels": geometry.levels}
        options |= {"tile": self.tile, "threshold": self.threshold}
        for rate in codec.rates:
            multiple, encoded = self._encode(coefficients, geometry, limits, losses, rate, codec)
            settings = {"rate": float(rate), **options, "multiple": multiple}
            n_bytes = codec.n_bytes(encoded) + _n_nodes(geometry, encoded) * NODE_OVERHEAD_BYTES
            error = relative_error(planes, _decode(encoded, geometry))
            yield Candidate(layer, self.name, settings, "stored", n_bytes, error, layer.macs, encoded)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Transform, threshold at `multiple` times the universal threshold, quantise at `rate`."""
        if settings.get("feedback", False):
            return _Tiled(layer, settings).encode(float(settings["rate"]), codec)
        geometry = _geometry_of(layer, settings)
        coefficients = forward(_planes(layer), geometry)
        multiple = float(settings["multiple"])
        if multiple > 0:
            limits = [
                multiple * universal_threshold(coefficients[where]) for where in geometry.details()
            ]
            soft = settings["threshold"] == "soft"
            coefficients = threshold_levels(coefficients, geometry.details(), limits, soft=soft)
        return _quantize(coefficients, geometry, float(settings["rate"]), codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the inverse transform, canonical shape."""
        if candidate.settings.get("feedback", False):
            encoded = payload(candidate)
            values = encoded.coefficients["columns"].values()
            return restore_columns(candidate.layer, values, encoded.tables["columns"])
        geometry = _geometry_of(candidate.layer, candidate.settings)
        return _decode(payload(candidate), geometry).reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit Split into bands, and two MatMuls a level; or one MatMul of all tiles of columns."""
        if candidate.settings.get("feedback", False):
            encoded = payload(candidate)
            value = builder.coefficients(encoded.coefficients["columns"])
            emit_from_columns(candidate.layer, value, encoded.tables["columns"], builder)
            return
        geometry = _geometry_of(candidate.layer, candidate.settings)
        encoded = payload(candidate)
        plane, *details = _emit_bands(encoded.coefficients["bands"], geometry, builder)
        matrices = _emit_matrices(encoded, builder)
        for level in reversed(range(geometry.levels)):
            corners = [plane, *details[:3]]
            details = details[3:]
            plane = _emit_level(corners, geometry, level, matrices, builder)
        builder.replace_weight(candidate.layer, _emit_crop(plane, geometry, builder))

    def _tile_for(self, layer: Layer) -> dict[str, Scalar] | None:
        """Return the settings of a transform of whole tiles; None without statistics or columns."""
        n_columns = _planes_shape(layer)[2]
        levels = min(self.levels, n_columns.bit_length() - 1)
        if layer.statistics is None or layer.statistics.n_blocks > 1 or levels < 1:
            return None  # tiles are no blocks of the moment
        tile = tile_axis(n_columns, levels, self.wavelet, self.tile).tile
        tile = max(tile - tile % 2**levels, 2**levels)
        return {"wavelet": self.wavelet, "levels": levels, "tile": tile, "feedback": True}

    def _with_feedback(
        self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec
    ) -> Iterator[Candidate]:
        """Offer one candidate per rate, rounded with error feedback.

        Every other rate for kernels: tiles that straddle them hardly ever come near their DCT.
        """
        tiled, n_bytes = _Tiled(layer, settings), 0
        for rate in codec.rates[:: 2 if has_kernel_basis(layer) else 1]:
            encoded = tiled.encode(rate, codec)
            values, basis = encoded.coefficients["columns"].values(), encoded.tables["columns"]
            error = relative_error(layer.canonical(), restore_columns(layer, values, basis))
            size = codec.n_bytes(encoded) + _N_TILED_NODES * NODE_OVERHEAD_BYTES
            if size >= n_bytes:
                n_bytes = size
                full = {"rate": float(rate), **settings}
                yield Candidate(layer, self.name, full, "stored", size, error, layer.macs, encoded)

    def _multiples(self) -> tuple[float, ...]:
        """Multiples to try, largest first; 0 (no thresholding) is always there."""
        return (0.0,) if self.threshold == "none" else (*sorted(self.multiples, reverse=True), 0.0)

    def _loss(self, levels: Sequence[NDArray[np.float32]], limits: Sequence[float]) -> float:
        """Return the energy that thresholding each level's magnitudes at its limit takes away."""
        loss = 0.0
        for level, limit in zip(levels, limits, strict=True):
            cut = np.float32(limit)
            lost = (
                np.minimum(level, cut) if self.threshold == "soft" else np.where(level <= cut, level, 0)
            )
            loss += float(np.dot(lost, lost))
        return loss

    def _encode(
        self,
        coefficients: NDArray[np.float32],
        geometry: Geometry,
        limits: Sequence[float],
        losses: Mapping[float, float],
        rate: float,
        codec: Codec,
    ) -> tuple[float, Encoded]:
        """Quantise, then again with the largest threshold that the noise hides."""
        encoded = _quantize(coefficients, geometry, rate, codec)
        noise = coefficients - _values(encoded)[: coefficients.size]
        allowed = self.truncation * float(np.dot(noise, noise))
        multiple = next(m for m, loss in losses.items() if m == 0 or loss <= allowed)
        if multiple > 0:
            scaled = [multiple * limit for limit in limits]
            soft = self.threshold == "soft"
            kept = threshold_levels(coefficients, geometry.details(), scaled, soft=soft)
            encoded = _quantize(kept, geometry, rate, codec)
        return multiple, encoded


@dataclass(frozen=True, eq=False)
class _Tiled:
    """A layer's columns, transformed a tile at a time."""

    layer: Layer
    settings: Mapping[str, Scalar]

    @cached_property
    def _synthesis(self) -> NDArray[np.float64]:
        tile, levels = int(self.settings["tile"]), int(self.settings["levels"])
        return pyramid_matrix(tile, levels, str(self.settings["wavelet"]))

    @cached_property
    def _basis(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._synthesis.T, np.float32)

    @cached_property
    def _columns(self) -> NDArray[np.float32]:
        return to_columns(self.layer, self._basis, np.linalg.inv(self._synthesis).astype(np.float32))

    @cached_property
    def _feedback(self) -> Feedback | None:
        return layer_feedback(self.layer, self._basis)

    def encode(self, rate: float, codec: Codec) -> Encoded:
        """Quantise all coefficients, a column each: (tile * n_tiles, n_rows)."""
        quantised = codec.quantize(self._columns, rate, self._feedback)
        return Encoded({"columns": quantised}, tables={"columns": self._basis})


def _planes_shape(layer: Layer) -> tuple[int, int, int]:
    """(n_batch, out, in*k)."""
    n_batch, n_out, n_inner, spatial = layer.sizes
    return (n_batch, n_out, n_inner * int(np.prod(spatial)))


def _planes(layer: Layer) -> NDArray[np.float32]:
    """Return the canonical weight as (n_batch, out, in*k)."""
    return layer.canonical().reshape(_planes_shape(layer))


def _geometry_of(layer: Layer, settings: Mapping[str, Scalar]) -> Geometry:
    """Tile the layer's planes as the settings say."""
    levels, tile = int(settings["levels"]), int(settings["tile"])
    return plan_geometry(_planes_shape(layer), str(settings["wavelet"]), levels, tile)


def _quantize(
    coefficients: NDArray[np.float32], geometry: Geometry, rate: float, codec: Codec
) -> Encoded:
    """Quantise the stream in segments of equal length, the last one filled up with zeros."""
    length = min(4 * MIN_SEGMENT, max(MIN_SEGMENT, coefficients.size // 256))
    filled = np.pad(coefficients, (0, -coefficients.size % length)).reshape(-1, length)
    return Encoded({"bands": codec.quantize(filled, rate)}, tables=_tables(geometry))


def _values(encoded: Encoded) -> NDArray[np.float32]:
    """Return the reconstructed stream, filling included."""
    return encoded.coefficients["bands"].values().reshape(-1)


def _decode(encoded: Encoded, geometry: Geometry) -> NDArray[np.float32]:
    """Return the (n_batch, out, in*k) planes."""
    return inverse(_values(encoded)[: geometry.n_coefficients], geometry)


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


def _n_nodes(geometry: Geometry, encoded: Encoded) -> int:
    """Count the nodes that `emit` adds."""
    n_expanded = sum(table.ndim == 3 for table in encoded.tables.values())
    n_bands = sum(0 not in shape for shape in geometry.band_shapes())
    n_cropped = sum(axis.n_tiles * axis.tile > axis.n for axis in (geometry.rows, geometry.columns))
    n_crops = n_cropped + 1 if n_cropped else 0
    return 2 + n_bands + 8 * geometry.levels + 3 * n_expanded + n_crops + 1


def _emit_bands(coefficients: Coefficients, geometry: Geometry, builder: Builder) -> list[str]:
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
            value = emit_slice(value, (2 * half, n), axis=1, builder=builder)
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
        plane = emit_slice(plane, shape, axis=1, builder=builder)
    return plane if shape == target else emit_slice(plane, target, axis=2, builder=builder)
