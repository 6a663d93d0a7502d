"""Weights of which nothing is known: which ones they are, and that their ladders end at 12 bits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onnxzip.choose import blind
from onnxzip.choose.blind import HARMLESS_ERROR, harmless
from onnxzip.graph import read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.subject import Sample, Subject
from tests.choose.test_search import make_ladder, make_layer
from tests.textmodels import model_from_text

TWO_HEADS = read_model(
    model_from_text(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 16] x) => (float[n, 16] a, float[n, 16] b)
        <float[16, 16] trunk, float[16, 16] left, float[16, 16] right> {
            h = MatMul(x, trunk)
            a = MatMul(h, left)
            b = MatMul(h, right)
        }"""
    )
)
REFERENCE = [{name: np.random.default_rng(0).standard_normal((8, 16)) for name in "ab"}]


def subject(*silent: str, seed: int | None) -> Subject:
    feeds = FeedSet(({},), (8,), seed)
    samples = (Sample(feeds, REFERENCE, make_metric("nrmse")),)  # type: ignore[arg-type]
    return Subject(
        samples, samples, samples, ("CPU",), None, unproven=dict.fromkeys(silent, "is 0 everywhere")
    )


def silent(*outputs: str, seed: int | None) -> set[str]:
    proposal: Any = SimpleNamespace(
        model=TWO_HEADS, ladders={"trunk": [], "left": [], "right": [], "elsewhere": []}
    )
    found = blind.silent(proposal, subject(*outputs, seed=seed))
    assert all("12 bits" in reason for reason in found.values())
    return set(found)


@pytest.mark.parametrize("seed", [0, None])
def test_no_weight_is_silent_where_all_outputs_tell(seed: int | None) -> None:
    assert silent(seed=seed) == set()


@pytest.mark.parametrize("seed", [0, None])
def test_another_output_tells_of_a_weight(seed: int | None) -> None:
    assert silent("b", seed=seed) == {"right"}
    assert silent("a", "b", seed=seed) == {"trunk", "left", "right"}


def test_only_errors_that_are_harmless_are_left() -> None:
    rungs = [(100, 0.1), (200, 1.01 * HARMLESS_ERROR), (300, HARMLESS_ERROR), (400, 1e-5)]
    ladders = {name: make_ladder(make_layer(name, 1000), rungs) for name in ("known", "unknown")}
    found = harmless(ladders, ["unknown"])
    assert found["known"] == ladders["known"]
    assert [candidate.error for candidate in found["unknown"]] == [HARMLESS_ERROR, 1e-5]


def test_what_the_users_inputs_leave_open_is_a_warning_and_what_ours_leave_a_doubt() -> None:
    missed = blind.unreached(["far", "farther"])
    assert blind.doubts(missed, is_generated=True) == ["no input reached weight 'far' and 1 more"]
    assert blind.findings(missed, is_generated=True) == []
    assert blind.doubts(missed, is_generated=False) == []
    (finding,) = blind.findings(missed, is_generated=False)
    assert finding.text.startswith(
        "no input reached weight 'far' and 1 more, which keeps 12 bits or more; pass"
    )
    assert blind.findings({}, is_generated=False) == []
