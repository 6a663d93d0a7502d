"""What is left of a tolerance is given to the last layers; those before them stay as fitted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from onnxzip.choose.finish import Fitted, step_back, with_last_moved
from onnxzip.choose.lagrangian import Sensitivity, predicted_loss
from onnxzip.records.check import Check
from onnxzip.records.plan import Candidate, Plan
from tests.choose.test_search import make_layer

NAMES = ("first", "second", "third", "fourth")


def make_rungs(name: str) -> list[Candidate]:
    layer: Any = make_layer(name, 1000)
    return [
        Candidate(layer, "scalar", {"rate": rate}, int(1000 * rate), 2.0**-rate)
        for rate in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    ]


def make_base() -> tuple[Fitted, dict[str, list[Candidate]], dict[str, Sensitivity]]:
    ladders = {name: make_rungs(name) for name in NAMES}
    sensitivities = {name: Sensitivity(((0.1, 1.0),)) for name in NAMES}
    chosen = {name: ladders[name][3] for name in NAMES}
    planned = Plan(chosen, 0.125, 16000, 2.0**-4)
    payload: Any = object()
    fitted = {name: replace(c, encoded=payload) for name, c in chosen.items()}
    return Fitted(planned, replace(planned, chosen=fitted), 0.1), ladders, sensitivities


@pytest.mark.parametrize("ratio", [0.95, 1.06])
def test_only_the_last_layers_move_and_the_loss_follows(ratio: float) -> None:
    base, ladders, sensitivities = make_base()
    found = with_last_moved(base, ratio, NAMES, ladders, sensitivities)
    assert found is not None
    for name in NAMES[:-1]:
        assert found.chosen[name] is base.plan.chosen[name]
    for name in NAMES[-1:]:
        assert found.chosen[name].encoded is None
        assert (found.chosen[name].error > base.plan.chosen[name].error) == (ratio > 1)
    before = predicted_loss(base.planned, sensitivities)
    assert predicted_loss(found, sensitivities) / before == pytest.approx(ratio, rel=2e-3)


def test_what_the_last_layers_cannot_make_up_for_is_not_tried() -> None:
    base, ladders, sensitivities = make_base()
    assert with_last_moved(base, 0.5, NAMES, ladders, sensitivities) is None
    assert with_last_moved(base, 1.05, (), ladders, sensitivities) is None


def failed(value: float, limit: float, *, higher_is_better: bool = False) -> Check:
    return Check(
        kind="drift",
        provider="CPU",
        metric="m",
        value=value,
        limit=limit,
        passed=False,
        n_samples=96,
        seed=None,
        higher_is_better=higher_is_better,
    )


@pytest.mark.parametrize(
    ("check", "share"),
    [
        (failed(0.104, 0.1), 0.985 / 1.04),
        (failed(0.3, 0.1), 0.5),
        (failed(20.0, 21.0, higher_is_better=True), 0.985 * 10 ** (-1 / 20)),
        (failed(0.01, 0.0), 0.85),
        (failed(math.inf, 0.1), 0.85),
        (failed(math.nan, 0.1), 0.85),
    ],
)
def test_a_plan_steps_back_by_what_was_measured(check: Check, share: float) -> None:
    assert step_back(0, [check]) == pytest.approx(share)
    assert step_back(1, [failed(0.1001, 0.1), check]) == pytest.approx(min(share, 0.985 / 1.001))


def test_where_measured_steps_do_not_help_larger_ones_follow() -> None:
    steps = [step_back(n, [failed(0.101, 0.1)]) for n in range(7)]
    assert steps == [pytest.approx(0.985 / 1.01)] * 2 + [0.85] * 4 + [None]
