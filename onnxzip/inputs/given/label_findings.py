"""What is odd about the user's labels: those that a guess would match tell nothing about a model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from onnxzip.records.finding import Finding

_CHANCE_P = 1e-4
"""Probability that a guess is as often right, above which labels are said to be no better: of shuffled
labels one in 10,000 passes for good ones."""

_SHIFT_P = 1e-4
"""The same, below which a shift of the labels by one is no guess: two shifts are tried."""

_MIN_LABELS, _MIN_TO_TEST = 8, 32
"""Fewer labels than the first say nothing; with fewer than the second, as with so few that a good model
may look like a guess, only what is right no more often than a guess is told."""

_GOOD_SHARE = 0.5
"""Of what a guess gets wrong: a model that is right in half of it is good, three quarters of all in two
classes of one size."""


def look_at_labels(
    labels: NDArray[np.int64], answers: NDArray[np.int64], n_classes: int
) -> list[Finding]:
    """Return what is odd about labels, given what the original model answers.

    Args:
        labels: true classes, of any shape.
        answers: the classes that the original model answers, of the same shape; -1 for none.
        n_classes: of the model; 0 where its outputs do not say.
    """
    if labels.size < _MIN_LABELS:
        return []
    found = list(_constant(labels))
    if n_classes > 1:
        found += list(_shifted(labels, answers))
    return found or (list(_guesses(labels, answers, n_classes)) if n_classes > 1 else [])


def is_above_chance(n_right: int, n_answers: int, chance: float, p: float = _CHANCE_P) -> bool:
    """Whether a guess that is right with probability `chance` is as often right with one below `p`.

    The exact binomial test, one-sided.
    """
    return bool(bdtrc(n_right - 1, n_answers, chance) < p)


def chance_of(labels: NDArray[np.int64], answers: NDArray[np.int64]) -> float:
    """Return the share of labels that the same answers would match if the labels were shuffled.

    Of two classes of which one makes up nine tenths of both, that is 0.82, and not one half.
    """
    classes, counts = np.unique(labels, return_counts=True)
    n_answers = np.array([np.count_nonzero(answers == found) for found in classes])
    return float(counts @ n_answers) / labels.size**2


def _constant(labels: NDArray[np.int64]) -> Iterator[Finding]:
    if (labels == labels.flat[0]).all():
        yield Finding(
            "labels",
            f"all {labels.size} labels are {labels.flat[0]}: a model that always answers that loses "
            "nothing; pass samples of several classes",
        )


def _guesses(labels: NDArray[np.int64], answers: NDArray[np.int64], n_classes: int) -> Iterator[Finding]:
    n_right, chance = int(np.count_nonzero(labels == answers)), chance_of(labels, answers)
    n_good = math.ceil((chance + _GOOD_SHARE * (1 - chance)) * labels.size)
    is_tested = labels.size >= _MIN_TO_TEST and is_above_chance(n_good, labels.size, chance)
    if not is_tested and n_right > chance * labels.size:
        return
    if not is_above_chance(n_right, labels.size, chance):
        yield Finding(
            "labels",
            f"the original model is right in {n_right} of {labels.size} labels, about as often as a "
            f"guess among {n_classes} classes as frequent as these (in {chance * labels.size:.3g}): are "
            "they in the order of the samples, and are these scaled as the model expects?",
        )


def _shifted(labels: NDArray[np.int64], answers: NDArray[np.int64]) -> Iterator[Finding]:
    """Tell labels that fit far better one class lower, or higher: they count from 1, or from -1."""
    n_right = int(np.count_nonzero(labels == answers))
    for step, mend in (
        (-1, "do they count from 1? subtract 1"),
        (1, "does the model begin with a class for all else? add 1"),
    ):
        n_shifted = int(np.count_nonzero(labels + step == answers))
        chance = chance_of(labels + step, answers)
        if n_shifted > 2 * n_right and is_above_chance(n_shifted, labels.size, chance, _SHIFT_P):
            yield Finding(
                "labels",
                f"the original model is right in {n_right} of {labels.size} labels, in {n_shifted} if "
                f"{abs(step)} is {'added to' if step > 0 else 'subtracted from'} them: {mend}",
            )
            return
