"""Whether inputs that were made up have the range of the user's data, which tell how a model is fed.

What a model loses on pictures of 0 ... 255 says nothing about one that is fed 0 ... 1. Ranges are
compared by what they have in common, as a share of both together (Jaccard 1912, "The distribution of the
flora in the alpine zone").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.columns import Column, columns_of
from onnxzip.records.aliases import Feeds

_ENDS = (0.5, 99.5)
"""Percentiles: a few odd values make no range."""

_LEAST_SHARE = 0.1
"""Quiet sounds are a tenth as large as loud ones, and are fed to the same models."""

_OF_BEST = 0.6
"""Of several scalings, the share of the best one's that others need: pictures of 0 ... 1 have half of
their range in common with those of -1 ... 1."""


def agrees(given: FeedSet, own: FeedSet) -> bool:
    """Whether all inputs of floats that were made up have about the range of the user's."""
    ours = {column.name: column for column in columns_of(own)}
    return all(
        _share(column, ours[column.name]) >= _LEAST_SHARE
        for column in columns_of(given)
        if _is_ranged(column) and column.name in ours and _is_ranged(ours[column.name])
    )


def agreeing_scalings(given: FeedSet, name: str, runs: Mapping[str, Sequence[Feeds]]) -> list[str]:
    """Return the scalings under which an input has about the range of the user's, the likest first.

    Args:
        given: the user's data.
        name: of the input.
        runs: inputs of several runs, by the name of the scaling.
    """
    theirs = next((column for column in columns_of(given) if column.name == name), None)
    if theirs is None or not _is_ranged(theirs):
        return list(runs)
    shares = {
        scaling: _share(theirs, Column(name, [run[name] for run in some], has_rows=True))
        for scaling, some in runs.items()
    }
    least = max(_LEAST_SHARE, _OF_BEST * max(shares.values(), default=0.0))
    return sorted((n for n, share in shares.items() if share >= least), key=lambda n: -shares[n])


def _is_ranged(column: Column) -> bool:
    return column.dtype.kind == "f" and column.n_most > 1 and not column.may_repeat


def _share(left: Column, right: Column) -> float:
    """Return what two ranges have in common, as a share of both together; 1 where one has no width."""
    (low, high), (other_low, other_high) = _ends(left), _ends(right)
    both = max(high, other_high) - min(low, other_low)
    if not (high > low and other_high > other_low and np.isfinite(both)):
        return 1.0
    return max(min(high, other_high) - max(low, other_low), 0.0) / both


def _ends(column: Column) -> tuple[float, float]:
    values = column.values
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, _ENDS)
    return float(low), float(high)
