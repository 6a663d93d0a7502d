"""Generated inputs that a model really accepts: sizes and readings are tried until a run succeeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.inputs.axes import has_free_sizes, samples_per_run
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.families import Family, families_of
from onnxzip.inputs.generated.free_sizes import LADDER, resolve_shapes
from onnxzip.inputs.generated.readings import refuse_unsupported
from onnxzip.inputs.generated.states import pair_states, with_own_states
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.input_spec import InputSpec
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session

GENERATED_NOTE = "generated inputs"
_MAX_GENERATED_ELEMENTS = 2**26
"""256 MB of float32 in one run: larger sizes are not guessed."""

_MIN_GENERATED, _MAX_GENERATED = 16, 64
"""Samples: from twice what an interval is stated from (measure/confidence.py) to a bound on time."""

_LEAST_SHARE = 0.5
"""Of the runs of a family that must succeed: some numbers may be out of a model's range."""

_NOT_FINITE, _FINITE, _TELLING = range(3)
"""What outputs are worth, rising: they vary, are finite at least, or not even that."""

_TELLING_RANGE = 1e-4
"""Between the 1e-8 of a detector that finds nothing and probabilities of a thousand classes, 1e-3."""

_N_OUTPUT_VALUES = 4096
"""The root mean square of n values is known to 1 / sqrt(2 n) of it, if they are independent: to 1 %."""

Shapes = Mapping[str, tuple[int, ...]]


def runnable_families(
    session: Session,
    *,
    seed: int,
    n_samples: int | None = None,
    bounds: Mapping[str, int] | None = None,
    survives: Callable[[Feeds], bool] | None = None,
) -> tuple[FeedSet, ...]:
    """Generate inputs that the model accepts, a family of them for each reading.

    Sizes go through `free_sizes.LADDER` until a run succeeds; those whose outputs are finite and vary
    are preferred, under the likeliest reading first. At these sizes each family is drawn that runs.

    Args:
        session: the original model.
        seed: of the random numbers.
        n_samples: least number of samples of a family; by default as many as the smallest output needs
            for a figure that is not luck, from 16 to 64 in all families together, 16 in each.
        bounds: by input name, the exclusive upper bound of integers that index a table.
        survives: asked before sizes that are guessed are tried: whether a run outlives these feeds.

    Raises:
        CalibrationError: no attempt ran, or an input has a type that cannot be generated.
    """
    refuse_unsupported(session.inputs)
    is_guessed = any(has_free_sizes(spec) for spec in session.inputs)
    tried = _best_that_runs(session, seed, bounds or {}, survives if is_guessed else None)
    shapes = tried.shapes
    families = families_of(session.inputs, shapes, bounds or {})
    per_run = samples_per_run(session.inputs, shapes)
    if n_samples is None:
        n_wanted = math.ceil(_N_OUTPUT_VALUES / max(tried.n_values // per_run, 1))
        n_samples = min(max(n_wanted, _MIN_GENERATED), _MAX_GENERATED)
        n_samples = max(n_samples // len(families), _MIN_GENERATED)
    n_runs = math.ceil(n_samples / per_run)
    found = [_run_family(session, family, shapes, n_runs, per_run, seed) for family in families]
    sets = tuple(feeds for feeds in found if feeds is not None)
    if not sets:
        family = families[tried.index]
        return (_feed_set(family, family.draw(session.inputs, shapes, n_runs, seed), per_run, seed),)
    return sets


def _run_family(
    session: Session, family: Family, shapes: Shapes, n_runs: int, per_run: int, seed: int
) -> FeedSet | None:
    """Return the runs of a family that succeed, with the model's own states; None for few."""
    pairs = pair_states(session.inputs, session.outputs)
    drawn = family.draw(session.inputs, shapes, n_runs, seed)
    running = [feeds for feeds in drawn if _outputs_of(session, feeds) is not None]
    if len(running) < _LEAST_SHARE * n_runs:
        return None
    if pairs:
        try:
            running = with_own_states(running, pairs, session.run)
        except (CalibrationError, ModelError):
            return None
    return _feed_set(family, running, per_run, seed)


def _feed_set(family: Family, feeds: Sequence[Feeds], per_run: int, seed: int) -> FeedSet:
    note = f"{GENERATED_NOTE}: {family.name}" if family.name else GENERATED_NOTE
    return FeedSet(tuple(feeds), (per_run,) * len(feeds), seed, note, family.name, family.is_like_real)


def _outputs_of(session: Session, feeds: Feeds) -> Outputs | None:
    try:
        return session.run(feeds)
    except (CalibrationError, ModelError):
        return None


@dataclass(frozen=True)
class _Tried:
    """An attempt that ran: the quality of its outputs, its sizes and family, its smallest output."""

    quality: int
    shapes: Shapes
    index: int
    n_values: int


def _best_that_runs(
    session: Session,
    seed: int,
    bounds: Mapping[str, int],
    survives: Callable[[Feeds], bool] | None,
) -> _Tried:
    """Return the best sizes."""
    finding = ""
    best: _Tried | None = None
    for index, family, shapes in _attempts(session.inputs, bounds):
        (feeds,) = family.draw(session.inputs, shapes, 1, seed)
        if survives is not None and not survives(feeds):
            sizes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
            finding = finding or f"{session.label}: onnxruntime crashes on inputs of the sizes {sizes}"
            continue
        try:
            outputs = session.run(feeds)
        except (CalibrationError, ModelError) as error:
            finding = finding or str(error)
            continue
        n_values = min((array.size for array in outputs.values()), default=0)
        quality = _quality(outputs)
        if best is None or quality > best.quality:
            best = _Tried(quality, shapes, index, n_values)
        if quality == _TELLING:
            break
    if best is None:
        raise CalibrationError(
            f"{finding}; none of the generated inputs runs, pass real ones with `calibration`"
        )
    return best


def _quality(outputs: Outputs) -> int:
    """Say whether outputs vary, are finite at least, or not even that."""
    floats = [y for y in outputs.values() if y.dtype.kind == "f" and y.size]
    if not all(np.isfinite(y).all() for y in floats):
        return _NOT_FINITE
    ranges = [float(y.max()) - float(y.min()) for y in floats]
    return _TELLING if not floats or max(ranges) > _TELLING_RANGE else _FINITE


def _attempts(
    inputs: Sequence[InputSpec], bounds: Mapping[str, int]
) -> Iterator[tuple[int, Family, Shapes]]:
    """Yield what is worth a run: all sizes under the likeliest reading, then under the others."""
    distinct: dict[tuple[tuple[int, ...], ...], Shapes] = {}
    for free_sizes in LADDER:
        sizes = resolve_shapes(inputs, free_sizes)
        if sum(map(math.prod, sizes.values())) <= _MAX_GENERATED_ELEMENTS:
            distinct.setdefault(tuple(sizes.values()), sizes)
    for first in (True, False):
        for shapes in distinct.values():
            families = families_of(inputs, shapes, bounds)
            for index, family in enumerate(families):
                if (index == 0) == first:
                    yield index, family, shapes
