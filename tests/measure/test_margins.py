"""Margins tell how many answers errors of the scores change, and what labels lose by it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxzip.measure.margins import are_probabilities, centred, margins_of, normal_tail
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.score_error import ScoreError

N, N_CLASSES = 20_000, 10


def make_scores(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels that are drawn with the probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (N, N_CLASSES)).astype(np.float32)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((N, 1))).sum(axis=1)
    return scores, np.minimum(labels, N_CLASSES - 1)


def with_error(scores: np.ndarray, error: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, error * 2, scores.shape)
    return np.asarray(scores + noise, np.float32)


@pytest.mark.parametrize("error", [0.02, 0.05])
@pytest.mark.parametrize("is_labelled", [False, True])
def test_the_expected_loss_is_what_such_errors_cost(error: float, is_labelled: bool) -> None:
    scores, labels = make_scores()
    found = margins_of([centred(scores, from_probabilities=False)], labels if is_labelled else None)
    assert found is not None
    moved = with_error(scores, error)
    metric = make_metric("top1", 1.0, labels if is_labelled else None)
    loss = metric.measure([{"y": scores}], [{"y": moved}]).value
    luck = 3 * math.sqrt(np.mean(scores.argmax(1) != moved.argmax(1)) / N)
    expected = found.expected_loss(error)
    assert expected == pytest.approx(loss, rel=0.1, abs=luck)
    assert found.expected_loss(found.error_at(expected)) == pytest.approx(expected, rel=1e-2)


def test_a_guide_measures_errors_and_is_held_to_what_they_may_cost() -> None:
    scores, labels = make_scores()
    metric = make_metric("top1", 0.02, labels)
    metric = metric.prepare([{"y": scores}])  # type: ignore[attr-defined]
    guide = metric.guide([([{"y": scores}], metric)])
    assert isinstance(guide, ScoreError)
    assert guide.is_proportional
    moved = with_error(scores, guide.limit)
    value = guide.measure([{"y": scores}], [{"y": moved}]).value
    assert value == pytest.approx(guide.limit, rel=0.02)
    assert metric.measure([{"y": scores}], [{"y": moved}]).value == pytest.approx(0.02, abs=0.005)
    # What all classes' scores have in common changes no answer.
    assert guide.measure([{"y": scores}], [{"y": scores + np.float32(3)}]).value < 1e-6


def test_probabilities_guide_like_their_logarithms() -> None:
    scores, _ = make_scores()
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert are_probabilities(chances)
    assert not are_probabilities(scores)
    logs = centred(chances, from_probabilities=True)
    assert np.allclose(logs, centred(scores, from_probabilities=False), atol=1e-3)


def test_answers_and_limits_of_nothing_have_no_guide() -> None:
    answers = [{"y": np.arange(8)}]
    metric = make_metric("top1", 0.01).prepare(answers)  # type: ignore[attr-defined]
    assert metric.guide([(answers, metric)]) is None
    scores = [{"y": np.eye(8, dtype=np.float32)}]
    for limit in (0.0, math.inf):
        metric = make_metric("top1", limit).prepare(scores)  # type: ignore[attr-defined]
        assert metric.guide([(scores, metric)]) is None
    constant = [{"y": np.ones((8, 4), np.float32)}]
    metric = make_metric("top1", 0.01).prepare(constant)  # type: ignore[attr-defined]
    assert metric.guide([(constant, metric)]) is None


def test_tails_are_those_of_the_normal_distribution() -> None:
    z = np.linspace(0, 6, 61)
    exact = [0.5 * math.erfc(x / math.sqrt(2)) for x in z]
    assert np.abs(normal_tail(z) - exact).max() < 3e-4
