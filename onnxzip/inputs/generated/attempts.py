"""Tries sizes and readings of a model's inputs, the likeliest first, until a run succeeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, product
from typing import TypeAlias

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.inputs.axes import has_free_sizes
from onnxzip.inputs.generated.families import Family, Shapes, families_of
from onnxzip.inputs.generated.free_sizes import (
    LADDER,
    SHORT_LADDER,
    SOUND_LADDER,
    FreeSizes,
    free_kinds,
    resolve_run,
    resolve_shapes,
    with_sizes,
)
from onnxzip.inputs.generated.readings import (
    Context,
    Hints,
    Reading,
    is_free_sound,
    is_named_sound,
    readings,
    refuse_unsupported,
    sequence_length,
)
from onnxzip.inputs.generated.states import pair_states
from onnxzip.records.aliases import Feeds
from onnxzip.records.costs.run_cost import RunCost
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session

_MAX_GENERATED_ELEMENTS = 2**26
"""256 MB of float32 in one run: larger sizes are not guessed."""

_MAX_IN_USE = 2**26
"""Numbers that a run may have in use at once, 256 MB of float32, while there are sizes with fewer."""

ChooseScalings: TypeAlias = Callable[[str, Mapping[str, Sequence[Feeds]], Feeds], Sequence[str]]
"""Takes an input's name, runs by the name of the reading, and a run with zeros in the input's place;
returns the readings that fit, likeliest first."""


@dataclass(frozen=True, eq=False)
class Helpers:
    """What generating needs of the stages above: how a model is seen from elsewhere.

    Attributes:
        hints: what the graph says about its inputs.
        survives: whether a run outlives these feeds; asked before sizes that are guessed are tried.
        cost_of: what a run at these sizes takes.
        choose_scalings: tells scalings apart by how the first layers answer; None takes all of them.
        guesses: shapes that inputs without a rank may have, the likeliest first.
        sizes: what weights say about free axes of inputs, by input and axis.
        fit_of: how well the shapes of all values go together at these sizes.
        n_searched: sizes that are worth asking it for; 0 for none.
    """

    hints: Hints = field(default_factory=Hints)
    survives: Callable[[Feeds], bool] | None = None
    choose_scalings: ChooseScalings | None = None
    cost_of: Callable[[Shapes], RunCost] = field(default=lambda shapes: RunCost())
    guesses: Mapping[str, Sequence[tuple[int | None, ...]]] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    fit_of: Callable[[Shapes], int] = field(default=lambda shapes: 0)
    n_searched: int = 0


def run_on_any(session: Session, *, seed: int, helpers: Helpers) -> None:
    """Run a model once, on the first inputs that it accepts.

    Raises:
        CalibrationError: it accepts none, or an input has a type that cannot be generated.
    """
    refuse_unsupported(session.inputs)
    settle_shapes(session, seed=seed, helpers=helpers)
    attempts = Attempts(session, seed, helpers)
    if all(attempts.run(attempt) is None for attempt in attempts):
        raise attempts.failure()


_MAX_GUESSES, _N_TRIED = 32, 3
"""Guesses at the shapes of inputs that have none, and sizes that each is tried at: a run with sizes that
are guessed begins a process, half a second."""


_N_SPARE = 16
"""Sizes above the least that goes through, where all of them do: a window that just fits makes one
answer."""


def settle_shapes(session: Session, *, seed: int, helpers: Helpers) -> None:
    """Give the session's inputs what the graph tells about their shapes, where runs succeed with it.

    Raises:
        CalibrationError: an input has no rank, and no run succeeds with any that is likely.
    """
    plain = session.inputs
    session.inputs = with_sizes(plain, helpers.sizes)
    if session.inputs != plain and not _runs(session, seed, helpers):
        session.inputs = plain
    _settle_ranks(session, seed=seed, helpers=helpers)


def _runs(session: Session, seed: int, helpers: Helpers) -> bool:
    """Whether the model runs at one of the first sizes."""
    attempts = Attempts(session, seed, helpers)
    return any(attempts.run(attempt) is not None for attempt in islice(attempts, _N_TRIED))


def _settle_ranks(session: Session, *, seed: int, helpers: Helpers) -> None:
    """Give inputs without a rank the likeliest shapes with which a run succeeds."""
    plain = session.inputs
    names = [spec.name for spec in plain if not spec.shape and spec.name in helpers.guesses]
    if not names:
        return
    for guess in islice(product(*(helpers.guesses[name] for name in names)), _MAX_GUESSES):
        shapes = dict(zip(names, guess, strict=True))
        session.inputs = tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in plain)
        if _runs(session, seed, helpers):
            return
    session.inputs = plain
    raise CalibrationError(
        f"{session.label}: input {names[0]!r} has no shape, not even a rank, and none that was guessed "
        "runs; pass real inputs with `calibration`"
    )


@dataclass(frozen=True, eq=False)
class Attempt:
    """Sizes and a family of inputs, and whether it is of the likeliest reading."""

    family: Family
    shapes: Shapes
    is_likely: bool


class Attempts:
    """What is worth a run: all sizes under the likeliest reading, then under the others.

    Args:
        session: the original model.
        seed: of the random numbers.
        helpers: what the stages above know about the model.
    """

    def __init__(self, session: Session, seed: int, helpers: Helpers) -> None:
        """Try nothing yet; see the class."""
        self._session, self._seed, self._helpers = session, seed, helpers
        self._finding = ""
        self._has_run = False
        is_guessed = bool(helpers.sizes) or any(has_free_sizes(spec) for spec in session.inputs)
        self._survives = helpers.survives if is_guessed else None

    def __iter__(self) -> Iterator[Attempt]:
        distinct: list[Shapes] = []
        for shapes in self._sizes():
            distinct.append(shapes)
            yield Attempt(families_of(self.readings_of(shapes))[0], shapes, True)
        for shapes in () if self._has_run else self._searched_sizes():
            distinct.append(shapes)
            yield Attempt(families_of(self.readings_of(shapes))[0], shapes, True)
        for shapes in distinct:
            found = self.readings_of(shapes)
            for family in (*families_of(found)[1:], *families_of(found, with_fallbacks=True)):
                yield Attempt(family, shapes, False)

    def run(self, attempt: Attempt) -> Outputs | None:
        """Return what the model answers, None where it does not; the first reason is remembered."""
        (feeds,) = attempt.family.draw(self._session.inputs, attempt.shapes, 1, self._seed)
        if self._survives is not None and not self._survives(feeds):
            sizes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
            crash = f"{self._session.label}: onnxruntime crashes on inputs of the sizes {sizes}"
            self._finding = self._finding or crash
            return None
        try:
            outputs = self._session.run(feeds)
        except (CalibrationError, ModelError) as error:
            self._finding = self._finding or error.finding
            return None
        self._has_run = True
        return outputs

    def failure(self) -> CalibrationError:
        """Return the error for a model that no attempt runs."""
        return CalibrationError(
            f"{self._finding}; none of the generated inputs runs, pass real ones with `calibration`"
        )

    @cached_property
    def pairs(self) -> dict[str, str]:
        """States that are handed on, by input name."""
        return pair_states(self._session.inputs, self._session.outputs)

    def readings_of(self, shapes: Shapes) -> dict[str, tuple[Reading, ...]]:
        """Return what each input may be."""
        inputs = self._session.inputs
        length = sequence_length(inputs, shapes)
        is_sound = any(is_named_sound(spec, shapes[spec.name]) for spec in inputs)
        context = Context(self._helpers.hints, length, is_sound, is_stream=bool(self.pairs))
        return {spec.name: readings(spec, shapes[spec.name], context) for spec in inputs}

    def _sizes(self) -> Iterator[Shapes]:
        """Yield the sizes that fit, those at which a run takes much memory last."""
        is_sound = any(map(is_free_sound, self._session.inputs))
        fitting = self._fitting(SOUND_LADDER if is_sound else LADDER) or self._fitting(SHORT_LADDER)
        postponed: list[tuple[int, Shapes]] = []
        for shapes in fitting:
            n_in_use = 0 if len(fitting) == 1 else self._helpers.cost_of(shapes).n_in_use
            if n_in_use <= _MAX_IN_USE:
                yield shapes
            else:
                postponed.append((n_in_use, shapes))
        yield from (shapes for _, shapes in sorted(postponed, key=lambda pair: pair[0]))

    def _searched_sizes(self) -> Iterator[Shapes]:
        """Yield other sizes, at which the shapes of all values go together where usual ones do not."""
        inputs, n_sizes = self._session.inputs, self._helpers.n_searched
        best, most = FreeSizes(batch=1), self._fit_of(FreeSizes(batch=1))
        kinds = free_kinds(inputs) if n_sizes else []
        for kind in (*kinds, *kinds):  # again with what others are by then
            ladder = [replace(best, **{kind: size}) for size in range(1, n_sizes + 1)]
            fits = [self._fit_of(sizes) for sizes in ladder]
            if max(fits) <= most:
                continue
            most = max(fits)
            first = fits.index(most)
            wider = min(first + _N_SPARE, n_sizes - 1)
            best = ladder[wider if set(fits[first : wider + 1]) == {most} else first]
            yield from self._fitting(list(dict.fromkeys([best, ladder[first]])))

    def _fit_of(self, free_sizes: FreeSizes) -> int:
        return self._helpers.fit_of(resolve_shapes(self._session.inputs, free_sizes))

    def _fitting(self, ladder: Sequence[FreeSizes]) -> list[Shapes]:
        """Return the distinct sizes of a ladder that are not too large to be made up."""
        distinct: dict[tuple[tuple[int, ...], ...], Shapes] = {}
        for free_sizes in ladder:
            sizes = resolve_run(self._session.inputs, self._session.outputs, free_sizes)
            counts = {name: math.prod(shape) for name, shape in sizes.items()}
            if sum(counts.values()) <= _MAX_GENERATED_ELEMENTS:
                distinct.setdefault(tuple(sizes.values()), sizes)
            else:
                largest = max(counts, key=lambda name: counts[name])
                self._finding = (
                    f"{self._session.label}: input {largest!r} would have {counts[largest]:,} numbers, "
                    f"in shape {list(sizes[largest])}; at most {_MAX_GENERATED_ELEMENTS:,} are made up"
                )
        if distinct:
            self._finding = ""
        return list(distinct.values())
