"""What is said about the user's data: by themselves, beside the graph, by the answers, by the labels."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.graph import read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.data_findings import data_findings
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.subject import Sample
from tests.textmodels import model_from_text

MODEL = read_model(
    model_from_text(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 16] x) => (float[n, 5] y) <float[16, 5] w> {
            y = MatMul(x, w)
        }"""
    )
)
ROWS = np.random.default_rng(0).standard_normal((128, 16)).astype(np.float32)
SCORES = np.random.default_rng(1).standard_normal((128, 5))


def feeds_of(rows: np.ndarray, seed: int | None = None) -> FeedSet:
    feeds = tuple({"x": part} for part in np.split(rows, 16))
    return FeedSet(feeds, (len(rows) // 16,) * 16, seed)


def sample(
    rows: np.ndarray, scores: np.ndarray, labels: np.ndarray | None = None, seed: int | None = None
) -> Sample:
    reference = [{"y": part} for part in np.split(scores, 16)]
    metric = make_metric("nrmse" if labels is None else "top1", None, labels)
    if labels is not None:
        metric = metric.prepare(reference)  # type: ignore[attr-defined]
    return Sample(feeds_of(rows, seed), reference, metric)  # type: ignore[arg-type]


def kinds(given: Sample, *own: Sample) -> list[str]:
    found = data_findings(MODEL, given.feeds, given, own, fits=True)
    return [finding.kind for finding in found]


def test_good_data_are_not_talked_about() -> None:
    labels = SCORES.argmax(axis=1)
    assert kinds(sample(ROWS, SCORES)) == []
    assert kinds(sample(ROWS, SCORES, labels), sample(ROWS, SCORES, seed=0)) == []


def test_copies_are_told() -> None:
    assert "copies" in kinds(sample(np.repeat(ROWS[:1], 128, axis=0), SCORES))


@pytest.mark.parametrize("is_told", [True, False])
def test_outputs_that_move_on_our_inputs_only_are_told(is_told: bool) -> None:
    flat = 1 + 1e-6 * SCORES if is_told else SCORES
    found = kinds(sample(ROWS, flat), sample(ROWS, SCORES, seed=0))
    assert found == (["response"] if is_told else [])
    assert kinds(sample(ROWS, flat)) == [], "without our own there is nothing to compare with"


def test_labels_are_compared_with_what_the_original_answers() -> None:
    right = SCORES.argmax(axis=1)
    mixed = np.random.default_rng(2).permutation(right)
    assert kinds(sample(ROWS, SCORES, mixed)) == ["labels"]
    assert kinds(sample(ROWS, SCORES, np.full(128, 3))) == ["labels"]
    assert kinds(sample(ROWS, SCORES, np.minimum(right + 1, 4))) == ["labels"]
