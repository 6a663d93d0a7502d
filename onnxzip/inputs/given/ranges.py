"""Ranges of float inputs that a model was hardly made for: raw pixels or audio, or the other way round.

What a model expects can be read from its graph where it scales its inputs itself; elsewhere raw pixels
and raw audio are told by what they look like, because a network of normalised values is the rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from onnxzip.inputs.axes import channel_axis
from onnxzip.inputs.given.columns import Column
from onnxzip.records.finding import Finding
from onnxzip.records.input_scaling import InputScaling

_PIXEL_PEAK = 255.0
_LEAST_WHOLE_PEAK, _LEAST_PEAK, _LEAST_FLAT_PEAK = 64.0, 200.0, 240.0
"""Largest values of raw pictures of 8 bits: of whole numbers, of others (resized ones), and of others
without the shape of pictures. Maps of classes and counts lie below, normalised pictures below 3."""

_LEAST_MEAN, _LEAST_FLAT_MEAN = 2.0, 16.0
"""Means above which values are no sparse counts or one-hot codes; of flat vectors no features either."""

_MIN_ELEMENTS = 64
"""Of a sample: a picture of 8 x 8. Fewer are features, each of a range of its own."""

_LEAST_FLAT_LEVELS = 64
"""Different values of flattened pictures in 0 ... 255; counts and codes have fewer."""

_MIN_SIDE = 8

_AUDIO_PEAK, _LEAST_AUDIO_PEAK, _MIN_AUDIO = 32768.0, 1000.0, 256
"""Audio of 16 bits: its largest value, the least one that is told (-30 dB), and the fewest samples."""

_SMALL, _LARGE, _NEGATIVE = 4.0, 16.0, -0.5
"""Values below the first are normalised, or 0 ... 1; above the second they are raw; below the last no
pixels of 0 ... 1."""

_EXTREMES = ((1e-3, 1e6), (1e-9, 1e9), (1e-18, 1e18))
"""Largest absolute values, from the least to the greatest, that an input may well have: of coloured
pictures (the first step above black is 1/255; 16 bits end at 65,535), of other large samples (power
spectra of silence; times in microseconds), and of a few features in any unit: float32 reaches to 3.4e38,
and cannot square more than 1.8e19."""

_MEND = "does the model expect 0 ... 1 or normalised values? feed what it is fed in use"


def odd_range(column: Column, scaling: InputScaling | None = None) -> Iterator[Finding]:
    """Yield a finding if an input's range is hardly what its model was made for.

    Args:
        column: a float input with elements.
        scaling: what the model does to it first, where that is known.
    """
    low, high = column.ends
    expected = "unknown" if scaling is None else scaling.expected
    if low == high or not (math.isfinite(low) and math.isfinite(high)):
        return
    text = _beyond_all(column, max(-low, high), is_normalised=expected == "any")
    if not text and expected != "any":
        if scaling is not None and column.n_most >= _MIN_ELEMENTS:
            text = _against_graph(scaling, low, high)
        if not text and expected != "large":
            text = _raw(column, low, high)
    if text:
        yield Finding("range", f"input {column.name!r} has values from {low:g} to {high:g}: {text}")


def _beyond_all(column: Column, peak: float, *, is_normalised: bool) -> str:
    """Say that values are larger, or smaller, than any that are measured; "" if they are not.

    Args:
        column: of a mask, which may add what is as good as -Inf, nothing is said.
        peak: largest absolute value.
        is_normalised: whether the model takes any scale that float32 has room for.
    """
    if column.is_mask or {*np.unique(np.sign(column.values))} == {0.0, -1.0}:
        return ""
    picture, large, few = _EXTREMES
    shape = (1, *column.samples[0].shape[-3:])
    axis = channel_axis(shape)  # of one channel may be a spectrogram's power as well
    least, most = picture if axis is not None and shape[axis] > 1 else large
    if column.n_most < _MIN_ELEMENTS or is_normalised:
        least, most = few
    if least <= peak <= most:
        return ""
    return f"far too {'small' if peak < least else 'large'} for any that were measured; {_MEND}"


def _against_graph(scaling: InputScaling, low: float, high: float) -> str:
    """Say what does not fit the scaling that the model begins with; "" if all does."""
    factor, offset = scaling.factors[0], scaling.offsets[0]
    width, centre = 1 / abs(factor), -offset / factor
    first = " and ".join(
        [f"subtracts {centre:.3g}"] * (offset != 0) + [f"divides by {width:.3g}"] * (width != 1)
    )
    if scaling.expected == "large" and max(abs(low), abs(high)) <= _SMALL:
        return (
            f"the model {first} first, so they look scaled already; feed raw values, such as 0 ... 255"
        )
    if scaling.expected == "unit" and max(abs(low), abs(high)) > _LARGE:
        return f"the model {first} first, as for 0 ... 1; feed what it is fed in use"
    if scaling.expected == "unit" and low < _NEGATIVE:
        return f"the model {first} first, so they look normalised already; feed 0 ... 1"
    return ""


def _raw(column: Column, low: float, high: float) -> str:
    """Say that values look like raw pixels or raw audio; "" if they do not."""
    values = column.values
    is_whole = bool((values == np.rint(values)).all())
    if low >= 0 and _LEAST_WHOLE_PEAK < high <= _PIXEL_PEAK:
        is_pixels = _is_picture(column, high, is_whole) or _is_flat_picture(column, high, is_whole)
        return _MEND if is_pixels else ""
    is_loud = _LEAST_AUDIO_PEAK < max(-low, high) <= _AUDIO_PEAK
    if is_whole and low < 0 < high and is_loud and column.n_most >= _MIN_AUDIO:
        return "audio of 16 bits? does the model expect -1 ... 1? feed what it is fed in use"
    return ""


def _is_picture(column: Column, high: float, is_whole: bool) -> bool:
    """Whether samples have the shape of pictures, and values that are no counts."""
    shape = (1, *column.samples[0].shape)
    is_image = channel_axis(shape) is not None
    return is_image and (is_whole or high > _LEAST_PEAK) and column.values.mean() > _LEAST_MEAN


def _is_flat_picture(column: Column, high: float, is_whole: bool) -> bool:
    """Whether samples of any other shape are pictures all the same: flattened, grey, or films."""
    values, size = column.values, column.n_most
    if size < _MIN_ELEMENTS or high <= _LEAST_PEAK or values.mean() <= _LEAST_FLAT_MEAN:
        return False
    if is_whole:
        return len(np.unique(values)) > _LEAST_FLAT_LEVELS
    sides = (math.isqrt(size // channels) for channels in (1, 3, 4) if size % channels == 0)
    is_square = any(side >= _MIN_SIDE and size % (side * side) == 0 for side in sides)
    return is_square and high > _LEAST_FLAT_PEAK
