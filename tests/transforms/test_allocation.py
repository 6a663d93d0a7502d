"""The least cost within a sum of squares, against all picks there are."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.transforms.allocation import cheapest

SETTINGS = settings(derandomize=True, deadline=None, max_examples=80)


def random_table(seed: int, n_items: int, n_options: int) -> tuple[np.ndarray, np.ndarray]:
    """Options that cost less lose more; the last one loses nothing, some do not exist."""
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.random((n_items, n_options)), axis=1)
    squares = -np.sort(-(rng.random((n_items, n_options)) ** 3), axis=1)
    squares[:, -1] = 0
    costs[:, :-1][rng.random((n_items, n_options - 1)) < 0.2] = np.inf
    return costs, squares


@SETTINGS
@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 5), st.floats(0, 2))
def test_picks_fit_and_are_nearly_the_cheapest(
    seed: int, n_items: int, n_options: int, room: float
) -> None:
    costs, squares = random_table(seed, n_items, n_options)
    picks = cheapest(costs, squares, room)
    rows = np.arange(n_items)
    assert np.isfinite(costs[rows, picks]).all()
    assert squares[rows, picks].sum() <= room
    fitting = [
        costs[rows, list(p)].sum()
        for p in itertools.product(range(n_options), repeat=n_items)
        if squares[rows, list(p)].sum() <= room
    ]
    # what the hull leaves between two picks is at most one item's step
    assert min(fitting) <= costs[rows, picks].sum() <= min(fitting) + 1


def test_one_item_takes_the_cheapest_option_that_fits() -> None:
    costs, squares = np.array([[1.0, 2.0, 9.0]]), np.array([[0.5, 0.3, 0.0]])
    found = [int(cheapest(costs, squares, room)[0]) for room in (1.0, 0.4, 0.1)]
    assert found == [0, 1, 2]


def test_what_counts_little_gives_most() -> None:
    costs = np.array([[1.0, 4.0], [1.0, 4.0]])
    squares = np.array([[0.9, 0.0], [0.1, 0.0]])
    assert cheapest(costs, squares, 0.5).tolist() == [1, 0]
