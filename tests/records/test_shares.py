"""Shares of a whole number: they sum up to it, and no one is more than one off its due."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.records.shares import apportion, apportion_at_most

WEIGHTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=8)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**45), WEIGHTS)
def test_shares_sum_up_and_are_due(total: int, weights: list[int]) -> None:
    shares = apportion(total, weights)
    assert sum(shares) == total
    due = weights if any(weights) else [1] * len(weights)
    for share, weight in zip(shares, due, strict=True):
        assert -sum(due) < share * sum(due) - total * weight < sum(due)
    assert apportion(total, shares) == shares, "what was shared out once stays as it is"
    assert apportion(sum(weights), weights) == (weights if any(weights) else [0] * len(weights))


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (10, [0, 5, 1], [0, 8, 2]),
        (3, [0, 0], [2, 1]),
        (7, [], []),
        (1, [6, 10], [0, 1]),
    ],
)
def test_the_largest_remainders_get_what_is_left(
    total: int, weights: list[int], shares: list[int]
) -> None:
    assert apportion(total, weights) == shares


def test_sizes_stay_unless_they_are_too_much() -> None:
    assert apportion_at_most(10, [3, 4]) == [3, 4]
    assert apportion_at_most(5, [6, 4]) == [3, 2]
    assert apportion_at_most(5, []) == []
