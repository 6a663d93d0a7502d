"""What the verdict is on is seen by no trial, end to end, and what was fitted to by no verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxzip
from onnxzip.choose.refitting.refit import Refitter
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.aim import Aim
from onnxzip.measure.metrics.top1 import Top1
from onnxzip.measure.trial_session import TrialSession
from onnxzip.propose.working import recalled
from onnxzip.prove import drift
from onnxzip.records.aliases import Array
from onnxzip.runtime.outputs import Outputs

MODELS = Path(__file__).parents[2] / "models"
QUICK: dict[str, Any] = {"passes": "scalar", "level": 2}


class Seen:
    """Keeps which samples were used for what."""

    def __init__(self) -> None:
        self.samples: dict[str, set[bytes]] = {"tried": set(), "fitted": set(), "judged": set()}
        self.guides: list[Aim] = []

    def note(self, use: str, feeds: FeedSet) -> None:
        """Keep every sample by its bytes."""
        self.samples[use] |= {row.tobytes() for run in feeds for array in run.values() for row in array}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Samples of trials, of second moments and refits, and of drift checks."""
    found = Seen()
    runs, check, refitter = TrialSession._runs, drift.check_outputs, Refitter.__init__
    collect, aim = recalled.collect_statistics, Aim.__init__

    def spy_runs(self: TrialSession, weights: Mapping[str, Array], feeds: FeedSet) -> Iterator[Outputs]:
        found.note("tried", feeds)
        return runs(self, weights, feeds)

    def spy_check(reference: Any, outputs: Any, feeds: FeedSet, *others: Any, **named: Any) -> Any:
        if "held out" in feeds.note:  # and no second opinion
            found.note("judged", feeds)
        return check(reference, outputs, feeds, *others, **named)

    def spy_refitter(self: Refitter, *arguments: Any) -> None:
        refitter(self, *arguments)
        found.note("fitted", self._feeds)

    def spy_collect(model: Any, layers: Any, feeds: FeedSet, *others: Any) -> Any:
        found.note("fitted", feeds)
        return collect(model, layers, feeds, *others)

    def spy_aim(self: Aim, subject: Any) -> None:
        aim(self, subject)
        found.guides.append(self)

    monkeypatch.setattr(TrialSession, "_runs", spy_runs)
    monkeypatch.setattr(drift, "check_outputs", spy_check)
    monkeypatch.setattr(Refitter, "__init__", spy_refitter)
    monkeypatch.setattr(recalled, "collect_statistics", spy_collect)
    monkeypatch.setattr(Aim, "__init__", spy_aim)
    return found


def images(n: int) -> tuple[Array, Array]:
    with np.load(MODELS / "digits_calibration.npz") as arrays:
        labels = np.load(MODELS / "digits_calibration_labels.npy")
        return arrays["image"][:n], labels[:n]


@pytest.mark.parametrize("n", [64, 200])
def test_no_trial_is_on_what_the_verdict_is_on(seen: Seen, n: int) -> None:
    data, _ = images(n)
    onnxzip.compress(MODELS / "digits_cnn.onnx", calibration={"image": data}, **QUICK)
    tried, fitted, judged = (seen.samples[use] for use in ("tried", "fitted", "judged"))
    assert len(judged) == 8 * (n // 32)
    assert len(tried) == n - len(judged)
    assert not tried & judged
    assert fitted <= tried
    assert not fitted & judged


def test_neither_is_the_guide_of_a_metric_that_counts(seen: Seen, tmp_path: Path) -> None:
    data, labels = images(200)
    np.save(tmp_path / "labels.npy", labels)
    onnxzip.compress(
        MODELS / "digits_cnn.onnx",
        calibration={"image": data},
        metric="top1",
        labels=tmp_path / "labels.npy",
        tolerance=0.03,
        **QUICK,
    )
    assert not seen.samples["tried"] & seen.samples["judged"]
    by_sample = {row.tobytes(): label for row, label in zip(data, labels, strict=True)}
    for aim in seen.guides:
        assert aim.tolerance is not None, "it is guided"
        (sample,) = aim._subject.searched
        metric = sample.metric
        assert isinstance(metric, Top1)
        assert metric.labels is not None
        rows = [row for run in sample.feeds for row in run["image"]]
        assert [by_sample[row.tobytes()] for row in rows] == metric.labels.tolist()


def test_made_up_inputs_that_judge_are_not_fitted_to(seen: Seen) -> None:
    """They are tried: a search apart from the verdict would say no more about the user's inputs."""
    onnxzip.compress(MODELS / "digits_cnn.onnx", **QUICK)
    assert seen.samples["judged"] <= seen.samples["tried"]
    assert not seen.samples["fitted"] & seen.samples["judged"]
