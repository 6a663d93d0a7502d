"""The layers that contradict a prediction are found by measuring parts of a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from onnxzip.choose.blame import blame, norm


@pytest.mark.parametrize("n_layers", [1, 2, 7, 64, 100])
@pytest.mark.parametrize("loss", [0.5, math.inf, math.nan])
def test_one_layer_that_jumps_is_found(n_layers: int, loss: float) -> None:
    predicted = {f"w{i}": 0.01 for i in range(n_layers)}
    jumping = f"w{n_layers * 2 // 3}"
    measured: list[Sequence[str]] = []

    def measure(names: Sequence[str]) -> float:
        measured.append(names)
        return loss if jumping in names else norm(predicted[name] for name in names)

    found = blame(predicted, measure, 40)
    assert found[jumping] is loss
    assert all(value == 0.01 for name, value in found.items() if name != jumping)
    assert len(measured) <= 2 * math.ceil(math.log2(n_layers)) + 2


def test_the_worst_of_several_are_found_first() -> None:
    true = {f"w{i}": 0.01 for i in range(32)} | {"w3": 0.9, "w20": 0.5, "w31": 0.2}
    found = blame(
        dict.fromkeys(true, 0.01), lambda names: norm(true[name] for name in names), max_measurements=12
    )
    assert found["w3"] == 0.9
    assert "w31" not in found


def test_what_costs_what_was_predicted_is_left_alone() -> None:
    n_measured = 0

    def measure(names: Sequence[str]) -> float:
        nonlocal n_measured
        n_measured += 1
        return 0.01 * len(names) ** 0.5

    assert blame(dict.fromkeys("abcdefgh", 0.01), measure, 30) == {}
    assert n_measured == 2
    assert blame({}, measure, 30) == {}
