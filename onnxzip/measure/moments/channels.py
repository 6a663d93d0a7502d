"""Measures what numbers each channel of a value has: its range in one half of what is run, and another.

What is fitted to the range of a channel (quantising/equalising.py) is held to numbers that the fit did
not see: of a thousand channels some have their largest numbers in the very samples at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxzip.graph import Model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.value_groups import each_value

_N_DRAWN = 1 << 19
"""Numbers of a value that are kept, 2 MiB: 1365 vectors of 384, 128 of 4096."""

_MAX_ROWS = 512
"""Vectors of a value that are kept; a guess: errors of roundings are known to some percent from them."""


@dataclass(frozen=True, eq=False)
class Channels:
    """The numbers of a float32 value along its last axis.

    Attributes:
        lows: (n,) float32, the smallest of each channel, or 0, in half of what was run.
        highs: (n,) likewise the largest, or 0.
        held_lows: (n,) the smallest in the other half.
        held_highs: (n,) likewise the largest.
        held: (n_rows, n) float32, vectors of the other half at random places.
    """

    lows: NDArray[np.float32]
    highs: NDArray[np.float32]
    held_lows: NDArray[np.float32]
    held_highs: NDArray[np.float32]
    held: NDArray[np.float32]

    @property
    def peaks(self) -> NDArray[np.float32]:
        """(n,) the largest magnitudes in the first half."""
        return np.asarray(np.maximum(-self.lows, self.highs), np.float32)

    @property
    def all_peaks(self) -> NDArray[np.float32]:
        """(n,) the largest magnitudes in all that was run."""
        return np.asarray(
            np.maximum(self.peaks, np.maximum(-self.held_lows, self.held_highs)), np.float32
        )


@dataclass
class _Half:
    """What was seen in one half so far: of each channel the range, and some vectors."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    drawn: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def of(cls, width: int) -> _Half:
        return cls(np.zeros(width, np.float32), np.zeros(width, np.float32))

    def add(self, rows: NDArray[np.float32], n_wanted: int, rng: np.random.Generator) -> None:
        if len(rows):
            self.low = np.minimum(self.low, rows.min(axis=0))
            self.high = np.maximum(self.high, rows.max(axis=0))
            is_enough = len(rows) > n_wanted
            self.drawn.append(rows[rng.integers(len(rows), size=n_wanted)] if is_enough else rows.copy())


def measure_channels(
    model: Model,
    values: Sequence[str],
    feeds: FeedSet,
    custom_ops: Path | None,
    show: Callable[[float], None],
) -> Mapping[str, Channels]:
    """Run the model and return the channels of those of the values that are float32 and finite.

    Runs are in the one half and the other by turns; of a single run its vectors are. A value whose last
    axis has another length from run to run has no channels, nor has one without two vectors.

    Args:
        model: a model.
        values: names of values of its main graph, inputs included.
        feeds: what to run on.
        custom_ops: shared library of custom operators.
        show: called with the fraction done.

    Raises:
        ModelError: the model does not run with these values as outputs.
    """
    halves: dict[str, tuple[_Half, _Half]] = {}
    refused: set[str] = set()
    places = {value: place for place, value in enumerate(values)}
    for i_run, value, array in each_value(model, values, feeds, custom_ops, show):
        is_fit = array.dtype == np.float32 and array.ndim >= 2 and array.size > 0
        if not is_fit or not np.isfinite(array).all():
            refused.add(value)
            continue
        width = array.shape[-1]
        pair = halves.setdefault(value, (_Half.of(width), _Half.of(width)))
        if len(pair[0].low) != width:
            refused.add(value)
            continue
        n_wanted = max(min(_N_DRAWN // width, _MAX_ROWS) * 2 // max(len(feeds), 2), 1)
        rng = np.random.default_rng((i_run, places[value]))
        for half, rows in _halved(pair, array.reshape(-1, width), i_run, len(feeds)):
            half.add(rows, n_wanted, rng)
    return {
        value: Channels(first.low, first.high, held.low, held.high, np.concatenate(held.drawn))
        for value, (first, held) in halves.items()
        if value not in refused and first.drawn and held.drawn
    }


def _halved(
    pair: tuple[_Half, _Half], rows: NDArray[np.float32], i_run: int, n_runs: int
) -> Iterator[tuple[_Half, NDArray[np.float32]]]:
    """Yield the vectors of a run, with the half to which each belongs."""
    if n_runs > 1:
        yield pair[i_run % 2], rows
    else:
        yield pair[0], rows[::2]
        yield pair[1], rows[1::2]
