"""What errors of class scores cost in answers: from the margins by which the original decides.

Answers change in whole samples, and few do: of 256 samples and a drop of one point, three, give or take
three. The scores' errors tell the same without luck. Errors of deviation s turn the best score below one
that is a gap g smaller with probability

    P(g, s) = Phi(-g / s),

s being that of a difference of two scores. So the share of answers that change is about the mean over
samples of the sum of P over the next best classes; somewhat more than that where many answers change, as
one may be lost to several. With labels a change is worth what the class that was
best is likelier to be right than the one that follows it: p(best) - p(other), where p = softmax(scores /
T) and T is fitted to the labels (Guo et al. 2017, "On calibration of modern neural networks", arXiv
1706.04599), of those samples whose answer is not sure: others tell nothing about near ties.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.measure.outputs.running_sums import Numbers
from onnxzip.records.aliases import Array

_N_NEXT = 3
"""Classes behind the best one that it may lose to. On resnet20 and resnet44 nine give the same expected
drop within 4 %."""

_MAX_ANSWERS = 1 << 14
"""Answers to look at: their mean is known to 1 % then; a guess that costs time, where images have one a
pixel."""

_UNSURE = 4.0
"""Gaps are unsure within about so many deviations. With 2, as with 8, the expected drop of resnet20 is
the same within a tenth, but labels of fewer samples tell it: at 4 those of 1,024 images and those of
2,000 others agree within 6 % from 0.3 to 3 points."""

_TEMPERATURES = np.geomspace(1 / 256, 64, 57)
"""In deviations of the scores; a fifth from one to the next changes the expected drop by less."""

_N_BISECTIONS = 20
"""Of a limit between 0 and `_LARGEST`, which leave a millionth."""

_LARGEST = 1.0
"""Error relative to what scores vary by: a constant answer has it."""

_LEAST_PROBABILITY = 1e-7
"""What float32 has to tell 1 from what is less; below it logarithms are noise."""

_SUM_OF_ONE = 1e-2
"""How far sums of probabilities are from 1 in float16."""


@dataclass(frozen=True, eq=False)
class Margins:
    """How the original decides, and how often it is right.

    Attributes:
        gaps: float64 (n_answers, k), by how much the next best scores are below the best one, ascending.
        signs: float64 (n_answers,), with labels 1 where the best class is right, -1 where the next best
            is, else 0; None without.
        deviation: root mean square of centred scores around their mean over samples.
        n_classes: classes there are.
    """

    gaps: Numbers
    signs: Numbers | None
    deviation: float
    n_classes: int

    def expected_loss(self, error: float) -> float:
        """Return the expected drop in accuracy, or without labels share of changed answers.

        Args:
            error: root mean square error of centred scores, relative to `deviation`.
        """
        # Errors of two of n scores with mean 0 have the covariance -1 / (n - 1) of their variance.
        s = error * self.deviation * math.sqrt(2 * self.n_classes / (self.n_classes - 1))
        chances = normal_tail(self.gaps / s)
        if self.signs is None:
            return float(np.minimum(chances.sum(axis=1), 1.0).mean())
        probabilities = self._probabilities(
            self._temperature(normal_tail(self.gaps[:, 0] / s / _UNSURE))
        )
        worth = probabilities[:, :1] - probabilities[:, 1:]
        return float((chances * worth).sum(axis=1).mean())

    def error_at(self, limit: float) -> float:
        """Return the largest relative error whose expected loss is within a limit, at most 1."""
        low, high = 0.0, _LARGEST
        if self.expected_loss(high) <= limit:
            return high
        for _ in range(_N_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.expected_loss(middle) <= limit else (low, middle)
        return low

    def _temperature(self, weights: Numbers) -> float:
        """Return the temperature at which probabilities fit the labels best, in weighted squares."""
        assert self.signs is not None
        errors = []
        for temperature in self.deviation * _TEMPERATURES:
            p = self._probabilities(float(temperature))
            errors.append(float((weights * (self.signs - p[:, 0] + p[:, 1]) ** 2).sum()))
        return float(self.deviation * _TEMPERATURES[int(np.argmin(errors))])

    def _probabilities(self, temperature: float) -> Numbers:
        """Return those of the best classes, (n_answers, 1 + k); of others there is nothing left."""
        odds = np.exp(-np.pad(self.gaps, ((0, 0), (1, 0))) / temperature)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def normal_tail(z: Numbers) -> Numbers:
    """Return a normal variable's chance to be above z >= 0, within 3e-4.

    Source: Page 1977, "Approximations to the cumulative normal function", doi 10.2307/2346872.
    """
    return np.asarray(0.5 - 0.5 * np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def are_probabilities(scores: Array) -> bool:
    """Whether scores, (..., n_classes), are probabilities that sum up to 1."""
    numbers = scores.astype(np.float64)
    return bool((numbers >= 0).all() and (np.abs(numbers.sum(axis=-1) - 1) < _SUM_OF_ONE).all())


def centred(scores: Array, *, from_probabilities: bool) -> Numbers:
    """Return scores, logarithms of probabilities, less the mean of their sample's finite ones.

    Args:
        scores: (..., n_classes) floats.
        from_probabilities: whether they are probabilities.
    """
    numbers = scores.astype(np.float64)
    if from_probabilities:
        numbers = np.log(np.maximum(numbers, _LEAST_PROBABILITY))
    is_finite = np.isfinite(numbers)
    n_finite = np.maximum(is_finite.sum(axis=-1, keepdims=True), 1)
    with np.errstate(invalid="ignore"):
        means = np.where(is_finite, numbers, 0.0).sum(axis=-1, keepdims=True) / n_finite
        return np.asarray(numbers - means)


def margins_of(scores: Iterable[Numbers], labels: NDArray[np.int64] | None) -> Margins | None:
    """Return the margins of centred scores; None where they decide nothing.

    Args:
        scores: (n, ..., n_classes), of each run.
        labels: (n_samples, ...), those of all runs; None where there are none.
    """
    flat = [run.reshape(-1, run.shape[-1]) for run in scores]
    if len({run.shape[1] for run in flat}) != 1:
        return None
    joined = np.concatenate(flat)
    truth = np.zeros(len(joined), np.int64) if labels is None else labels.reshape(-1)
    is_telling = np.isfinite(joined).all(axis=1)
    step = -(-max(int(is_telling.sum()), 1) // _MAX_ANSWERS)
    joined, truth = joined[is_telling][::step], truth[is_telling][::step]
    deviation = math.sqrt(float(((joined - joined.mean(axis=0)) ** 2).mean())) if joined.size else 0.0
    if not deviation > 0:
        return None
    order = np.argsort(-joined, axis=1, kind="stable")[:, : 1 + _N_NEXT]
    best = np.take_along_axis(joined, order, axis=1)
    is_best, is_next = truth == order[:, 0], truth == order[:, 1]
    signs = None if labels is None else is_best.astype(np.float64) - is_next
    return Margins(best[:, :1] - best[:, 1:], signs, deviation, joined.shape[1])
