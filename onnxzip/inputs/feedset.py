"""Inputs for several runs of a model: the record that carries them from here to every check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Feeds

FITTED_NOTE = "the very samples that were fitted to; pass 64 or more and some are held out"
MIN_TO_HOLD_OUT = 64
"""Samples: a quarter is twice the 8 from which on an interval is stated (measure/confidence.py)."""

_HELD_OUT_EVERY = MIN_RUNS_TO_HOLD_OUT = 4
"""Runs: three quarters are left to fit to."""


@dataclass(frozen=True, eq=False)
class FeedSet:
    """Inputs for several runs of a model; iterates over the feeds.

    Attributes:
        feeds: one mapping of input name to array per run.
        sizes: samples in each run.
        seed: seed of generated inputs; None for the user's own data.
        note: what a reader of a figure measured on them must know.
    """

    feeds: tuple[Feeds, ...]
    sizes: tuple[int, ...]
    seed: int | None = None
    note: str = ""

    @property
    def n_samples(self) -> int:
        """Samples in all runs together."""
        return sum(self.sizes)

    def __iter__(self) -> Iterator[Feeds]:
        return iter(self.feeds)

    def __len__(self) -> int:
        return len(self.feeds)

    def head(self, n_runs: int) -> FeedSet:
        """Return the first runs."""
        return replace(self, feeds=self.feeds[:n_runs], sizes=self.sizes[:n_runs])

    def hold_out(self) -> tuple[FeedSet, FeedSet, NDArray[np.bool_]] | None:
        """Set every fourth run aside, so that a loss can be measured on what nothing was fitted to.

        Returns:
            The runs to fit to, the others, and for each sample whether it is among the latter.
            None for fewer than 64 samples or 4 runs.
        """
        if self.n_samples < MIN_TO_HOLD_OUT or len(self) < MIN_RUNS_TO_HOLD_OUT:
            return None
        is_held = np.arange(len(self)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
        fitted, held = (self._select(np.flatnonzero(part)) for part in (~is_held, is_held))
        note = f"held out: {held.n_samples:,} of {self.n_samples:,} samples, the others were fitted to"
        return fitted, replace(held, note=note), np.repeat(is_held, self.sizes)

    def _select(self, runs: NDArray[np.int64]) -> FeedSet:
        feeds, sizes = (tuple(values[i] for i in runs) for values in (self.feeds, self.sizes))
        return replace(self, feeds=feeds, sizes=sizes)
