"""Evidence: each reason why an output says nothing, and that what says something has none."""

import numpy as np
import pytest

from onnxzip.measure.outputs.evidence import does_vary, is_quiet, why_no_evidence
from onnxzip.measure.outputs.output_statistics import OutputStatistics, output_statistics

NOISE = np.random.default_rng(0).standard_normal((16, 4))


def of(rows: np.ndarray) -> OutputStatistics:
    return output_statistics([{"y": rows}])["y"]


def test_what_varies_is_evidence() -> None:
    for rows in (NOISE, 1e-6 * NOISE, 1e30 * NOISE, 100 + NOISE, np.where(NOISE > 2, np.nan, NOISE)):
        assert why_no_evidence(of(rows)) == ""
        assert does_vary(of(rows))
    for rows in (NOISE > 0, np.rint(NOISE).astype(np.int64), np.rint(NOISE).astype(str)):
        assert why_no_evidence(of(rows)) == ""


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((0, 4)), "has no elements"),
        (np.zeros((16, 0)), "has no elements"),
        (np.full((16, 4), np.nan), "is NaN or Inf everywhere"),
        (np.full((16, 4), np.inf), "is NaN or Inf everywhere"),
        (np.zeros((16, 4)), "is 0 everywhere"),
        (np.ones((16, 4)), "hardly varies: by 0 of its size"),
        (np.tile(NOISE[:1], (16, 1)), "hardly varies: by "),
        (1 + 2e-5 * NOISE, "hardly varies: by 2e-05 of its size"),
        (1e-300 * NOISE, "has values of 1e-300, whose squares leave float64"),
        (1e300 * NOISE, "has values of 1e+300, whose squares leave float64"),
        (np.ones((16, 4), np.int64), "is the same for all samples"),
        (np.zeros((16, 4), np.bool_), "is the same for all samples"),
        (np.full((16, 1), "cat"), "is the same for all samples"),
    ],
)
def test_each_reason(rows: np.ndarray, reason: str) -> None:
    assert why_no_evidence(of(rows)).startswith(reason)


def test_what_is_far_from_zero_may_vary_enough() -> None:
    assert why_no_evidence(of(1000 + NOISE)) == ""
    assert why_no_evidence(of(100_000 + NOISE)).startswith("hardly varies")


def test_saturated_is_told_of_what_is_squashed_only() -> None:
    """1e-8 to 3e-8 of a detector vary by their own size; without a Sigmoid it may be a unit."""
    tiny = 1e-8 * (2 + np.tanh(NOISE))
    assert why_no_evidence(of(tiny)) == ""
    reason = why_no_evidence(of(tiny), is_squashed=True)
    assert reason.startswith("is saturated: all of it lies between 1")
    assert why_no_evidence(of(0.5 + 0.1 * np.tanh(NOISE)), is_squashed=True) == ""
    # probabilities of a thousand classes
    logits = np.random.default_rng(1).standard_normal((16, 1000))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert why_no_evidence(of(probabilities), is_squashed=True) == ""


def test_scores_that_hardly_move_beside_likelier_inputs_are_quiet() -> None:
    """A detector that meets nothing it knows answers 0.001 ... 0.003: that is not what it is for."""
    sounds = of(0.5 + 0.4 * np.tanh(NOISE))
    noise, half = of(0.002 + 0.001 * np.tanh(NOISE)), of(0.5 + 0.2 * np.tanh(NOISE))
    assert is_quiet(noise, sounds)
    assert not is_quiet(half, sounds), "half of the usual variation is not quiet"
    assert not is_quiet(sounds, noise)
    assert not is_quiet(sounds, sounds)


def test_only_scores_are_quiet() -> None:
    """Other outputs have any size: a quiet input leads to a quiet sound."""
    loud, low = of(NOISE), of(0.001 * NOISE)
    assert not is_quiet(low, loud)
    positive = of(2 + 0.001 * np.tanh(NOISE))
    assert not is_quiet(positive, of(0.5 + 0.4 * np.tanh(NOISE))), "above 1"
    classes = of(np.rint(NOISE).astype(np.int64))
    assert not is_quiet(classes, classes)
