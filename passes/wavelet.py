"""Multi-level 2-D wavelet transform of the (out, in*k) plane, thresholded and quantised.

With input statistics only the columns are transformed, a tile at a time, and rounded with error feedback
in that domain (codec/feedback.py): a transform of the rows leaves the second moment as it is, and
thresholds follow from what a bit is worth. Without them the bands of the whole plane are stored
(_wavelet_bands.py); transforms/wavelet.py has formulas and sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pywt
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass, relative_error
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms.wavelet import (
    Geometry,
    forward,
    plan_geometry,
    pyramid_matrix,
    threshold_levels,
    tile_axis,
    universal_threshold,
)

from ._columns import RoundedColumns, emit_rounded, has_kernel_basis, restore_rounded
from ._examples import example_layers
from ._shared import check_ranges, payload, price, refusal_of_transforms, rising
from ._wavelet_bands import (
    count_nodes,
    decode,
    emit_bands,
    geometry_of,
    plane_shape,
    planes,
    quantize,
    stream_of,
)

_N_TILED_NODES = 6
"""Nodes that `emit` adds for tiles of columns, at most: the last tile may have to be cropped."""

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
    min_opset: ClassVar[int] = 8
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
        check_ranges(
            levels=(self.levels, 1, 16),
            tile=(self.tile, 2, 1024),
            multiples=(self.multiples, 0.0, 100.0),
            truncation=(self.truncation, 0.0, 1.0),
        )

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate, each with the largest threshold its noise allows."""
        if (skip := refusal_of_transforms(layer, self.name)) is not None:
            yield skip
            return
        if layer.weight.size > MAX_ELEMENTS:
            reason = f"{layer.weight.size} elements; above {MAX_ELEMENTS} it takes too much memory"
            yield Skip(layer.name, self.name, reason)
            return
        if (tile := self._tile_for(layer)) is not None:
            # Every other rate for kernels: tiles that straddle them hardly ever come near their DCT.
            rates = codec.rates[:: 2 if has_kernel_basis(layer) else 1]
            columns = _tiled_columns(layer, tile)
            ladder = columns.ladder(self.name, tile, codec=codec, n_nodes=_N_TILED_NODES, rates=rates)
            yield from rising(ladder)
            return
        yield from self._whole(layer, codec)

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Transform, threshold at `multiple` times the universal threshold, quantise at `rate`."""
        if settings.get("feedback", False):
            return _tiled_columns(layer, settings).encode(float(settings["rate"]), codec)
        geometry = geometry_of(layer, settings)
        coefficients = forward(planes(layer), geometry)
        multiple = float(settings["multiple"])
        if multiple > 0:
            limits = [
                multiple * universal_threshold(coefficients[where]) for where in geometry.details()
            ]
            soft = settings["threshold"] == "soft"
            coefficients = threshold_levels(coefficients, geometry.details(), limits, soft=soft)
        return quantize(coefficients, geometry, float(settings["rate"]), codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the inverse transform, canonical shape."""
        if candidate.settings.get("feedback", False):
            return restore_rounded(candidate.layer, payload(candidate))
        geometry = geometry_of(candidate.layer, candidate.settings)
        return decode(payload(candidate), geometry).reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit Split into bands, and two MatMuls a level; or one MatMul of all tiles of columns."""
        layer, encoded = candidate.layer, payload(candidate)
        if candidate.settings.get("feedback", False):
            emit_rounded(layer, encoded, builder)
            return
        geometry = geometry_of(layer, candidate.settings)
        builder.replace_weight(layer, emit_bands(encoded, geometry, builder))

    def _tile_for(self, layer: Layer) -> dict[str, Scalar] | None:
        """Return the settings of a transform of whole tiles; None without statistics or columns."""
        n_columns = layer.n_columns
        levels = min(self.levels, n_columns.bit_length() - 1)
        if layer.statistics is None or layer.statistics.n_blocks > 1 or levels < 1:
            return None  # tiles are no blocks of the moment
        tile = tile_axis(n_columns, levels, self.wavelet, self.tile).tile
        tile = max(tile - tile % 2**levels, 2**levels)
        return {"wavelet": self.wavelet, "levels": levels, "tile": tile, "feedback": True}

    def _whole(self, layer: Layer, codec: Codec) -> Iterator[Candidate]:
        """Offer the bands of the whole plane, a candidate a rate."""
        whole = planes(layer)
        geometry = plan_geometry(plane_shape(layer), self.wavelet, self.levels, self.tile)
        coefficients = forward(whole, geometry)
        magnitudes = [np.abs(coefficients[where]) for where in geometry.details()]
        limits = [universal_threshold(level) for level in magnitudes]
        losses = {m: self._loss(magnitudes, [m * x for x in limits]) for m in self._multiples()}
        options: dict[str, Scalar] = {"wavelet": self.wavelet, "levels": geometry.levels}
        options |= {"tile": self.tile, "threshold": self.threshold}
        for rate in codec.rates:
            multiple, encoded = self._encode(coefficients, geometry, limits, losses, rate, codec)
            yield price(
                layer,
                self.name,
                {"rate": float(rate), **options, "multiple": multiple},
                encoded,
                codec=codec,
                n_nodes=count_nodes(geometry, encoded),
                error=relative_error(whole, decode(encoded, geometry)),
            )

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
        encoded = quantize(coefficients, geometry, rate, codec)
        noise = coefficients - stream_of(encoded)[: coefficients.size]
        allowed = self.truncation * float(np.dot(noise, noise))
        multiple = next(m for m, loss in losses.items() if m == 0 or loss <= allowed)
        if multiple > 0:
            scaled = [multiple * limit for limit in limits]
            soft = self.threshold == "soft"
            kept = threshold_levels(coefficients, geometry.details(), scaled, soft=soft)
            encoded = quantize(kept, geometry, rate, codec)
        return multiple, encoded


def _tiled_columns(layer: Layer, settings: Mapping[str, Scalar]) -> RoundedColumns:
    """Return the layer's columns, transformed a tile at a time: (tile * n_tiles, n_rows)."""
    tile, levels = int(settings["tile"]), int(settings["levels"])
    synthesis = pyramid_matrix(tile, levels, str(settings["wavelet"]))
    basis = np.ascontiguousarray(synthesis.T, np.float32)
    return RoundedColumns(layer, basis, np.linalg.inv(synthesis).astype(np.float32))
