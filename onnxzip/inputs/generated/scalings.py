"""What pixels may be multiplied by and moved before a model takes them, and which of it is plausible.

A model does not say whether its pictures go from 0 to 1, from -1 to 1 or to 255, or are divided by their
deviation. How the layers that an input meets first answer tells much of it:

* Where a BatchNormalization stands behind such a layer, its running mean m and variance v say what the
  layer answered in training. With mean a and variance b on our pictures, a channel is this far off, as
  the divergence of one normal distribution from another (Kullback and Leibler 1951):

      (b / v + (a - m)^2 / v - 1 - ln(b / v)) / 2

* Elsewhere, its normalisation has mostly been folded into weights and bias. Then the answer to black
  pixels, |z|, is about as large as the deviation d of answers over pictures: with 255 times too large
  pictures the bias is as nothing, with 255 times too small ones the pictures are. What counts is
  |ln(|z| / d) - ln(usual ratio)|.

Every scaling that is hardly less likely than the best one is plausible: one that is judged in vain costs
bytes, one that is left out costs trust. `python -m tests.bench.scalings` prints both for real models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet (Deng et al. 2009), as torchvision's models subtract and divide."""

_GREY_MEAN, _GREY_DEVIATION = 0.449, 0.226
"""Their means, as timm and others take for one channel."""

_CAFFE_MEAN = (123.0, 117.0, 104.0)
"""Of red, green and blue in ImageNet, from 0 to 255, as Caffe's models subtract (Jia et al. 2014)."""

_USUAL_RATIO = 0.9
"""Of |z| to d: under the right scaling it was 0.3 to 3.1 on those of these models without statistics."""

_DIVERGENCE_MARGIN = 0.5
_RATIO_MARGIN = 1.3
"""How much farther off than the best a plausible scaling may be. On 38 image models, 34 of them from 17
packages whose sources tell the right scaling, that was at most 0.06 and 0.96 farther than the best."""

_RATIOS = (1e-4, 1e4)
"""Beyond these a ratio is as good as none: no bias, or no answer to the pictures."""

_LARGEST, _LEAST_VARIANCE = 1e100, 1e-100
"""Numbers whose squares, sums of squares and quotients stay within float64, which ends at 1e308."""


@dataclass(frozen=True)
class Scaling:
    """One way to make a model's input of pictures.

    Attributes:
        name: as messages call it.
        apply: from pictures between 0 and 1, (n, 1, 3 or 4 channels, height, width), to values of the
            same shape.
    """

    name: str
    apply: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _subtract_and_divide(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = _by_channel(pictures, _MEAN, _GREY_MEAN)
    deviation = _by_channel(pictures, _DEVIATION, _GREY_DEVIATION, alpha=1.0)
    return (pictures - mean) / deviation


def _subtract(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    return 255 * pictures - _by_channel(pictures, _CAFFE_MEAN, 255 * _GREY_MEAN)


def _by_channel(
    pictures: NDArray[np.float64], colours: tuple[float, ...], grey: float, alpha: float = 0.0
) -> NDArray[np.float64]:
    n_channels = pictures.shape[1]
    values = (grey,) if n_channels == 1 else (*colours, alpha)[:n_channels]
    return np.array(values)[:, None, None]


SCALINGS = (
    Scaling("0..1", lambda pictures: pictures),
    Scaling("-1..1", lambda pictures: 2 * pictures - 1),
    Scaling("mean/deviation", _subtract_and_divide),
    Scaling("0..255", lambda pictures: 255 * pictures),
    Scaling("0..255 less mean", _subtract),
)


@dataclass(frozen=True, eq=False)
class Answer:
    """How a layer answers to pictures under one scaling.

    Attributes:
        pictures: its values for pictures; samples on axis 0.
        black: likewise, for one input or more that is all zeros.
        axis: of the channels in both.
        normalised: values for pictures that a BatchNormalization takes, channels on axis 1; None
            without one.
        mean: its running mean, (channels,).
        variance: its running variance, (channels,).
    """

    pictures: NDArray[np.floating]
    black: NDArray[np.floating]
    axis: int = 1
    normalised: NDArray[np.floating] | None = None
    mean: NDArray[np.float64] | None = None
    variance: NDArray[np.float64] | None = None


def plausible_scalings(answers: Mapping[str, Sequence[Answer]]) -> list[str]:
    """Return the scalings that are plausible, the likeliest first.

    Args:
        answers: by the scaling's name, what the first layers answer under it; as many of them, in the
            same order, for each. All scalings are plausible where there is no layer.
    """
    distances = {name: distance(found) for name, found in answers.items()}
    is_known = any(_knows_training(answer) for found in answers.values() for answer in found)
    limit = min(distances.values()) + (_DIVERGENCE_MARGIN if is_known else _RATIO_MARGIN)
    return sorted((name for name, far in distances.items() if far <= limit), key=distances.__getitem__)


def distance(answers: Sequence[Answer]) -> float:
    """Return how far answers are from what is to be expected: the mean over layers, 0 for none of them.

    Layers whose answers in training are known count alone.
    """
    known = [answer for answer in answers if _knows_training(answer)]
    found = [_divergence(answer) for answer in known] or [_ratio_distance(answer) for answer in answers]
    return float(np.mean(found)) if found else 0.0


def _knows_training(answer: Answer) -> bool:
    return answer.normalised is not None


def _divergence(answer: Answer) -> float:
    """Return the median over channels; inf where numbers are none that can be compared."""
    assert answer.normalised is not None
    assert answer.mean is not None
    assert answer.variance is not None
    if not all(map(_can_compare, (answer.normalised, answer.mean, answer.variance))):
        return math.inf
    values = _by_row(answer.normalised, 1)
    least = max(1e-6 * float(np.median(answer.variance)), _LEAST_VARIANCE)
    is_alive = answer.variance > least  # a dead channel tells nothing
    if not is_alive.any():
        return math.inf
    variance = answer.variance[is_alive]
    ratio = np.maximum(values.var(axis=1)[is_alive] / variance, 1e-30)
    shift = (values.mean(axis=1) - answer.mean)[is_alive] ** 2 / variance
    return float(np.median(ratio + shift - 1 - np.log(ratio)) / 2)


def _ratio_distance(answer: Answer) -> float:
    """Return the distance from the usual ratio of |z| to d; inf where numbers cannot be compared."""
    if not (_can_compare(answer.black) and _can_compare(answer.pictures)):
        return math.inf
    black = np.median(_by_row(answer.black, answer.axis), axis=1)
    deviation = _by_row(answer.pictures, answer.axis).std(axis=1)
    ratio = np.median(np.abs(black) / np.maximum(deviation, 1e-30))
    return float(abs(np.log(np.clip(ratio, *_RATIOS) / _USUAL_RATIO)))


def _by_row(values: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """Return a row a channel, without the border: what is padded there is no picture."""
    rows = np.moveaxis(values, axis, 0)
    if rows.ndim == 4:
        height, width = rows.shape[2:]
        rows = rows[:, :, height // 8 : height - height // 8, width // 8 : width - width // 8]
    return rows.reshape(len(rows), -1).astype(np.float64)


def _can_compare(values: NDArray[np.floating]) -> bool:
    """Whether these are finite numbers, and small enough for sums of their squares in float64."""
    return bool((np.abs(values.astype(np.float64)) <= _LARGEST).all())
