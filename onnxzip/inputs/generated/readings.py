"""Ways to make up an input's values: what its name, type and shape may mean, the likeliest first.

Nothing says what a float input is fed in use, so that most have several readings; each is tried, and the
one with the largest loss counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import STATE_NAME, channel_axis
from onnxzip.inputs.generated.random_images import random_images
from onnxzip.records.aliases import Array
from onnxzip.runtime.input_spec import InputSpec

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

_N_SMALL = 8
"""Integers whose range nobody knows are drawn below this."""

_STATE_DEVIATION = 0.5
"""Hidden states of recurrent cells lie in (-1, 1)."""

_SPREAD = 4.0
"""Samples of one family are up to this many times as large, or as small, as a deviation of 1."""

_FACTORS = (1.0, 0.5, 2.0, 0.75, 1.5)
"""Around 1, run by run."""

Draw: TypeAlias = Callable[[tuple[int, ...], int, np.random.Generator], Array]
"""Takes the shape of one run, the number of runs and a generator; returns (n_runs, *shape)."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to make up an input's values.

    Attributes:
        name: in a few words, for reports.
        draw: makes the values.
        is_like_real: whether what goes together in them goes together in real inputs too.
    """

    name: str
    draw: Draw
    is_like_real: bool = False


@dataclass(frozen=True, eq=False)
class Context:
    """What other inputs say about one.

    Attributes:
        bounds: by input name, the exclusive upper bound of integers that index a table.
        length: what a "length" input should say.
    """

    bounds: Mapping[str, int]
    length: int


def readings(spec: InputSpec, shape: tuple[int, ...], context: Context) -> tuple[Reading, ...]:
    """Return the ways to make up an input's values, the likeliest first.

    Args:
        spec: the input.
        shape: as resolved.
        context: what other inputs say about it.
    """
    assert isinstance(spec.dtype, np.dtype)  # refuse_unsupported has been called
    name = spec.name.lower()
    if _RATE.search(name) and spec.dtype.kind in "iuf":
        return (Reading("", _constant(_SAMPLE_RATE_HZ)),)
    if _MASK.search(name):
        return _masks(shape)
    if spec.dtype.kind == "b":
        return (Reading("", _switches if int(np.prod(shape)) == 1 else _coins),)
    if spec.dtype.kind == "f":
        return _floats(name, shape)
    return _integers(spec, shape, context)


def refuse_unsupported(inputs: Sequence[InputSpec]) -> None:
    """Raise CalibrationError where an input is no tensor of numbers."""
    for spec in inputs:
        if isinstance(spec.dtype, str):
            raise CalibrationError(
                f"input {spec.name!r} has type {spec.dtype}, for which no values can be generated; "
                "pass real inputs with `calibration`"
            )


def sequence_length(inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return what a "length" input should say: the size of the first input's last long axis."""
    for spec in inputs:
        if len(spec.shape) > 1 and not STATE_NAME.search(spec.name.lower()):
            free = [a for a, dim in enumerate(spec.shape) if a > 0 and not isinstance(dim, int)]
            return shapes[spec.name][free[0] if free else 1]
    return 1


def _masks(shape: tuple[int, ...]) -> tuple[Reading, ...]:
    def keep(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
        mask = np.ones((n_runs, *shape))
        if len(shape) == 2:
            mask[:, 1::2, shape[1] - shape[1] // 4 :] = 0
        return mask

    def hide(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
        return 1 - keep(shape, n_runs, rng)

    return Reading("ones keep", keep), Reading("ones hide", hide)


def _floats(name: str, shape: tuple[int, ...]) -> tuple[Reading, ...]:
    if _STEP.search(name):
        return (Reading("", lambda s, n, rng: np.floor(rng.random((n, *s)) * _N_DIFFUSION_STEPS)),)
    if not shape or _FACTOR.search(name):
        return (Reading("", _factors), Reading("numbers", _normal))
    if STATE_NAME.search(name):
        return (Reading("", lambda s, n, rng: _STATE_DEVIATION * rng.standard_normal((n, *s))),)
    axis = channel_axis(shape)
    if axis is not None:
        return (Reading("random images", _images_of(axis)),)
    return (
        Reading("noise", _normal),
        Reading("noise of many levels", _scaled),
        Reading("numbers from 0 to 1", lambda s, n, rng: rng.random((n, *s))),
    )


def _integers(spec: InputSpec, shape: tuple[int, ...], context: Context) -> tuple[Reading, ...]:
    assert isinstance(spec.dtype, np.dtype)
    name, limits = spec.name.lower(), np.iinfo(spec.dtype.name)
    bound = context.bounds.get(spec.name)
    high = min(bound or _N_SMALL, int(limits.max) + 1)
    if _POSITION.search(name) and shape:
        places = np.arange(shape[-1]) % (bound or max(shape[-1], 1))
        return (Reading("", lambda s, n, rng: np.broadcast_to(places, (n, *s))),)
    if _SEGMENT.search(name):
        return (Reading("", _below(min(high, 2))),)
    if bound is not None:
        return (Reading("uniform ids", _below(high)),)
    if _LENGTH.search(name):
        return (Reading("", _constant(context.length)),)
    if _STEP.search(name):
        return (Reading("", _below(_N_DIFFUSION_STEPS)),)
    if limits.bits == 8 and len(shape) >= 3:
        pixels = Reading(
            "random bytes",
            lambda s, n, rng: rng.integers(limits.min, limits.max, (n, *s), endpoint=True),
        )
        return (pixels,)
    if not shape:
        return (Reading("", _constant(1)), Reading("small numbers", _below(high)))
    return Reading("small numbers", _below(high)), Reading("zeros", _constant(0))


def _constant(value: float) -> Draw:
    return lambda shape, n_runs, rng: np.full((n_runs, *shape), value)


def _below(high: int) -> Draw:
    return lambda shape, n_runs, rng: rng.integers(0, high, (n_runs, *shape))


def _coins(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    return np.asarray(rng.random((n_runs, *shape)) < 0.5)


def _switches(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    """Return on and off by turns: every branch gets its runs."""
    return np.broadcast_to((np.arange(n_runs) % 2 == 0).reshape(-1, *[1] * len(shape)), (n_runs, *shape))


def _factors(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    values = np.resize(_FACTORS, n_runs).reshape(-1, *[1] * len(shape))
    return np.broadcast_to(values, (n_runs, *shape))


def _normal(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    return rng.standard_normal((n_runs, *shape))


def _scaled(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
    levels = _SPREAD ** rng.uniform(-1, 1, (n_runs, *shape[:1], *[1] * len(shape[1:])))
    return np.asarray(levels * rng.standard_normal((n_runs, *shape)))


def _images_of(axis: int) -> Draw:
    def draw(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
        images = random_images((n_runs * shape[0], *shape[1:]), axis, rng)
        return images.reshape(n_runs, *shape)

    return draw
