"""The choice over layers by given times and losses."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.propose.factorising.choosing import Choice, Picks, choose, frontier
from onnxzip.propose.factorising.options import Option

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


def ladder(*rungs: tuple[float, float]) -> list[Choice]:
    """Choices of (seconds, loss)."""
    return [Choice(Option("out", 16 * (i + 1)), s, 0.1, loss) for i, (s, loss) in enumerate(rungs)]


def in_squares(picks: Picks) -> float:
    return math.sqrt(sum(choice.loss**2 for choice in picks.values()))


@SETTINGS
@given(st.integers(0, 999), st.integers(1, 6), st.floats(0.001, 2), st.floats(0.5, 2))
def test_what_is_chosen_stays_within_what_is_allowed(
    seed: int, n_layers: int, allowed: float, factor: float
) -> None:
    """Whatever the loss of the whole is to those of its parts; and nothing slower is chosen."""
    rng = np.random.default_rng(seed)
    choices = {
        f"w{i}": ladder(*zip(np.sort(rng.random(4)), -np.sort(-rng.random(4)), strict=True))
        for i in range(n_layers)
    }
    own = {name: float(found[-1].seconds + rng.random()) for name, found in choices.items()}
    measured: list[float] = []

    def measure(picks: Picks) -> float:
        measured.append(factor * in_squares(picks))
        return measured[-1]

    picks = choose(choices, own, measure, allowed)
    assert not picks or factor * in_squares(picks) <= allowed
    assert len(measured) <= 10
    if picks:
        assert factor * in_squares(picks) in measured  # it is a measured plan, not a predicted one
    if allowed >= factor * math.sqrt(n_layers):
        assert all(picks[name] == found[0] for name, found in choices.items())


def test_time_is_saved_where_it_costs_least() -> None:
    choices = {"calm": ladder((1.0, 0.01)), "nervous": ladder((1.0, 0.5))}
    picks = choose(choices, {"calm": 2.0, "nervous": 2.0}, in_squares, 0.1)
    assert set(picks) == {"calm"}


def test_nothing_is_chosen_where_nothing_may_be_lost_or_all_is_ruined() -> None:
    ruined = {"w": ladder((1.0, math.inf))}
    assert choose(ruined, {"w": 2.0}, in_squares, 1.0) == {}
    assert choose({"w": ladder((1.0, 0.1))}, {"w": 2.0}, in_squares, 0.0) == {}
    assert choose({"w": ladder((1.0, 0.1))}, {"w": 2.0}, lambda picks: math.inf, 1.0) == {}
    assert choose({}, {}, in_squares, 1.0) == {}


def test_a_ruinous_choice_leaves_the_milder_ones() -> None:
    choices = {"w": ladder((1.0, math.inf), (1.5, 0.1))}
    assert choose(choices, {"w": 2.0}, in_squares, 0.2) == {"w": choices["w"][1]}


def test_the_frontier_has_no_choice_that_is_slower_and_loses_more() -> None:
    errors = [(3.0, 0.1), (1.0, 0.3), (2.0, 0.3), (2.5, 0.05), (1.0, 0.4)]
    found = frontier([Choice(Option("out", 16), s, e) for s, e in errors])
    assert [(c.seconds, c.error) for c in found] == [(1.0, 0.3), (2.5, 0.05)]
