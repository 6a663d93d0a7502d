"""Labels that a guess would match, that are shifted, or all the same."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.inputs.given.label_findings import is_above_chance, look_at_labels


def texts(labels: np.ndarray, answers: np.ndarray, n_classes: int) -> list[str]:
    found = look_at_labels(labels, answers, n_classes)
    assert all(finding.kind == "labels" and "\n" not in finding.text for finding in found)
    return [finding.text for finding in found]


def classified(n_samples: int, n_classes: int, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_samples)
    labels = rng.integers(0, n_classes, n_samples)
    others = (labels + rng.integers(1, n_classes, n_samples)) % n_classes
    return labels, np.where(np.arange(n_samples) < round(accuracy * n_samples), labels, others)


@pytest.mark.parametrize(
    ("n_samples", "n_classes", "accuracy"),
    [(64, 10, 0.8), (1024, 1000, 0.02), (256, 2, 0.65), (32, 2, 0.8), (16, 10, 0.2), (5, 10, 0.0)],
)
def test_labels_that_fit_are_no_finding(n_samples: int, n_classes: int, accuracy: float) -> None:
    assert texts(*classified(n_samples, n_classes, accuracy), n_classes) == []


@pytest.mark.parametrize(
    ("n_samples", "n_classes", "accuracy"),
    [(64, 10, 0.1), (1024, 10, 0.11), (1024, 1000, 0.001), (256, 2, 0.5), (8, 10, 0.0)],
)
def test_labels_that_a_guess_would_match_are_told(
    n_samples: int, n_classes: int, accuracy: float
) -> None:
    (text,) = texts(*classified(n_samples, n_classes, accuracy), n_classes)
    assert f"of {n_samples} labels, about as often as a guess among {n_classes} classes" in text


def test_shuffled_labels_are_a_guess() -> None:
    labels, answers = classified(256, 10, 0.95)
    (text,) = texts(np.random.default_rng(1).permutation(labels), answers, 10)
    assert "as a guess" in text


@pytest.mark.parametrize(
    ("step", "mend"), [(1, "count from 1? subtract 1"), (-1, "for all else? add 1")]
)
def test_shifted_labels_are_told(step: int, mend: str) -> None:
    labels, answers = classified(64, 10, 0.8)
    (text,) = texts(labels + step, answers, 10)
    assert text.endswith(mend)
    assert "in 51 if 1 is" in text


def test_labels_of_one_class_are_told() -> None:
    labels = np.full(64, 3)
    (text,) = texts(labels, labels, 10)
    assert "all 64 labels are 3" in text
    assert len(texts(labels, 0 * labels, 0)) == 1
    assert (
        texts(np.zeros((4, 8, 8), int) + np.arange(8), np.zeros((4, 8, 8), int) + np.arange(8), 8) == []
    )


def test_chance_is_the_binomial_test() -> None:
    """2 ** -5 and 0.1 ** 3 are the probabilities that all guesses are right."""
    assert not is_above_chance(5, 5, 0.5, p=0.03)
    assert is_above_chance(5, 5, 0.5, p=0.04)
    assert is_above_chance(3, 3, 0.1, p=0.0011)
    assert not is_above_chance(0, 100, 0.1)


def test_shuffled_labels_that_fit_by_luck_are_a_guess() -> None:
    """22 of 128 in ten classes are as many as one shuffle in a hundred gives."""
    labels = np.arange(128) % 10
    answers = (labels + 1 + np.arange(128) // 10 % 9) % 10
    answers[:22] = labels[:22]
    (text,) = texts(labels, answers, 10)
    assert "right in 22 of 128 labels" in text
    answers[:32] = labels[:32]
    assert texts(labels, answers, 10) == []


@pytest.mark.parametrize("n_samples", [64, 256, 1024])
def test_hardly_any_shuffle_is_taken_for_labels(n_samples: int) -> None:
    rng = np.random.default_rng(n_samples)
    labels, answers = classified(n_samples, 10, 0.9)
    assert all(texts(rng.permutation(labels), answers, 10) for _ in range(500))


def test_frequent_classes_are_what_a_guess_answers() -> None:
    """Nine of ten labels are one class: shuffled they fit in 82 %, far more often than one in two."""
    rng = np.random.default_rng(0)
    labels = (rng.random(1024) < 0.1).astype(np.int64)
    answers = np.where(rng.random(1024) < 0.05, 1 - labels, labels)
    assert texts(labels, answers, 2) == []
    assert all(texts(rng.permutation(labels), answers, 2) for _ in range(50))
    assert texts(labels, np.zeros(1024, np.int64), 2), "the answer is always the frequent class"
