"""Inputs for several runs of a model: the record that carries them from here to every check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.outputs import Outputs

FITTED_NOTE = "the very samples that were fitted to; pass 64 or more and some are held out"
MIN_TO_HOLD_OUT = 64
"""Samples: a quarter is twice the 8 from which on an interval is stated (measure/confidence.py)."""

_HELD_OUT_EVERY = MIN_RUNS_TO_HOLD_OUT = 4
"""Runs: three quarters are left to fit to and to search on."""

_SEARCHED_EVERY = 8
"""Runs, of the user's that are not held out: with 4, digits_cnn is 5 % larger at equal true loss."""

_MIN_RUNS_TO_SEARCH = 4
"""The fewest of which one is taken."""


@dataclass(frozen=True, eq=False)
class FeedSet:
    """Inputs for several runs of a model; iterates over the feeds.

    Attributes:
        feeds: one mapping of input name to array per run.
        sizes: samples in each run.
        seed: seed of generated inputs; None for the user's own data.
        note: what a reader of a figure measured on them must know.
        family: what kind of inputs they are, where several kinds are generated.
        is_like_real: whether what goes together in them goes together in real inputs too: the user's
            data, photographs. Of noise only the likeness of neighbours tells something.
        carried: by input, the output that it is in the next run, where a model hands states on: its own
            errors come back to it then.
        n_steps: runs from one start of states to the next.
        judges_states: whether states count as outputs, because the model has no others.
        unasked: outputs that are not looked at, as they are random.
        answered: what the original answered to each run when it was tried; () where that is not known.
    """

    feeds: tuple[Feeds, ...]
    sizes: tuple[int, ...]
    seed: int | None = None
    note: str = ""
    family: str = ""
    is_like_real: bool = False
    carried: Mapping[str, str] = field(default_factory=dict)
    n_steps: int = 1
    judges_states: bool = False
    unasked: frozenset[str] = frozenset()
    answered: tuple[Outputs, ...] = ()

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
        feeds, sizes = self.feeds[:n_runs], self.sizes[:n_runs]
        return replace(self, feeds=feeds, sizes=sizes, answered=self.answered[:n_runs])

    def followed_by(self, other: FeedSet) -> FeedSet:
        """Return these runs and others of the same kind; none is known to hand its states on."""
        return replace(
            self,
            feeds=(*self.feeds, *other.feeds),
            sizes=(*self.sizes, *other.sizes),
            carried={},
            n_steps=1,
            answered=(),
        )

    @property
    def states(self) -> frozenset[str]:
        """The outputs that are only handed on: they count by what becomes of them in the others."""
        return frozenset() if self.judges_states else frozenset(self.carried.values())

    @property
    def can_hold_out(self) -> bool:
        """Whether there is enough to set some of it aside."""
        n_sequences = -(-len(self) // self.n_steps)
        return self.n_samples >= MIN_TO_HOLD_OUT and n_sequences >= MIN_RUNS_TO_HOLD_OUT

    def answers(self, run: Callable[[Feeds], dict[str, Array]]) -> Iterator[dict[str, Array]]:
        """Yield what a model answers to each of the feeds, its own states handed on.

        Args:
            run: runs the model.
        """
        return map(self.asked, (made for _, made in steps(self.feeds, self.carried, self.n_steps, run)))

    def asked(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of a run that are looked at."""
        return {name: array for name, array in outputs.items() if name not in self.unasked}

    def hold_out(self) -> tuple[FeedSet, FeedSet, NDArray[np.bool_]] | None:
        """Set every fourth run aside, so that a loss can be measured on what nothing was fitted to.

        Runs that hand on states stay together.

        Returns:
            The runs to fit to, the others, and for each sample whether it is among the latter.
            None for fewer than 64 samples or 4 runs.
        """
        if not self.can_hold_out:
            return None
        fitted, held, is_held = self._divided(_HELD_OUT_EVERY)
        note = f"held out: {held.n_samples:,} of {self.n_samples:,} samples, the others were fitted to"
        note = f"{self.note}, {note}" if self.note else note
        return fitted, replace(held, note=note), is_held

    def set_aside(self) -> tuple[FeedSet, FeedSet, NDArray[np.bool_]] | None:
        """Set some runs aside, of what is not held out, for a search to try its plans on.

        Runs that hand on states stay together.

        Returns:
            The runs to fit to, the others, and for each sample whether it is among the latter.
            None where there are too few.
        """
        n_sequences = -(-len(self) // self.n_steps)
        if n_sequences < _MIN_RUNS_TO_SEARCH:
            return None
        return self._divided(min(_SEARCHED_EVERY, n_sequences))

    def _divided(self, every: int) -> tuple[FeedSet, FeedSet, NDArray[np.bool_]]:
        """Return all but every so-manieth run, the others, and which samples are among these."""
        is_other = self._is_each(every)
        rest, other = (self._select(np.flatnonzero(part)) for part in (~is_other, is_other))
        return rest, other, np.repeat(is_other, self.sizes)

    def _is_each(self, every: int) -> NDArray[np.bool_]:
        """Return whether each run is one of every so many; runs that hand on states stay together."""
        return np.asarray(np.arange(len(self)) // self.n_steps % every == every - 1)

    def _select(self, runs: NDArray[np.int64]) -> FeedSet:
        feeds, sizes = (tuple(values[i] for i in runs) for values in (self.feeds, self.sizes))
        answered = tuple(self.answered[i] for i in runs) if self.answered else ()
        return replace(self, feeds=feeds, sizes=sizes, answered=answered)


def steps(
    feeds: Sequence[Feeds],
    carried: Mapping[str, str],
    n_steps: int,
    run: Callable[[Feeds], dict[str, Array]],
) -> Iterator[tuple[Feeds, dict[str, Array]]]:
    """Yield what a model is fed and what it answers, where it hands states on from run to run.

    Every few runs begin anew, with the states that are among the feeds. A state that is not finite, or
    of another shape than the feed's, is not handed on.

    Args:
        feeds: inputs of all runs, in order.
        carried: outputs that become states, by input name.
        n_steps: runs from one start to the next.
        run: runs the model.
    """
    states: dict[str, Array] = {}
    for step, feed in enumerate(feeds):
        if step % n_steps == 0:
            states = {}
        fed = {**feed, **states}
        outputs = run(fed)
        yield fed, outputs
        for name, output in carried.items():
            made = outputs[output]
            if made.shape == feed[name].shape and (made.dtype.kind != "f" or np.isfinite(made).all()):
                states[name] = made


def interleaved(sets: Sequence[FeedSet]) -> FeedSet:
    """Return the runs of several sets, one of each in turn; none hands its states on."""
    if len(sets) == 1:
        return replace(sets[0], carried={}, n_steps=1, answered=())
    order = sorted((i, k) for k, feeds in enumerate(sets) for i in range(len(feeds)))
    return replace(
        sets[0],
        feeds=tuple(sets[k].feeds[i] for i, k in order),
        sizes=tuple(sets[k].sizes[i] for i, k in order),
        family="",
        is_like_real=all(feeds.is_like_real for feeds in sets),
        carried={},
        n_steps=1,
        answered=(),
    )
