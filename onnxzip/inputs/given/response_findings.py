"""What a model's answers say about the user's data: outputs that move on other inputs only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.columns import columns_of, thinned
from onnxzip.records.finding import Finding
from onnxzip.runtime.outputs import Outputs

_STILL, _MOVING = 1e-3, 1e-2
"""Variation of an output over samples, relative to its size: below the first it tells samples apart by
nothing that a rounding to 16 bits would leave; above the second it does."""

_MIN_SAMPLES = 8
"""As many as a confidence interval needs (measure/confidence.py): a few may be alike."""


@dataclass(frozen=True)
class Spread:
    """How values vary.

    Attributes:
        low, high, mean: of all values that are finite.
        variation: deviation over samples, as a root mean square over elements, relative to that of all
            values; NaN where samples are too few or differ in shape.
    """

    low: float
    high: float
    mean: float
    variation: float


def spread_of(rows: Iterable[NDArray[np.float64]]) -> Spread:
    """Return how the values of several samples vary, a row each."""
    rows = list(rows)
    values = np.concatenate(rows) if rows else np.empty(0)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Spread(math.nan, math.nan, math.nan, math.nan)
    low, high, mean = float(finite.min()), float(finite.max()), float(finite.mean())
    is_even = len({len(row) for row in rows}) == 1 and len(finite) == len(values)
    return Spread(low, high, mean, _variation(rows) if is_even else math.nan)


def look_at_responses(
    given: FeedSet, given_outputs: Iterable[Outputs], own: FeedSet, own_outputs: Iterable[Outputs]
) -> list[Finding]:
    """Return the outputs that hardly vary on the user's data, but do on other inputs.

    What only varies on neither, or is not of one shape, is no finding: it says nothing about the data.

    Args:
        given: the user's data.
        given_outputs: what the original model answers to them, run by run.
        own: other inputs, which were generated.
        own_outputs: what it answers to those.
    """
    on_given, on_own = _by_output(given, given_outputs), _by_output(own, own_outputs)
    still = [name for name, spread in on_given.items() if spread.variation < _STILL]
    telling = [name for name in still if name in on_own and on_own[name].variation > _MOVING]
    ranges = _ranges(given, own) if telling else ""
    return [
        Finding(
            "response",
            f"output {name!r} varies by {on_given[name].variation:.1g} of its size over your samples, "
            f"by {on_own[name].variation:.1g} over generated ones{ranges}: "
            "are yours scaled as the model expects?",
        )
        for name in telling
    ]


def _by_output(feeds: FeedSet, outputs: Iterable[Outputs]) -> dict[str, Spread]:
    samples: dict[str, list[NDArray[np.float64]]] = {}
    for run, size in zip(outputs, feeds.sizes, strict=True):
        for name, array in run.items():
            if array.dtype.kind == "f":
                # Values are thinned here, so that large outputs are not held.
                rows = array if array.ndim and len(array) == size else array[None]
                samples.setdefault(name, []).extend(thinned(row, feeds.n_samples) for row in rows)
    return {name: spread_of(rows) for name, rows in samples.items()}


def _ranges(given: FeedSet, own: FeedSet) -> str:
    """Return what float inputs were fed, in words: where both have one, the first with elements."""
    found: dict[str, Spread] = {}
    for column in columns_of(own):
        if column.dtype.kind == "f" and column.n_most > 1:
            found[column.name] = spread_of(column.thinned())
    for column in columns_of(given):
        if column.name in found and column.n_most > 1:
            theirs, ours = spread_of(column.thinned()), found[column.name]
            return f" ({column.name!r}: {_shown(theirs)} against {_shown(ours)})"
    return ""


def _shown(spread: Spread) -> str:
    return f"{spread.low:.3g} ... {spread.high:.3g}, mean {spread.mean:.3g}"


def _variation(samples: list[NDArray[np.float64]]) -> float:
    if len(samples) < _MIN_SAMPLES:
        return math.nan
    rows = np.stack(samples)
    peak = np.abs(rows).max()
    if peak == 0:
        return 0.0
    scaled = rows / peak  # squares of tiny numbers would underflow
    return float(math.sqrt(scaled.var(axis=0).mean() / np.square(scaled).mean()))
