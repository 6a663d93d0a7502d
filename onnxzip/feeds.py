"""Inputs for a model: the record that carries them, and generated ones for lack of real data.

Generated values follow an input's type and name: floats are standard normal, or random images where
the shape is one of images (images.py), integers are bounded by the table they index, masks are ones
(odd rows end in zeros), a sample rate is 16000 Hz. Every array depends on (seed, run, position of the
input) only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxzip.errors import CalibrationError, ModelError
from onnxzip.images import channel_axis, random_images
from onnxzip.runtime import InputSpec, Session
from onnxzip.signature import Outputs
from onnxzip.sizing import (
    LADDER,
    STATE_NAME,
    Sizing,
    has_free_sizes,
    resolve_shapes,
    samples_per_run,
)
from onnxzip.types import Array, Feeds

GENERATED_NOTE = "generated inputs"
_SATURATED_NOTE = "on which no output varies by more than 1e-4"
FITTED_NOTE = "the very samples that were fitted to; pass 64 or more and some are held out"
MAX_ELEMENTS_PER_RUN = 2**26
# numpy seeds (0, 0, 0) like 0: the numbers of default_rng(0) may be the very weights of a test model.
_OWN_STREAM = 1
_MIN_SAMPLES = 16
_MAX_SAMPLES = 64
_NOT_FINITE, _FINITE, _TELLING = range(3)
_TELLING_RANGE = 1e-4
_N_OUTPUT_VALUES = 4096
_MIN_TO_HOLD_OUT = 64
_HELD_OUT_EVERY = 4

_MASK = re.compile(r"mask")
_SEGMENT = re.compile(r"token_type|segment")
_POSITION = re.compile(r"position|pos_id")
_RATE = re.compile(r"(^|[^a-z])sr$|sampl(e|ing)_?rate")
_LENGTH = re.compile(r"len(gth)?s?$")
_STEP = re.compile(r"timestep|^t$")
_FACTOR = re.compile(r"scale|temperature|speed|ratio|factor|alpha|sigma|threshold")
_SAMPLE_RATE_HZ = 16000
_N_DIFFUSION_STEPS = 1000


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
        if self.n_samples < _MIN_TO_HOLD_OUT or len(self) < _HELD_OUT_EVERY:
            return None
        is_held = np.arange(len(self)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
        fitted, held = (self._select(np.flatnonzero(part)) for part in (~is_held, is_held))
        note = f"held out: {held.n_samples:,} of {self.n_samples:,} samples, the others were fitted to"
        return fitted, replace(held, note=note), np.repeat(is_held, self.sizes)

    def _select(self, runs: NDArray[np.int64]) -> FeedSet:
        feeds, sizes = (tuple(values[i] for i in runs) for values in (self.feeds, self.sizes))
        return replace(self, feeds=feeds, sizes=sizes)


def generate_feeds(
    inputs: Sequence[InputSpec],
    *,
    seed: int,
    n_batches: int,
    bounds: Mapping[str, int] | None = None,
    sizing: Sizing | None = None,
    free_dims: Mapping[str, int] | None = None,
) -> list[Feeds]:
    """Generate inputs from types, shapes and names.

    Args:
        inputs: graph inputs.
        seed: of the random numbers.
        n_batches: number of runs.
        bounds: by input name, the exclusive upper bound of integers that index a table.
        sizing: sizes of free dimensions; `Sizing()` by default.
        free_dims: sizes of free dimensions the caller knows, by symbol.

    Raises:
        CalibrationError: an input has a type that cannot be generated (strings, sequences, maps).
    """
    sizing = sizing or Sizing()
    _refuse_unsupported(inputs)
    shapes = resolve_shapes(inputs, sizing, free_dims)
    length = _sequence_length(inputs, shapes)
    feeds: list[Feeds] = []
    for run in range(n_batches):
        arrays = {}
        for index, spec in enumerate(inputs):
            rng = np.random.default_rng([seed, run, index, _OWN_STREAM])
            bound = (bounds or {}).get(spec.name)
            values = _values(spec, shapes[spec.name], rng, bound, length, sizing)
            if values.dtype.kind == "b" and values.size == 1:  # a switch: every branch gets its runs
                values = np.full(values.shape, run % 2 == 0)
            arrays[spec.name] = values
        feeds.append(arrays)
    return feeds


def runnable_feeds(
    session: Session,
    *,
    seed: int,
    n_samples: int | None = None,
    bounds: Mapping[str, int] | None = None,
    free_dims: Mapping[str, int] | None = None,
    survives: Callable[[Feeds], bool] | None = None,
) -> FeedSet:
    """Generate inputs that the model accepts, going through `sizing.LADDER` until a run succeeds.

    A sizing whose outputs are finite and vary is preferred; failing that, positive inputs are tried (a
    model may take a logarithm), then the first sizing that ran, with finite outputs if there is one, is
    used. A detector that finds nothing answers with 1e-8 everywhere, and the note says so.

    Args:
        session: the original model.
        seed: of the random numbers.
        n_samples: least number of samples to generate; by default as many as the smallest output
            needs for a figure that is not luck, from 16 to 64.
        bounds: by input name, the exclusive upper bound of integers that index a table.
        free_dims: sizes of free dimensions the caller knows, by symbol.
        survives: asked before sizes that are guessed are tried: whether a run outlives these feeds.

    Raises:
        CalibrationError: no attempt ran, or an input has a type that cannot be generated.
    """
    is_guessed = any(has_free_sizes(spec) for spec in session.inputs)
    check = survives if is_guessed else None
    quality, sizing, n_values = _best_that_runs(session, seed, bounds, free_dims, check)
    per_run = samples_per_run(session.inputs, resolve_shapes(session.inputs, sizing, free_dims))
    if n_samples is None:
        n_wanted = math.ceil(_N_OUTPUT_VALUES / max(n_values // per_run, 1))
        n_samples = min(max(n_wanted, _MIN_SAMPLES), _MAX_SAMPLES)
    n_batches = math.ceil(n_samples / per_run)
    feeds = generate_feeds(
        session.inputs,
        seed=seed,
        n_batches=n_batches,
        bounds=bounds,
        sizing=sizing,
        free_dims=free_dims,
    )
    note = f"{GENERATED_NOTE}, {_SATURATED_NOTE}" if quality == _FINITE else GENERATED_NOTE
    return FeedSet(tuple(feeds), (per_run,) * n_batches, seed, note)


def _best_that_runs(
    session: Session,
    seed: int,
    bounds: Mapping[str, int] | None,
    free_dims: Mapping[str, int] | None,
    survives: Callable[[Feeds], bool] | None,
) -> tuple[int, Sizing, int]:
    """Return the best sizing, after the quality of its outputs and before the size of the smallest."""
    finding = ""
    best: tuple[int, Sizing, int] | None = None
    for sizing in _attempts(session.inputs, bounds or {}, free_dims):
        feeds = generate_feeds(
            session.inputs, seed=seed, n_batches=1, bounds=bounds, sizing=sizing, free_dims=free_dims
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
            best = (quality, sizing, n_values)
        if quality == _TELLING:
            break
    if best is None:
        raise CalibrationError(
            f"{finding}; none of the generated inputs runs, pass real ones with --calibration"
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
    inputs: Sequence[InputSpec], bounds: Mapping[str, int], free_dims: Mapping[str, int] | None
) -> Iterator[Sizing]:
    """Yield the sizings worth a run: different shapes, then other value ranges."""
    _refuse_unsupported(inputs)
    distinct: dict[tuple[tuple[int, ...], ...], Sizing] = {}
    for sizing in LADDER:
        shapes = tuple(resolve_shapes(inputs, sizing, free_dims).values())
        if sum(math.prod(shape) for shape in shapes) <= MAX_ELEMENTS_PER_RUN:
            distinct.setdefault(shapes, sizing)
    yield from distinct.values()
    if any(_is_integer(spec) and spec.name not in bounds for spec in inputs):
        yield from (replace(sizing, n_ids=1) for sizing in distinct.values())
    if any(isinstance(spec.dtype, np.dtype) and spec.dtype.kind == "f" for spec in inputs):
        yield from (replace(sizing, is_positive=True) for sizing in distinct.values())


def _is_integer(spec: InputSpec) -> bool:
    return isinstance(spec.dtype, np.dtype) and spec.dtype.kind in "iu"


def _refuse_unsupported(inputs: Sequence[InputSpec]) -> None:
    for spec in inputs:
        if isinstance(spec.dtype, str):
            raise CalibrationError(
                f"input {spec.name!r} has type {spec.dtype}, for which no values can be generated; "
                "pass real inputs with --calibration"
            )


def _sequence_length(inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return what a "length" input should say: the size of the first input's last long axis."""
    for spec in inputs:
        if len(spec.shape) > 1 and not STATE_NAME.search(spec.name.lower()):
            free = [a for a, dim in enumerate(spec.shape) if a > 0 and not isinstance(dim, int)]
            return shapes[spec.name][free[0] if free else 1]
    return 1


