"""Generated inputs that a model really accepts: sizes and readings are tried until a run succeeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.inputs.axes import samples_per_run
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.attempts import Attempts, Helpers, settle_shapes
from onnxzip.inputs.generated.families import (
    MIN_GENERATED,
    Family,
    Shapes,
    families_of,
    n_samples_of,
)
from onnxzip.inputs.generated.readings import Reading, refuse_unsupported
from onnxzip.inputs.generated.states import n_steps_of, with_own_states
from onnxzip.inputs.generated.worth import CLEAR, FINITE, TELLING, worth_of
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session

GENERATED_NOTE = "generated inputs"
_MAX_ANSWERED_BYTES = 1 << 26
"""Answers of a family that are kept until they are recorded; where they are more it runs again."""

_MAX_NUMBERS = 1 << 25
"""Numbers in what all families feed, and in what a model answers: 128 MB of float32."""

_MAX_OPERATIONS = 1 << 38
"""Multiplications for one answer to all samples of all families: 64 of ResNet-50, minutes of a core."""

_FEWEST = 2
"""Samples that are fed however large they are: of one, nobody knows whether an answer varies."""

_MAX_LOOKED_AT = 1 << 23
"""Numbers that are drawn at once only to choose by: 32 MB."""

_MAX_ASKED = 1 << 24
"""Numbers in the runs that scalings are told apart on, 64 MB each: what layers answer is kept."""

_LEAST_SHARE = 0.5
"""Of the runs of a family that must succeed: some numbers may be out of a model's range."""

_N_LOOKED_AT = 8
"""Runs in which a detector should find something once: half of the kinds of sounds that are made."""

_N_ASKED = 16
"""Samples that scalings are told apart on: `tests.bench.scalings` takes as many."""


def runnable_families(
    session: Session, *, seed: int, n_samples: int | None = None, helpers: Helpers | None = None
) -> tuple[FeedSet, ...]:
    """Generate inputs that the model accepts, a family of them for each reading.

    Sizes go through `free_sizes.LADDER` until a run succeeds; those whose outputs are finite and vary
    are preferred, under the likeliest readings first. At these sizes each family is drawn that runs;
    where the outputs tell nothing on any, fallbacks are drawn as well.

    Args:
        session: the original model.
        seed: of the random numbers.
        n_samples: of each family; by default as many as the smallest output needs for a figure that is
            not luck, from 16 to 64 (256 small ones) in all families together, 16 in each; and as many
            as can be fitted to where a family is like real inputs.
        helpers: what the stages above know about the model.

    Raises:
        CalibrationError: no attempt ran, or an input has a type that cannot be generated.
    """
    refuse_unsupported(session.inputs)
    helpers = helpers or Helpers()
    settle_shapes(session, seed=seed, helpers=helpers)
    generator = _Generator(session, seed, helpers)
    tried = generator.best_that_runs()
    found = generator.with_plausible_scalings(generator.attempts.readings_of(tried.shapes), tried.shapes)
    sets = generator.run_all(families_of(found), tried, n_samples)
    if not any(_tells(session, feeds) for feeds in sets):
        sets += generator.run_all(families_of(found, with_fallbacks=True), tried, n_samples)
    return tuple(sets) or (generator.draw(tried.family, tried, MIN_GENERATED),)


@dataclass(frozen=True)
class _Tried:
    """An attempt that ran: what its outputs are worth, its sizes and family, how much it answered.

    Attributes:
        n_values: numbers in the smallest output.
        n_answered: numbers in all of them.
    """

    worth: int
    shapes: Shapes
    family: Family
    n_values: int
    n_answered: int = 0


