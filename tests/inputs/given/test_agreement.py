"""Whether inputs that were made up have the range of the user's."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.scalings import SCALINGS
from onnxzip.inputs.given.agreement import agreeing_scalings, agrees

RNG = np.random.default_rng(0)
PICTURES = RNG.random((32, 3, 8, 8))
SCALED = {s.name: s.apply(PICTURES).astype(np.float32) for s in SCALINGS}


def feeds_of(**arrays: np.ndarray) -> FeedSet:
    n_runs = len(next(iter(arrays.values()))) // 8
    parts = {name: np.split(array, n_runs) for name, array in arrays.items()}
    runs = [{name: some[i] for name, some in parts.items()} for i in range(n_runs)]
    return FeedSet(tuple(runs), (8,) * n_runs)


@pytest.mark.parametrize("name", SCALED)
def test_the_scaling_of_the_data_is_found(name: str) -> None:
    runs = {scaling: [{"x": array}] for scaling, array in SCALED.items()}
    assert agreeing_scalings(feeds_of(x=SCALED[name]), "x", runs)[0] == name


def test_drawings_are_fed_like_photographs() -> None:
    """Digits, mostly black, go from 0 to 1 as photographs do."""
    digits = np.where(RNG.random((32, 3, 8, 8)) < 0.7, 0.0, PICTURES).astype(np.float32)
    runs = {scaling: [{"x": array}] for scaling, array in SCALED.items()}
    assert agreeing_scalings(feeds_of(x=digits), "x", runs) == ["0..1"]


@pytest.mark.parametrize(
    ("given", "own", "is_alike"),
    [
        (SCALED["0..1"], SCALED["0..1"], True),
        (SCALED["0..1"], SCALED["0..255"], False),
        (SCALED["0..255"], SCALED["mean/deviation"], False),
        (0.3 * RNG.standard_normal((32, 40)), RNG.standard_normal((32, 40)), True),
        (1e-30 * RNG.standard_normal((32, 40)), RNG.standard_normal((32, 40)), False),
        (RNG.integers(0, 9, (32, 4)), RNG.integers(0, 9999, (32, 4)), True),
        (np.full((32, 40), np.nan), RNG.standard_normal((32, 40)), True),
    ],
)
def test_ranges_agree(given: np.ndarray, own: np.ndarray, is_alike: bool) -> None:
    assert agrees(feeds_of(x=given), feeds_of(x=own)) == is_alike


def test_all_inputs_have_to_agree_but_those_that_may_repeat() -> None:
    a, b = SCALED["0..1"], SCALED["0..255"]
    assert not agrees(feeds_of(x=a, y=b), feeds_of(x=a, y=a))
    assert agrees(feeds_of(x=a, attention_mask=b), feeds_of(x=a, attention_mask=a))
