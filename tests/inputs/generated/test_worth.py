"""What answers are worth, and the context that frames of a stream begin with."""

import numpy as np
import pytest

from onnxzip.inputs.generated.recordings import overlap_of
from onnxzip.inputs.generated.worth import CLEAR, FINITE, NOT_FINITE, TELLING, worth_of


def test_scores_near_zero_tell_less_than_scores_that_find_something():
    states = np.linspace(-9, 9, 8)
    assert worth_of({"score": np.array([[0.001], [0.003]]), "state": states}) == TELLING
    assert worth_of({"score": np.array([[0.001], [0.3]]), "state": states}) == CLEAR


def test_shares_of_a_whole_are_small_by_nature():
    shares = np.abs(np.random.default_rng(0).standard_normal((4, 1000)))
    assert worth_of({"y": shares / shares.sum(axis=1, keepdims=True)}) == CLEAR


def test_constants_and_what_is_not_finite_are_worth_least():
    assert worth_of({"y": np.ones((4, 3))}) == FINITE
    assert worth_of({"y": np.array([1.0, np.nan])}) == NOT_FINITE
    assert worth_of({"words": np.array(["a"])}) == CLEAR


@pytest.mark.parametrize(
    ("length", "overlap"),
    [
        (576, 64),
        (288, 32),
        (512, 0),
        (160, 0),
        (320, 0),
        (480, 0),
        (1536, 0),
        (768, 0),
        (400, 0),
        (441, 0),
    ],
)
def test_context_is_a_small_power_of_two_beside_a_larger_one(length: int, overlap: int):
    assert overlap_of(length) == overlap