def _values(
    spec: InputSpec,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    bound: int | None,
    length: int,
    sizing: Sizing,
) -> Array:
    assert isinstance(spec.dtype, np.dtype)  # _refuse_unsupported has been called
    name = spec.name.lower()
    if _RATE.search(name) and spec.dtype.kind in "iuf":
        values = np.full(shape, _SAMPLE_RATE_HZ)
    elif _MASK.search(name):
        values = _mask(shape)
    elif spec.dtype.kind == "b":
        values = rng.random(shape) < 0.5 if shape else np.zeros(())
    elif spec.dtype.kind == "f":
        values = _floats(name, shape, rng, sizing)
    else:
        values = _integers(name, shape, rng, bound, length, sizing, np.iinfo(spec.dtype.name))
    return np.asarray(values).astype(spec.dtype)


def _mask(shape: tuple[int, ...]) -> Array:
    mask = np.ones(shape)
    if len(shape) == 2:
        mask[1::2, shape[1] - shape[1] // 4 :] = 0
    return mask


def _floats(name: str, shape: tuple[int, ...], rng: np.random.Generator, sizing: Sizing) -> Array:
    if _STEP.search(name):
        return np.floor(rng.random(shape) * _N_DIFFUSION_STEPS)
    if not shape or _FACTOR.search(name):
        return np.ones(shape)
    if STATE_NAME.search(name):
        return 0.5 * rng.standard_normal(shape)  # hidden states of recurrent cells lie in (-1, 1)
    if sizing.is_positive:
        return rng.random(shape)
    axis = channel_axis(shape)
    return rng.standard_normal(shape) if axis is None else random_images(shape, axis, rng)


def _integers(
    name: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    bound: int | None,
    length: int,
    sizing: Sizing,
    limits: np.iinfo[Any],
) -> Array:
    high = min(bound or sizing.n_ids, int(limits.max) + 1)
    if _POSITION.search(name) and shape:
        return np.broadcast_to(np.arange(shape[-1]) % (bound or max(shape[-1], 1)), shape)
    if _SEGMENT.search(name):
        return rng.integers(0, min(high, 2), shape)
    if bound is not None:
        return rng.integers(0, high, shape)
    if _LENGTH.search(name):
        return np.full(shape, length)
    if _STEP.search(name):
        return rng.integers(0, _N_DIFFUSION_STEPS, shape)
    if limits.bits == 8 and len(shape) >= 3:
        return rng.integers(limits.min, limits.max, shape, endpoint=True)  # pixels
    return rng.integers(0, high, shape) if shape else np.ones((), np.int64)
