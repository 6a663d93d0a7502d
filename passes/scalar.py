"""Scalar quantisation of the weight as it is: W' = integers * steps, no transform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec, Pass, relative_error
from onnxzip.types import Candidate, Encoded, Form, Layer, Scalar, Skip

from .keep import example_layers

MIN_ELEMENTS = 256
"""Below this size the decode nodes cost more than quantisation saves."""

MIN_SEGMENT = 128
"""Shortest segment worth its own step: a float16 step costs 1/8 bit a weight at this length."""


def refusal(layer: Layer, pass_name: str) -> Skip | None:
    """Refuse a weight that is too small to pay for a decode subgraph."""
    if layer.weight.size >= MIN_ELEMENTS:
        return None
    return Skip(layer.name, pass_name, f"{layer.weight.size} elements; needs at least {MIN_ELEMENTS}")


def payload(candidate: Candidate) -> Encoded:
    """Return the candidate's payload.

    Raises:
        ValueError: it was released; `Pass.encode` makes it again.
    """
    if candidate.encoded is None:
        raise ValueError(
            f"{candidate.layer.name}: candidate of {candidate.pass_name} has no payload; encode it"
        )
    return candidate.encoded


def rows_per_segment(n_rows: int, row_length: int) -> int:
    """Return the smallest divisor of `n_rows` that makes segments of at least MIN_SEGMENT elements."""
    smallest = -(-MIN_SEGMENT // max(row_length, 1))
    return next((n for n in range(smallest, n_rows) if n_rows % n == 0), n_rows)


@dataclass(frozen=True)
class ScalarPass(Pass):
    """Quantise every filter (a row of the out x in*k plane) as one segment; short rows are grouped."""

    name: ClassVar[str] = "scalar"
    examples: ClassVar[tuple[Layer, ...]] = example_layers()

    def candidates(
        self, layer: Layer, codec: Codec, forms: Sequence[Form]
    ) -> Iterator[Candidate | Skip]:
        """Offer one candidate per rate of the codec."""
        if "stored" not in forms:
            yield Skip(layer.name, self.name, "quantisation alone has no computed form")
            return
        if (skip := refusal(layer, self.name)) is not None:
            yield skip
            return
        segments = _segments(layer)
        for rate in codec.rates:
            coefficients = codec.quantize(segments, rate)
            encoded = Encoded({"weight": coefficients})
            error = relative_error(segments, coefficients.values())
            n_bytes = codec.n_bytes(encoded) + NODE_OVERHEAD_BYTES
            yield Candidate(
                layer, self.name, {"rate": float(rate)}, "stored", n_bytes, error, layer.macs, encoded
            )

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the weight at `settings["rate"]`."""
        return Encoded({"weight": codec.quantize(_segments(layer), float(settings["rate"]))})

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return integers * steps in canonical shape."""
        values = payload(candidate).coefficients["weight"].values()
        return values.reshape(candidate.layer.canonical_shape)

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the coefficients as the weight."""
        value = builder.coefficients(payload(candidate).coefficients["weight"], "weight")
        builder.replace_weight(candidate.layer, value)


def _segments(layer: Layer) -> NDArray[np.float32]:
    """Return the canonical weight as (n_segments, length): whole rows, several where they are short."""
    n_batch, n_out, _, _ = layer.sizes
    n_rows = n_batch * n_out
    plane = layer.canonical().reshape(n_rows, -1)
    return plane.reshape(n_rows // rows_per_segment(n_rows, plane.shape[1]), -1)
