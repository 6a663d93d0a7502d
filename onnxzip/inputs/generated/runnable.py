"""Generated inputs that a model really accepts: sizes and ranges are tried until a run succeeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.inputs.axes import has_free_sizes, samples_per_run
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.free_sizes import LADDER, FreeSizes, resolve_shapes
from onnxzip.inputs.generated.values import generate_feeds, refuse_unsupported
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.input_spec import InputSpec
from onnxzip.runtime.outputs import Outputs
from onnxzip.runtime.session import Session

GENERATED_NOTE = "generated inputs"
_SATURATED_NOTE = "on which no output varies by more than 1e-4"
_MAX_GENERATED_ELEMENTS = 2**26
"""256 MB of float32 in one run: larger sizes are not guessed."""

_MIN_GENERATED, _MAX_GENERATED = 16, 64
"""Samples: from twice what an interval is stated from (measure/confidence.py) to a bound on time."""

_NOT_FINITE, _FINITE, _TELLING = range(3)
"""What outputs are worth, rising: they vary, are finite at least, or not even that."""

_TELLING_RANGE = 1e-4
"""Between the 1e-8 of a detector that finds nothing and probabilities of a thousand classes, 1e-3."""

_N_OUTPUT_VALUES = 4096
"""The root mean square of n values is known to 1 / sqrt(2 n) of it, if they are independent: to 1 %."""


def runnable_feeds(
    session: Session,
    *,
    seed: int,
    n_samples: int | None = None,
    bounds: Mapping[str, range] | None = None,
    survives: Callable[[Feeds], bool] | None = None,
) -> FeedSet:
    """Generate inputs that the model accepts, going through `free_sizes.LADDER` until a run succeeds.

    Sizes whose outputs are finite and vary are preferred; failing that, positive inputs are tried (a
    model may take a logarithm), then the first sizes that ran, with finite outputs if there are any. A
    detector that finds nothing answers with 1e-8 everywhere, and the note says so.

    Args:
        session: the original model.
        seed: of the random numbers.
        n_samples: least number of samples to generate; by default as many as the smallest output
            needs for a figure that is not luck, from 16 to 64.
        bounds: by input name, the integers that index a table.
        survives: asked before sizes that are guessed are tried: whether a run outlives these feeds.

    Raises:
        CalibrationError: no attempt ran, or an input has a type that cannot be generated.
    """
    is_guessed = any(has_free_sizes(spec) for spec in session.inputs)
    check = survives if is_guessed else None
    quality, free_sizes, n_values = _best_that_runs(session, seed, bounds, check)
    per_run = samples_per_run(session.inputs, resolve_shapes(session.inputs, free_sizes))
    if n_samples is None:
        n_wanted = math.ceil(_N_OUTPUT_VALUES / max(n_values // per_run, 1))
        n_samples = min(max(n_wanted, _MIN_GENERATED), _MAX_GENERATED)
    n_batches = math.ceil(n_samples / per_run)
    feeds = generate_feeds(
        session.inputs,
        seed=seed,
        n_batches=n_batches,
        bounds=bounds,
        free_sizes=free_sizes,
    )
    note = f"{GENERATED_NOTE}, {_SATURATED_NOTE}" if quality == _FINITE else GENERATED_NOTE
    return FeedSet(tuple(feeds), (per_run,) * n_batches, seed, note)


def _best_that_runs(
    session: Session,
    seed: int,
    bounds: Mapping[str, range] | None,
    survives: Callable[[Feeds], bool] | None,
) -> tuple[int, FreeSizes, int]:
    """Return the best sizes, after the quality of its outputs and before the size of the smallest."""
    finding = ""
    best: tuple[int, FreeSizes, int] | None = None
    for free_sizes in _attempts(session.inputs, bounds or {}):
        feeds = generate_feeds(
            session.inputs,
            seed=seed,
            n_batches=1,
            bounds=bounds,
            free_sizes=free_sizes,
        )
        if survives is not None and not survives(feeds[0]):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feeds[0].items())
            finding = finding or f"{session.label}: onnxruntime crashes on inputs of the sizes {shapes}"
            continue
        try:
            outputs = session.run(feeds[0])
        except (CalibrationError, ModelError) as error:
            finding = finding or str(error)
            continue
        n_values = min((array.size for array in outputs.values()), default=0)
        quality = _quality(outputs)
        if best is None or quality > best[0]:
            best = (quality, free_sizes, n_values)
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


def _attempts(inputs: Sequence[InputSpec], bounds: Mapping[str, range]) -> Iterator[FreeSizes]:
    """Yield the sizings worth a run: different shapes, then other value ranges."""
    refuse_unsupported(inputs)
    distinct: dict[tuple[tuple[int, ...], ...], FreeSizes] = {}
    for free_sizes in LADDER:
        shapes = tuple(resolve_shapes(inputs, free_sizes).values())
        if sum(math.prod(shape) for shape in shapes) <= _MAX_GENERATED_ELEMENTS:
            distinct.setdefault(shapes, free_sizes)
    yield from distinct.values()
    if any(_is_integer(spec) and spec.name not in bounds for spec in inputs):
        yield from (replace(free_sizes, n_ids=1) for free_sizes in distinct.values())
    if any(isinstance(spec.dtype, np.dtype) and spec.dtype.kind == "f" for spec in inputs):
        yield from (replace(free_sizes, is_positive=True) for free_sizes in distinct.values())


def _is_integer(spec: InputSpec) -> bool:
    return isinstance(spec.dtype, np.dtype) and spec.dtype.kind in "iu"
