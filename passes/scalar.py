"""Scalar quantisation of the weight as it is: W' = integers * steps, no transform.

Without input statistics every filter is rounded for itself. With them the columns are rounded one by one
with error feedback (codec/feedback.py has formula and source), and stored column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import Builder, Codec, Pass
from onnxzip.records.aliases import Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip

from ._columns import RoundedColumns, emit_rounded, restore_rounded
from ._examples import example_layers
from ._shared import as_segments, payload, rate_ladder, refusal


@dataclass(frozen=True)
class ScalarPass(Pass):
    """Quantise every filter (a row of the out x in*k plane) as one segment; short rows are grouped."""

    name: ClassVar[str] = "scalar"
    n_copies: ClassVar[float] = 4
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    def candidates(self, layer: Layer, codec: Codec) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate of the codec."""
        if (skip := refusal(layer, self.name)) is not None:
            yield skip
        elif (columns := RoundedColumns(layer)).feedback is not None:
            yield from columns.ladder(self.name, {}, codec=codec, n_nodes=3)
        else:
            segments = as_segments(layer.plane())
            yield from rate_ladder(
                layer,
                self.name,
                {},
                lambda rate: _quantize(segments, rate, codec),
                lambda encoded: encoded.coefficients["weight"].values(),
                codec=codec,
                n_nodes=1,
            )

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the weight at `settings["rate"]`."""
        columns, rate = RoundedColumns(layer), float(settings["rate"])
        if columns.feedback is not None:
            return columns.encode(rate, codec)
        return _quantize(as_segments(layer.plane()), rate, codec)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return integers * steps in canonical shape."""
        layer, encoded = candidate.layer, payload(candidate)
        if "columns" in encoded.coefficients:
            return restore_rounded(layer, encoded)
        return encoded.coefficients["weight"].values().reshape(layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the coefficients as the weight."""
        layer, encoded = candidate.layer, payload(candidate)
        if "columns" in encoded.coefficients:
            emit_rounded(layer, encoded, builder)
        else:
            builder.replace_weight(layer, builder.coefficients(encoded.coefficients["weight"]))


def _quantize(segments: NDArray[np.float32], rate: float, codec: Codec) -> Encoded:
    return Encoded({"weight": codec.quantize(segments, rate)})
