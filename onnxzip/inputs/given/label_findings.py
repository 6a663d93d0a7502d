"""What is odd about the user's labels: those that a guess would match tell nothing about a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from onnxzip.records.finding import Finding

_CHANCE_P = 0.01
"""Probability that a guess is as often right, above which labels are said to be no better."""

_SHIFT_P = 1e-4
"""The same, below which a shift of the labels by one is no guess: two shifts are tried."""

_MIN_LABELS, _MIN_TO_TEST = 8, 32
"""Fewer labels than the first say nothing; below the second a good model may look like a guess (three
quarters right in two classes pass the test with 32 labels, not with 16): fewer have to be right then."""


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
        found += list(_shifted(labels, answers, n_classes)) or list(_guesses(labels, answers, n_classes))
    return found


def is_above_chance(n_right: int, n_answers: int, n_classes: int, p: float = _CHANCE_P) -> bool:
    """Whether a guess among equally likely classes is as often right with a probability below `p`.

    The exact binomial test, one-sided.
    """
    return bool(binomtest(n_right, n_answers, 1 / n_classes, alternative="greater").pvalue < p)


def _constant(labels: NDArray[np.int64]) -> Iterator[Finding]:
    if (labels == labels.flat[0]).all():
        yield Finding(
            "labels",
            f"all {labels.size} labels are {labels.flat[0]}: a model that always answers that loses "
            "nothing; pass samples of several classes",
        )


def _guesses(labels: NDArray[np.int64], answers: NDArray[np.int64], n_classes: int) -> Iterator[Finding]:
    n_right = int(np.count_nonzero(labels == answers))
    is_at_most_a_guess = n_right * n_classes <= labels.size
    is_tested = labels.size >= _MIN_TO_TEST or is_at_most_a_guess
    if is_tested and not is_above_chance(n_right, labels.size, n_classes):
        yield Finding(
            "labels",
            f"the original model is right in {n_right} of {labels.size} labels, about as often as a "
            f"guess among {n_classes} classes: are they in the order of the samples, and are these "
            "scaled as the model expects?",
        )


def _shifted(labels: NDArray[np.int64], answers: NDArray[np.int64], n_classes: int) -> Iterator[Finding]:
    """Tell labels that fit far better one class lower, or higher: they count from 1, or from -1."""
    n_right = int(np.count_nonzero(labels == answers))
    for step, mend in (
        (-1, "do they count from 1? subtract 1"),
        (1, "does the model begin with a class for all else? add 1"),
    ):
        n_shifted = int(np.count_nonzero(labels + step == answers))
        if n_shifted > 2 * n_right and is_above_chance(n_shifted, labels.size, n_classes, _SHIFT_P):
            yield Finding(
                "labels",
                f"the original model is right in {n_right} of {labels.size} labels, in {n_shifted} if "
                f"{abs(step)} is {'added to' if step > 0 else 'subtracted from'} them: {mend}",
            )
            return
