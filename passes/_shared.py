"""What passes share: which weights they refuse, their segments, and ladders of priced candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from onnxzip.codec.variable_rate import rows_per_segment
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Codec, relative_error
from onnxzip.records.aliases import Array, Scalar
from onnxzip.records.layer import MAX_EXPONENT, Layer
from onnxzip.records.payload import Encoded
from onnxzip.records.plan import Candidate, Skip

MIN_ELEMENTS = 256
"""Smaller weights, a kilobyte of float32, take less as they are than coded with their decode nodes."""


def refusal(layer: Layer, pass_name: str) -> Skip | None:
    """Refuse a weight that is too small to pay for a decode subgraph, or for float32's numbers."""
    if layer.weight.size < MIN_ELEMENTS:
        reason = f"{layer.weight.size} elements; needs at least {MIN_ELEMENTS}"
        return Skip(layer.name, pass_name, reason)
    peak = float(max(layer.weight.max(), -layer.weight.min()))
    if layer.weight.dtype == np.float64 and 0 < peak < np.finfo(np.float32).tiny:
        return Skip(layer.name, pass_name, f"magnitudes up to {peak:.2g}; decoders make float32")
    return None


def refusal_of_transforms(layer: Layer, pass_name: str) -> Skip | None:
    """Refuse a small weight, and one whose squares leave float32, which only `scalar` takes."""
    if (skip := refusal(layer, pass_name)) is not None:
        return skip
    peak = float(max(layer.weight.max(), -layer.weight.min()))
    if peak == 0 or abs(np.log2(peak)) < MAX_EXPONENT:
        return None
    return Skip(layer.name, pass_name, f"magnitudes up to {peak:.2g}; their squares leave float32")


def as_segments(cells: Array) -> Array:
    """Cut (..., n_rows, length) into segments of whole rows, several where they are short."""
    n_rows, length = cells.shape[-2:]
    return cells.reshape(-1, rows_per_segment(n_rows, length) * length)


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


def price(
    layer: Layer,
    pass_name: str,
    settings: Mapping[str, Scalar],
    encoded: Encoded,
    *,
    codec: Codec,
    n_nodes: int,
    error: float,
) -> Candidate:
    """Return the candidate of a payload.

    Args:
        layer: of the weight.
        pass_name: of the pass.
        settings: what `Pass.encode` makes the payload from.
        encoded: the payload.
        codec: prices it.
        n_nodes: nodes that `Pass.emit` adds to the codec's own and those of `replace_weight`.
        error: |W - W'| / |W|.
    """
    n_bytes = codec.n_bytes(encoded) + n_nodes * NODE_OVERHEAD_BYTES
    return Candidate(layer, pass_name, dict(settings), n_bytes, error, encoded)


def rate_ladder(
    layer: Layer,
    pass_name: str,
    settings: Mapping[str, Scalar],
    encode: Callable[[float], Encoded],
    restore: Callable[[Encoded], Array],
    *,
    codec: Codec,
    n_nodes: int,
    rates: Sequence[float] | None = None,
) -> Iterator[Candidate]:
    """Offer a candidate a rate, with `settings` and the rate as its settings.

    Args:
        layer: of the weight.
        pass_name: of the pass.
        settings: what candidates have in common.
        encode: makes the payload at a rate.
        restore: decodes it, in canonical order.
        codec: quantised and prices it.
        n_nodes: as `price` counts them.
        rates: the codec's by default.
    """
    weight = layer.canonical()
    for rate in codec.rates if rates is None else rates:
        encoded = encode(rate)
        error = relative_error(weight, restore(encoded))
        full = {"rate": float(rate), **settings}
        yield price(layer, pass_name, full, encoded, codec=codec, n_nodes=n_nodes, error=error)


def rising(ladder: Iterable[Candidate], n_most_bytes: float = np.inf) -> Iterator[Candidate]:
    """Drop candidates that are smaller than one before them, or too large."""
    n_least_bytes = 0
    for candidate in ladder:
        if n_least_bytes <= candidate.n_bytes < n_most_bytes:
            n_least_bytes = candidate.n_bytes
            yield candidate


_MAX_SHOWN = 1e300
"""Whole numbers of any size may be given, and larger ones are no float."""


def check_ranges(**settings: tuple[float | tuple[float, ...], float, float]) -> None:
    """Refuse settings out of their range.

    Args:
        **settings: by name, a value or several, the least and the greatest that may be.

    Raises:
        ValueError: one is outside.
    """
    for name, (value, least, most) in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        if wrong := [number for number in values if not least <= number <= most]:
            found = f"{wrong[0]:g}" if abs(wrong[0]) < _MAX_SHOWN else "of many digits"
            raise ValueError(f"{name} {found} is not from {least:g} to {most:g}")
