"""A ladder that is no match for others ends early; one that may still win goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onnxzip.propose.dominance import _MOST_EXCESS, Usual, worthwhile
from onnxzip.records.plan import Candidate, Skip
from tests.choose.test_search import make_ladder, make_layer

LAYER = make_layer("w", 10_000)
USUAL = Usual(make_ladder(LAYER, [(100, 0.5), (200, 0.25), (390, 0.3), (400, 0.125)]))


def candidate(error: float, excess: float) -> Candidate:
    """Return a candidate whose bytes are so many times what is usual: 50 / error."""
    return make_ladder(LAYER, [(round(50 / error * excess), error)])[0]


@pytest.mark.parametrize("error", [0.5, 0.4, 0.25, 0.2, 0.125])
def test_what_is_usual_lies_between_two_rates(error: float) -> None:
    assert USUAL.excess(candidate(error, 1.0)) == pytest.approx(1, abs=0.02)
    assert USUAL.excess(candidate(error, 1.5)) == pytest.approx(1.5, abs=0.02)


def test_nothing_is_usual_above_what_is_the_most_exact() -> None:
    assert USUAL.excess(candidate(0.1, 9.0)) == 0
    assert Usual([]).excess(candidate(0.3, 9.0)) == 0


def test_what_is_less_exact_than_all_is_compared_with_the_smallest() -> None:
    (offer,) = make_ladder(LAYER, [(150, 0.9)])
    assert USUAL.excess(offer) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("excesses", "n_made"),
    [
        ((1.3, 1.3, 1.3, 1.3), 2),
        ((1.3, 1.1, 1.3, 1.1), 4),
        ((0.8, 0.9, 1.3, 1.3, 1.0), 4),
        ((_MOST_EXCESS * 0.98,) * 4, 4),
    ],
)
def test_two_in_a_row_end_a_ladder(excesses: tuple[float, ...], n_made: int) -> None:
    made = []

    def offers() -> Iterator[Candidate | Skip]:
        yield Skip("w", "other", "one of its methods does not take it")
        for i, excess in enumerate(excesses):
            made.append(candidate(0.5 - 0.05 * i, excess))
            yield made[-1]

    assert len(list(worthwhile(offers(), USUAL))) == 1 + n_made
    assert len(made) == n_made
