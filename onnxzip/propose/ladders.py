"""Ladders of candidates: the rates that were not measured.

Candidates of one pass that differ in the rate alone are a curve. Bytes and errors between two rates of
a curve, and above the highest that was measured, are estimated: plans are tried on the whole model, so
that an estimate need not be exact; `Chooser.settle` makes it so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from onnxzip.passbase import Codec
from onnxzip.records.plan import Candidate

Ladders = Mapping[str, Sequence[Candidate]]

_MOST_DOUBT = 1.5
"""How far the errors at a curve's two highest rates may be from proportion: a curve whose error ends
elsewhere, as that of a low rank does, says nothing of higher rates."""


def completed(ladder: Sequence[Candidate], codec: Codec) -> list[Candidate]:
    """Return a ladder with the rates that the codec has, or could have, besides those measured."""
    full = [*ladder, *_at_high_rates(ladder, codec)]
    return with_midpoints(full) if codec.is_continuous else full


def with_midpoints(ladder: Sequence[Candidate]) -> list[Candidate]:
    """Return a ladder with a candidate halfway between any two that differ in the rate alone.

    On a curve of bytes over rate and of error over rate the geometric mean is near the middle.
    """
    middles = [
        _between(low, high, (rate_of(low) * rate_of(high)) ** 0.5)
        for curve in _curves(ladder)
        for low, high in pairwise(curve)
        if _is_rising(low, high)
    ]
    return [*ladder, *middles]


def curve_of(candidate: Candidate, ladder: Sequence[Candidate]) -> list[Candidate]:
    """Return what differs from a candidate in the rate alone, by rate; empty where it has no rate."""
    if "rate" not in candidate.settings:
        return []
    key = _key(candidate)
    curve = [c for c in ladder if "rate" in c.settings and c.error > 0 and _key(c) == key]
    return sorted(curve, key=rate_of)


def at_rate(candidate: Candidate, curve: Sequence[Candidate], rate: float) -> Candidate:
    """Return a candidate at another rate of its curve, by estimate.

    Returns:
        The candidate itself where the curve does not reach that rate.
    """
    for low, high in pairwise(curve):
        if rate_of(low) <= rate <= rate_of(high) and _is_rising(low, high):
            return _between(low, high, rate)
    return candidate


def rate_of(candidate: Candidate) -> float:
    """Return the rate of a candidate that has one."""
    return float(candidate.settings["rate"])


def _between(low: Candidate, high: Candidate, rate: float) -> Candidate:
    """Estimate a candidate between two of a curve: logarithms of bytes and error are interpolated."""
    share = math.log(rate / rate_of(low)) / math.log(rate_of(high) / rate_of(low))
    n_bytes = low.n_bytes ** (1 - share) * high.n_bytes**share
    error = low.error ** (1 - share) * high.error**share
    return _estimate(low, rate, int(n_bytes), error)


def _estimate(like: Candidate, rate: float, n_bytes: int, error: float) -> Candidate:
    settings = {**like.settings, "rate": float(f"{rate:.4g}")}
    found = replace(like, settings=settings, n_bytes=n_bytes, error=error, encoded=None)
    return replace(found, is_estimate=True)


def _at_high_rates(ladder: Sequence[Candidate], codec: Codec) -> list[Candidate]:
    """Offer the codec's high rates on the curve that has the fewest bytes at equal error there.

    A bit more halves the error.
    """
    tops: list[tuple[float, Candidate]] = []
    for curve in _curves(ladder):
        if len(curve) > 1 and rate_of(curve[-1]) >= _top(codec):
            low, high = curve[-2:]
            doubt = low.error / high.error * rate_of(low) / rate_of(high)
            if 1 / _MOST_DOUBT < doubt < _MOST_DOUBT:
                size = high.layer.weight.size
                tops.append((high.n_bytes + size * math.log2(high.error) / 8, high))
    if not tops:
        return []
    _, top = min(tops, key=lambda found: found[0])
    layer = top.layer
    offers = []
    for rate in codec.high_rates:
        n_bits = codec.n_bits(rate) - codec.n_bits(rate_of(top))
        n_bytes = top.n_bytes + int(n_bits * layer.weight.size / 8)
        offers.append(_estimate(top, rate, n_bytes, top.error * rate_of(top) / rate))
    return [offer for offer in offers if offer.n_bytes < layer.n_bytes]


def _top(codec: Codec) -> float:
    """Return the highest rate that is measured below those that are offered by estimate."""
    return max(rate for rate in codec.rates if rate < codec.high_rates[0])


def _curves(ladder: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the candidates that differ in the rate alone, by rate."""
    curves: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in ladder:
        if "rate" in candidate.settings and candidate.error > 0:
            curves.setdefault(_key(candidate), []).append(candidate)
    return [sorted(curve, key=rate_of) for curve in curves.values()]


def _key(candidate: Candidate) -> tuple[object, ...]:
    others = tuple(sorted((k, v) for k, v in candidate.settings.items() if k != "rate"))
    return (candidate.pass_name, others)


def _is_rising(low: Candidate, high: Candidate) -> bool:
    """Whether the higher rate of two is the more exact one."""
    return low.n_bytes < high.n_bytes and low.error > high.error
