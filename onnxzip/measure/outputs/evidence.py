"""Whether what a model answers is evidence: outputs that say nothing make no verdict."""

from __future__ import annotations

import math

from onnxzip.inputs.generated.worth import TELLING_RANGE
from onnxzip.measure.outputs.output_statistics import OutputStatistics

_LEAST_VARIATION = 1e-4
"""Of an output's size. Float32 moves outputs by 1e-7 to 1e-6 of it when it adds up in another order
(`prove.exact.EXACT_LIMIT` is 1e-5), which a loss relative to the variation must not be made of."""

_QUIET = 0.05
"""Share of an output's usual variation that is as good as none. Measured on two models only: under
noise silero-vad's score varies by 1/140 of what it does under sounds, hey-mycroft's by a factor of 2.4
between readings that it answers to. The limit between them is a guess."""

_LEAST_PEAK, _MOST_PEAK = 1e-150, 1e150
"""Squares beyond them leave float64: nothing can be told of losses."""


def does_vary(found: OutputStatistics) -> bool:
    """Whether an output varies from sample to sample, well above the noise of float32."""
    if found.kind != "f":
        return found.varies
    return found.deviation > _LEAST_VARIATION * found.rms


def why_no_evidence(found: OutputStatistics, *, is_squashed: bool = False) -> str:
    """Return why an output tells nothing; "" where it does.

    Args:
        found: the output over all samples.
        is_squashed: whether it comes from an operator that answers with 0 ... 1.
    """
    if not found.n_elements:
        return "has no elements"
    if found.kind != "f":
        return "" if found.varies else "is the same for all samples"
    if not found.n_finite:
        return "is NaN or Inf everywhere"
    peak = max(abs(found.low), abs(found.high))
    if peak == 0:
        return "is 0 everywhere"
    if not _LEAST_PEAK < peak < _MOST_PEAK:
        return f"has values of {_power_of_ten(peak)}, whose squares leave float64"
    if not does_vary(found):
        return f"hardly varies: by {found.deviation / found.rms:.1g} of its size"
    if is_squashed and found.high - found.low < TELLING_RANGE:
        return f"is saturated: all of it lies between {found.low:.3g} and {found.high:.3g}"
    return ""


def is_quiet(found: OutputStatistics, likeliest: OutputStatistics) -> bool:
    """Whether an output of scores, 0 ... 1, hardly moves beside what it does on likelier inputs.

    Args:
        found: the output on some inputs.
        likeliest: the same output on those that are most like real ones.
    """
    are_scores = all(s.kind == "f" and s.low >= 0 and s.high <= 1 for s in (found, likeliest))
    return are_scores and found.deviation < _QUIET * likeliest.deviation


def _power_of_ten(value: float) -> str:
    return f"1e{math.floor(math.log10(value)):+d}"
