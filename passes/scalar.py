"""Scalar quantisation of the weight as it is: W' = integers * steps, no transform.

Without input statistics every filter is rounded for itself. With them the columns are rounded one by one
with error feedback (onnxzip/feedback.py has formula and source), and stored column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.feedback import layer_feedback
from onnxzip.codec.variable_rate import rows_per_segment
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Builder, Codec, Pass, relative_error
from onnxzip.records.aliases import Form, Scalar
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Encoded, Feedback
from onnxzip.records.plan import Candidate, Skip

from ._columns import count_rows, emit_from_columns, restore_columns, to_columns
from .keep import example_layers

MIN_ELEMENTS = 256
"""Below this size the decode nodes cost more than quantisation saves."""


MOST_EXPONENT = 40
"""Binary exponent of the largest magnitude beyond which nothing but `scalar` takes a weight."""


def refusal(layer: Layer, pass_name: str) -> Skip | None:
    """Refuse a weight that is too small to pay for a decode subgraph."""
    if layer.weight.size >= MIN_ELEMENTS:
        return None
    return Skip(layer.name, pass_name, f"{layer.weight.size} elements; needs at least {MIN_ELEMENTS}")


def refusal_of_transforms(layer: Layer, pass_name: str) -> Skip | None:
    """Refuse a small weight, and one whose squares leave float32."""
    if (skip := refusal(layer, pass_name)) is not None:
        return skip
    peak = float(max(layer.weight.max(), -layer.weight.min()))
    if peak == 0 or abs(np.log2(peak)) < MOST_EXPONENT:
        return None
    return Skip(layer.name, pass_name, f"magnitudes up to {peak:.2g}; their squares leave float32")


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
        feedback = layer_feedback(layer)
        values = _values(layer, feedback)
        n_nodes = 1 if feedback is None else 3
        for rate in codec.rates:
            encoded = _quantize(values, rate, codec, feedback)
            (coefficients,) = encoded.coefficients.values()
            error = relative_error(values, coefficients.values().reshape(values.shape))
            n_bytes = codec.n_bytes(encoded) + n_nodes * NODE_OVERHEAD_BYTES
            yield Candidate(
                layer, self.name, {"rate": float(rate)}, "stored", n_bytes, error, layer.macs, encoded
            )

    def encode(self, layer: Layer, settings: Mapping[str, Scalar], codec: Codec) -> Encoded:
        """Quantise the weight at `settings["rate"]`."""
        feedback = layer_feedback(layer)
        values = _values(layer, feedback)
        return _quantize(values, float(settings["rate"]), codec, feedback)

    def restore(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return integers * steps in canonical shape."""
        return _restore(candidate.layer, payload(candidate))

    def emit(self, candidate: Candidate, builder: Builder) -> None:
        """Emit the coefficients as the weight."""
        encoded = payload(candidate)
        ((name, coefficients),) = encoded.coefficients.items()
        value = builder.coefficients(coefficients)
        if name == "columns":
            emit_from_columns(candidate.layer, value, None, builder)
        else:
            builder.replace_weight(candidate.layer, value)


def _quantize(
    values: NDArray[np.float32], rate: float, codec: Codec, feedback: Feedback | None
) -> Encoded:
    name = "weight" if feedback is None else "columns"
    return Encoded({name: codec.quantize(values, rate, feedback)})


def _restore(layer: Layer, encoded: Encoded) -> NDArray[np.float32]:
    ((name, coefficients),) = encoded.coefficients.items()
    values = coefficients.values()
    if name == "columns":
        return restore_columns(layer, values, None)
    return values.reshape(layer.canonical_shape)


def _values(layer: Layer, feedback: Feedback | None) -> NDArray[np.float32]:
    """Return the canonical weight as segments, whole rows, several where they are short.

    With feedback each segment is a column: (n_inner * k, n_batch * n_out).
    """
    if feedback is not None:
        return to_columns(layer, None)
    n_rows = count_rows(layer)
    plane = layer.canonical().reshape(n_rows, -1)
    return plane.reshape(n_rows // rows_per_segment(n_rows, plane.shape[1]), -1)