@dataclass(frozen=True, eq=False)
class _Generator:
    """Draws inputs for one model."""

    session: Session
    seed: int
    helpers: Helpers

    @cached_property
    def attempts(self) -> Attempts:
        """What is tried."""
        return Attempts(self.session, self.seed, self.helpers)

    @property
    def pairs(self) -> dict[str, str]:
        """States that are handed on, by input name."""
        return self.attempts.pairs

    def with_plausible_scalings(
        self, found: Mapping[str, Sequence[Reading]], shapes: Shapes
    ) -> dict[str, Sequence[Reading]]:
        """Leave out the scalings that the layers which meet them first were not made for."""
        choose = self.helpers.choose_scalings
        result: dict[str, Sequence[Reading]] = dict(found)
        if choose is None:
            return result
        n_runs = math.ceil(_N_ASKED / samples_per_run(self.session.inputs, shapes))
        n_in_use = sum(map(math.prod, shapes.values())) + self.helpers.cost_of(shapes).n_in_use
        n_runs = _bounded(n_runs, _MAX_ASKED, n_in_use)
        base = {name: ways[0] for name, ways in found.items()}
        for name, ways in found.items():
            scaled = [reading for reading in ways if reading.is_scaled]
            if len(scaled) < 2:
                continue
            runs = {
                reading.name: Family("", {**base, name: reading}).draw(
                    self.session.inputs, shapes, n_runs, self.seed
                )
                for reading in scaled
            }
            first = runs[scaled[0].name][0]
            order = list(choose(name, runs, {**first, name: np.zeros_like(first[name])}))
            kept = sorted((r for r in scaled if r.name in order), key=lambda r: order.index(r.name))
            result[name] = (*kept, *(reading for reading in ways if not reading.is_scaled))
        return result

    def run_all(self, families: Sequence[Family], tried: _Tried, n_samples: int | None) -> list[FeedSet]:
        """Return the families of which enough runs succeed."""
        sets = []
        per_run = samples_per_run(self.session.inputs, tried.shapes)
        n_elements = sum(map(math.prod, tried.shapes.values())) // per_run
        for family in families:
            n_alike = sum(f.is_like_real for f in families) if family.is_like_real else len(families)
            n_wanted = n_samples_of(family, n_elements, tried.n_values // per_run, n_alike)
            n_wanted = self._bounded_samples(n_samples or n_wanted, tried, len(families))
            sets.append(self._run(family, tried, n_wanted))
        return [feeds for feeds in sets if feeds is not None]

    def _run(self, family: Family, tried: _Tried, n_samples: int) -> FeedSet | None:
        """Return the runs of a family that succeed, with the model's own states; None for few."""
        drawn = self.draw(family, tried, n_samples)
        running, answered = self._try_all(drawn)
        if len(running) < _LEAST_SHARE * len(drawn):
            return None
        if self.pairs:
            answered = ()
            try:
                running = with_own_states(running, self.pairs, self.session.run)
            except (CalibrationError, ModelError):
                return None
        sizes = drawn.sizes[: len(running)]
        found = replace(drawn, feeds=tuple(running), sizes=sizes, carried=self.pairs)
        if self.pairs:
            are_all = {output.name for output in self.session.outputs} <= set(self.pairs.values())
            found = replace(found, n_steps=n_steps_of(len(running)), judges_states=are_all)
        is_like_real = drawn.is_like_real and found.can_hold_out
        return replace(found, is_like_real=is_like_real, answered=answered)

    def _try_all(self, drawn: FeedSet) -> tuple[list[Feeds], tuple[Outputs, ...]]:
        """Return the runs that succeed, and what the model answers; () where that is much."""
        running: list[Feeds] = []
        answered: list[Outputs] = []
        n_bytes = 0
        for feeds in drawn:
            outputs = self._outputs_of(feeds)
            if outputs is None:
                continue
            running.append(feeds)
            n_bytes += sum(array.nbytes for array in outputs.values())
            if n_bytes <= _MAX_ANSWERED_BYTES:
                answered.append(outputs)
        return running, tuple(answered) if len(answered) == len(running) else ()

    def draw(self, family: Family, tried: _Tried, n_samples: int) -> FeedSet:
        """Return inputs of a family, whether they run or not."""
        per_run = samples_per_run(self.session.inputs, tried.shapes)
        n_runs = math.ceil(n_samples / per_run)
        feeds = family.draw(self.session.inputs, tried.shapes, n_runs, self.seed)
        note = f"{GENERATED_NOTE}: {family.name}" if family.name else GENERATED_NOTE
        sizes = (per_run,) * n_runs
        return FeedSet(tuple(feeds), sizes, self.seed, note, family.name, family.is_like_real)

    def _bounded_samples(self, n_samples: int, tried: _Tried, n_families: int) -> int:
        """Return as many samples of each family as fit the bounds of memory and time."""
        per_run = samples_per_run(self.session.inputs, tried.shapes)
        n_numbers = sum(map(math.prod, tried.shapes.values())) + tried.n_answered
        n_operations = self.helpers.cost_of(tried.shapes).n_operations
        n_samples = _bounded(n_samples, _MAX_NUMBERS // n_families * per_run, n_numbers)
        return _bounded(n_samples, _MAX_OPERATIONS // n_families * per_run, n_operations)

    def best_that_runs(self) -> _Tried:
        """Return the best sizes, and a family that runs at them."""
        best: _Tried | None = None
        for attempt in self.attempts:
            if best is not None and best.worth >= TELLING and not attempt.is_likely:
                break
            outputs = self.attempts.run(attempt)
            if outputs is None:
                continue
            n_values = min((array.size for array in outputs.values()), default=0)
            worth = worth_of(outputs)
            if worth in (FINITE, TELLING):  # of one number a run, several runs tell
                worth = max(worth, self._worth_of_more(attempt.family, attempt.shapes))
            if best is None or worth > best.worth:
                n_answered = sum(array.size for array in outputs.values())
                best = _Tried(worth, attempt.shapes, attempt.family, n_values, n_answered)
            if worth == CLEAR:
                break
        if best is None:
            raise self.attempts.failure()
        return best

    def _worth_of_more(self, family: Family, shapes: Shapes) -> int:
        """Return what outputs are worth at their best: a detector need not find something each time."""
        n_runs = _bounded(_N_LOOKED_AT, _MAX_LOOKED_AT, sum(map(math.prod, shapes.values())))
        drawn = family.draw(self.session.inputs, shapes, n_runs, self.seed)
        found = [outputs for feeds in drawn if (outputs := self._outputs_of(feeds)) is not None]
        return max([worth_of(*found), *map(worth_of, found)], default=0)

    def _outputs_of(self, feeds: Feeds) -> Outputs | None:
        try:
            return self.session.run(feeds)
        except (CalibrationError, ModelError):
            return None


def _bounded(n_wanted: int, most: int, n_each: int) -> int:
    """Return how many of a size fit together below a bound: as many as wanted, and two at least."""
    return min(n_wanted, max(most // max(n_each, 1), _FEWEST))


def _tells(session: Session, feeds: FeedSet) -> bool:
    """Whether an output of any run is worth something, or of one run beside the first."""
    first: Outputs | None = None
    for outputs in feeds.answered or map(session.run, feeds):
        first = outputs if first is None else first
        if max(worth_of(outputs), worth_of(first, outputs)) >= TELLING:
            return True
    return False
