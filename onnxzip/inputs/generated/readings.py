"""Ways to make up an input's values: what its name, type and shape may mean, the likeliest first.

Nothing says what a float input is fed in use, so that many have several readings. Each is tried, and the
one with the largest loss counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import STATE_NAME
from onnxzip.inputs.generated import draws
from onnxzip.inputs.generated.draws import Draw
from onnxzip.inputs.generated.looks import Look, looks_of
from onnxzip.inputs.generated.pictures import Layout, bytes_of, layout_of, pictures_of
from onnxzip.inputs.generated.recordings import sound_of, spectrogram_of
from onnxzip.inputs.generated.scalings import SCALINGS
from onnxzip.inputs.generated.sources.ids import uniform_ids, zipf_ids
from onnxzip.inputs.generated.sources.masks import (
    Meaning,
    is_mask,
    make_mask,
    mask_meanings,
    small_integers,
)
from onnxzip.inputs.generated.sources.spectrograms import scalings as spectrogram_scalings
from onnxzip.records.aliases import Array
from onnxzip.runtime.input_spec import InputSpec

# Names of inputs that are no plain numbers, as exporters of the transformers and of diffusers give them.
_SEGMENT = re.compile(r"token_type|segment")
_POSITION = re.compile(r"position|pos_id")
_RATE = re.compile(r"(^|[^a-z])sr$|sampl(e|ing)_?rate")
_LENGTH = re.compile(r"len(gth)?s?$")
_STEP = re.compile(r"timestep|^t$")
_LOWER = re.compile(r"min|low(er)?([^a-z]|$)|floor")
_UPPER = re.compile(r"max|high(er)?([^a-z]|$)|upper|ceil")
_FACTOR = re.compile(r"scale|temperature|speed|ratio|factor|alpha|sigma|threshold")
_SAMPLE_RATE_HZ = 16000
"""Speech models are trained at 16 kHz."""

_N_DIFFUSION_STEPS = 1000
"""Ho et al. 2020, arXiv 2006.11239, and most models since."""

_STATE_DEVIATION = 0.5
"""Hidden states of recurrent cells lie in (-1, 1)."""

_NEAR_1 = {"lower": (0.1, 0.5), "upper": (2.0, 10.0)}
_HERTZ = {"lower": (20.0, 60.0), "upper": (1000.0, 4000.0)}
"""Bounds of what is between: numbers about 1, frequencies of voices and music. Guesses."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to make up an input's values.

    Attributes:
        name: in a few words, for reports.
        draw: makes the values.
        is_scaled: whether others of the input's readings are the same things scaled otherwise, so that
            the layers that meet them first may tell which of them fit.
        is_like_real: whether what goes together in the values goes together in real ones too.
        is_fallback: whether it is only worth a try where the others tell nothing.
        is_guess: whether nothing but the shape speaks for it.
    """

    name: str
    draw: Draw
    is_scaled: bool = False
    is_like_real: bool = False
    is_fallback: bool = False
    is_guess: bool = False


@dataclass(frozen=True, eq=False)
class Hints:
    """What the graph says about its inputs' values.

    Attributes:
        ranges: by input name, the ids that are legal.
        parts: the same for single places of an input, by axis and place (`graph.part_ranges`).
        masks: inputs that are masks, and what their ones mean (`graph.masks`).
    """

    ranges: Mapping[str, range] = field(default_factory=dict)
    parts: Mapping[str, Mapping[tuple[int, int], range]] = field(default_factory=dict)
    masks: Mapping[str, Meaning] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Context:
    """What is known about one input besides itself.

    Attributes:
        hints: see there.
        length: what a "length" input should say at most.
        is_sound: whether another input is called a sound.
        is_stream: whether a run goes on where the one before ended, because states are handed on.
    """

    hints: Hints
    length: int
    is_sound: bool = False
    is_stream: bool = False


def readings(spec: InputSpec, shape: tuple[int, ...], context: Context) -> tuple[Reading, ...]:
    """Return the ways to make up an input's values, the likeliest first.

    Args:
        spec: the input.
        shape: as resolved.
        context: what else is known.
    """
    assert isinstance(spec.dtype, np.dtype)  # refuse_unsupported has been called
    name, ids = spec.name.lower(), context.hints.ranges.get(spec.name)
    parts = context.hints.parts.get(spec.name, {})
    if _RATE.search(name) and spec.dtype.kind in "iuf":
        return (Reading("", draws.constant(_SAMPLE_RATE_HZ)),)
    meaning = context.hints.masks.get(spec.name)
    if meaning is not None or is_mask(name):
        return _masks(name, spec.dtype, len(shape), meaning)
    if spec.dtype.kind == "b":
        return (Reading("", draws.switches if int(np.prod(shape)) == 1 else draws.coins),)
    if _POSITION.search(name) and shape:
        return (Reading("", draws.places(shape[-1], ids)),)
    if _SEGMENT.search(name):
        return (Reading("", draws.ids(ids or range(2), lambda rows, s, rng: rng.integers(0, 2, s))),)
    if ids is not None:
        ways = (("ids as in texts", zipf_ids), ("ids from the whole table", uniform_ids))
        return tuple(
            Reading(label, draws.with_parts(draws.ids(ids, draw), parts, draw)) for label, draw in ways
        )
    found = _floats(spec, shape, context) if spec.dtype.kind == "f" else _integers(spec, shape, context)
    return tuple(replace(r, draw=draws.with_parts(r.draw, parts, zipf_ids)) for r in found)


def is_free_sound(spec: InputSpec) -> bool:
    """Whether an input is called a sound, of any length."""
    shape = tuple(dim if isinstance(dim, int) else _SAMPLE_RATE_HZ for dim in spec.shape)
    return any(not isinstance(spec.shape[look.time_axis], int) for look in _named_sounds(spec, shape))


def is_named_sound(spec: InputSpec, shape: tuple[int, ...]) -> bool:
    """Whether an input of this shape is called a sound."""
    return bool(_named_sounds(spec, shape))


def _named_sounds(spec: InputSpec, shape: tuple[int, ...]) -> list[Look]:
    return [look for look in looks_of(spec, shape) if look.is_named and look.band_axis is None]


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


def _masks(
    name: str, dtype: np.dtype[np.generic], rank: int, known: Meaning | None
) -> tuple[Reading, ...]:
    """Return the ways to make a mask, one where the graph tells what its ones mean."""
    meanings = mask_meanings(name, dtype, rank) if known is None else (known,)
    labels = {"keep": "masks of ones", "hide": "masks of zeros", "add": "masks that are added"}

    def draw_as(meaning: Meaning) -> Draw:
        def draw(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> Array:
            n_rows, is_unsure = shape[0] if shape else 1, len(meanings) > 1
            masks = [
                make_mask(name, meaning, shape, dtype, first_row=i * n_rows, always_padded=is_unsure)
                for i in range(n_runs)
            ]
            return np.stack(masks)

        return draw

    return tuple(Reading(labels[meaning], draw_as(meaning)) for meaning in meanings)


def _floats(spec: InputSpec, shape: tuple[int, ...], context: Context) -> tuple[Reading, ...]:
    name = spec.name.lower()
    if _STEP.search(name):
        return (Reading("", lambda s, n, rng: np.floor(rng.random((n, *s)) * _N_DIFFUSION_STEPS)),)
    if not shape and (bound := _bound_of(name)):
        ways = [("bounds around 1", _NEAR_1[bound]), ("bounds in hertz", _HERTZ[bound])]
        (likely, near), (other, far) = reversed(ways) if context.is_sound else ways
        fallback = Reading(other, draws.between(*far), is_fallback=True)
        return Reading(likely, draws.between(*near)), fallback
    if not shape or _FACTOR.search(name):
        return Reading("", draws.factors), Reading(
            "numbers of either sign", draws.normal, is_fallback=True
        )
    if STATE_NAME.search(name):
        return (Reading("", lambda s, n, rng: _STATE_DEVIATION * rng.standard_normal((n, *s))),)
    looks = looks_of(spec, shape)
    named = [look for look in looks if look.is_named]
    layout = None if named else layout_of(spec, shape)
    fitting = named or looks
    # A free axis of time is one of a sound, or of frames; so many fixed numbers may be anything.
    is_timed = any(not isinstance(spec.shape[look.time_axis], int) for look in looks)
    is_alone = len(fitting) == 1
    found = [
        _recordings(look, shape, is_stream=context.is_stream, is_alone=is_alone) for look in fitting
    ]
    if not (named or is_timed):
        found = [[replace(reading, is_guess=True) for reading in some] for some in found]
    if layout is not None:  # of one channel where it may be a spectrogram as well: that is the likelier
        found.append(_pictures(layout))
    kinds = zip_longest(*found)  # by turns: where nothing tells them apart, each kind is tried
    is_sure = bool(named) or layout is not None or is_timed
    return (
        *(reading for some in kinds for reading in some if reading is not None),
        Reading("noise", draws.normal, is_fallback=is_sure),
        Reading("noise of many levels", draws.scaled, is_fallback=is_sure),
        Reading("noise around a point", draws.around, is_fallback=is_sure or len(shape) > 2),
        Reading("numbers from 0 to 1", lambda s, n, rng: rng.random((n, *s)), is_fallback=True),
    )


def _pictures(layout: Layout) -> list[Reading]:
    return [
        Reading(
            f"photographs ({scaling.name})",
            pictures_of(layout, scaling),
            is_scaled=True,
            is_like_real=True,
        )
        for scaling in SCALINGS
    ]


def _recordings(look: Look, shape: tuple[int, ...], *, is_stream: bool, is_alone: bool) -> list[Reading]:
    """Return a sound, or spectrograms; those with other axes are told apart by their names."""
    if look.band_axis is None:
        draw = sound_of(look, _SAMPLE_RATE_HZ, is_stream=is_stream)
        return [Reading("sounds", draw, is_like_real=True)]
    kind = "spectrograms" if is_alone else f"spectrograms with bands on axis {look.band_axis}"
    return [
        Reading(
            f"{kind} ({scaling.name})",
            spectrogram_of(look, scaling, is_stream=is_stream),
            is_scaled=True,
            is_like_real=True,
        )
        for scaling in spectrogram_scalings(shape[look.band_axis])
    ]


def _integers(spec: InputSpec, shape: tuple[int, ...], context: Context) -> tuple[Reading, ...]:
    assert isinstance(spec.dtype, np.dtype)
    name, limits = spec.name.lower(), np.iinfo(spec.dtype.name)
    if _LENGTH.search(name):
        return (Reading("", draws.lengths(context.length)),)
    if _STEP.search(name):
        return (Reading("", draws.ids(range(_N_DIFFUSION_STEPS), uniform_ids)),)
    layout = layout_of(spec, shape) if limits.bits == 8 else None
    if layout is not None:
        return (Reading("photographs", bytes_of(layout, limits.min), is_like_real=True),)
    if limits.bits == 8 and len(shape) >= 3:
        every = range(limits.min, limits.max + 1)
        return (Reading("random bytes", draws.ids(every, uniform_ids)),)
    return (
        Reading("small numbers", lambda s, n, rng: small_integers((n, *s), rng)),
        Reading("ones", draws.constant(1), is_fallback=True),
        Reading("zeros", draws.constant(0), is_fallback=True),
    )


def _bound_of(name: str) -> str:
    """Return whether a number is called a "lower" or an "upper" bound; "" for neither."""
    return "lower" if _LOWER.search(name) else "upper" if _UPPER.search(name) else ""
