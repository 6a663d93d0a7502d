"""Values of inputs, for lack of real data.

Generated values follow an input's type and name: floats are standard normal, or random images where
the shape is one of images, integers are bounded by the table they index, masks are ones (odd rows end
in zeros), a sample rate is 16000 Hz. Every array depends on (seed, run, position of the input) only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import STATE_NAME, channel_axis
from onnxzip.inputs.generated.free_sizes import FreeSizes, resolve_shapes
from onnxzip.inputs.generated.random_images import random_images
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

# numpy seeds (0, 0, 0) like 0: the numbers of default_rng(0) may be the very weights of a test model.
_OWN_STREAM = 1

# Names of inputs that are no plain numbers, as exporters of the transformers and of diffusers give them.
_MASK = re.compile(r"mask")
_SEGMENT = re.compile(r"token_type|segment")
_POSITION = re.compile(r"position|pos_id")
_RATE = re.compile(r"(^|[^a-z])sr$|sampl(e|ing)_?rate")
_LENGTH = re.compile(r"len(gth)?s?$")
_STEP = re.compile(r"timestep|^t$")
_FACTOR = re.compile(r"scale|temperature|speed|ratio|factor|alpha|sigma|threshold")
_SAMPLE_RATE_HZ = 16000
"""Speech models are trained at 16 kHz."""

_N_DIFFUSION_STEPS = 1000
"""Ho et al. 2020, arXiv 2006.11239, and most models since."""


def generate_feeds(
    inputs: Sequence[InputSpec],
    *,
    seed: int,
    n_batches: int,
    bounds: Mapping[str, range] | None = None,
    free_sizes: FreeSizes | None = None,
) -> list[Feeds]:
    """Generate inputs from types, shapes and names.

    Args:
        inputs: graph inputs.
        seed: of the random numbers.
        n_batches: number of runs.
        bounds: by input name, the integers that index a table.
        free_sizes: sizes of free dimensions; `FreeSizes()` by default.

    Raises:
        CalibrationError: an input has a type that cannot be generated (strings, sequences, maps).
    """
    free_sizes = free_sizes or FreeSizes()
    refuse_unsupported(inputs)
    shapes = resolve_shapes(inputs, free_sizes)
    length = _sequence_length(inputs, shapes)
    feeds: list[Feeds] = []
    for run in range(n_batches):
        arrays = {}
        for index, spec in enumerate(inputs):
            rng = np.random.default_rng([seed, run, index, _OWN_STREAM])
            bound = (bounds or {}).get(spec.name)
            values = _values(spec, shapes[spec.name], rng, bound, length, free_sizes)
            if values.dtype.kind == "b" and values.size == 1:  # a switch: every branch gets its runs
                values = np.full(values.shape, run % 2 == 0)
            arrays[spec.name] = values
        feeds.append(arrays)
    return feeds


def refuse_unsupported(inputs: Sequence[InputSpec]) -> None:
    """Raise CalibrationError where an input is no tensor of numbers."""
    for spec in inputs:
        if isinstance(spec.dtype, str):
            raise CalibrationError(
                f"input {spec.name!r} has type {spec.dtype}, for which no values can be generated; "
                "pass real inputs with `calibration`"
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
    bound: range | None,
    length: int,
    free_sizes: FreeSizes,
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
        values = _floats(name, shape, rng, free_sizes)
    else:
        values = _integers(name, shape, rng, bound, length, free_sizes, np.iinfo(spec.dtype.name))
    return np.asarray(values).astype(spec.dtype)


def _mask(shape: tuple[int, ...]) -> Array:
    mask = np.ones(shape)
    if len(shape) == 2:
        mask[1::2, shape[1] - shape[1] // 4 :] = 0
    return mask


def _floats(name: str, shape: tuple[int, ...], rng: np.random.Generator, free_sizes: FreeSizes) -> Array:
    if _STEP.search(name):
        return np.floor(rng.random(shape) * _N_DIFFUSION_STEPS)
    if not shape or _FACTOR.search(name):
        return np.ones(shape)
    if STATE_NAME.search(name):
        return 0.5 * rng.standard_normal(shape)  # hidden states of recurrent cells lie in (-1, 1)
    if free_sizes.is_positive:
        return rng.random(shape)
    axis = channel_axis(shape)
    return rng.standard_normal(shape) if axis is None else random_images(shape, axis, rng)


def _integers(
    name: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    bound: range | None,
    length: int,
    free_sizes: FreeSizes,
    limits: np.iinfo[Any],
) -> Array:
    ids = bound or range(min(free_sizes.n_ids, int(limits.max) + 1))
    if _POSITION.search(name) and shape:
        n_positions = max(bound.stop, 1) if bound else max(shape[-1], 1)
        return np.broadcast_to(np.arange(shape[-1]) % n_positions, shape)
    if _SEGMENT.search(name):
        return rng.integers(ids.start, min(ids.stop, ids.start + 2), shape)
    if bound is not None:
        return rng.integers(ids.start, ids.stop, shape)
    if _LENGTH.search(name):
        return np.full(shape, length)
    if _STEP.search(name):
        return rng.integers(0, _N_DIFFUSION_STEPS, shape)
    if limits.bits == 8 and len(shape) >= 3:
        return rng.integers(limits.min, limits.max, shape, endpoint=True)  # pixels
    return rng.integers(ids.start, ids.stop, shape) if shape else np.ones((), np.int64)
