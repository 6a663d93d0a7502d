"""What is left of a tolerance is given to the last layers; those before them stay as fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onnxzip.choose.finish import Fitted, with_last_moved
from onnxzip.choose.lagrangian import Sensitivity, predicted_loss
from onnxzip.records.plan import Candidate, Plan
from tests.choose.test_search import make_layer

NAMES = ("first", "second", "third", "fourth")


def make_rungs(name: str) -> list[Candidate]:
    layer: Any = make_layer(name, 1000)
    return [
        Candidate(layer, "scalar", {"rate": rate}, "stored", int(1000 * rate), 2.0**-rate, None)
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
