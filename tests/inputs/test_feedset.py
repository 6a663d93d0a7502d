"""Sets of feeds: what is held out, and how several are mixed."""

from dataclasses import replace

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet, interleaved


def test_every_fourth_run_is_held_out() -> None:
    feeds = tuple({"x": np.full((size, 1), i)} for i, size in enumerate((8,) * 9 + (5,)))
    whole = FeedSet(feeds, (8,) * 9 + (5,))
    found = whole.hold_out()
    assert found is not None
    fitted, held, is_held = found
    assert [int(run["x"][0, 0]) for run in held] == [3, 7]
    assert [int(run["x"][0, 0]) for run in fitted] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert (held.n_samples, fitted.n_samples) == (16, 61)
    assert np.flatnonzero(is_held).tolist() == [*range(24, 32), *range(56, 64)]
    assert "16 of 77 samples" in held.note
    assert held.seed is None


def test_few_samples_are_not_split() -> None:
    assert FeedSet(({},) * 7, (9,) * 7).n_samples == 63
    assert FeedSet(({},) * 7, (9,) * 7).hold_out() is None
    assert FeedSet(({},) * 3, (100,) * 3).hold_out() is None
    assert FeedSet(({},) * 64, (1,) * 64).hold_out() is not None


def test_some_of_what_is_not_held_out_is_searched_on() -> None:
    """Every eighth run; of few runs one, of fewer none."""
    given = FeedSet(tuple({"x": np.full(1, i)} for i in range(32)), (8,) * 32)
    rest, held, _ = given.hold_out() or pytest.fail("there is enough")
    fitted, tried, is_tried = rest.set_aside() or pytest.fail("there is enough")
    parts = [{int(run["x"][0]) for run in part} for part in (fitted, tried, held)]
    assert parts[1] == {9, 20, 30}
    assert set.union(*parts) == set(range(32))
    assert sum(map(len, parts)) == 32, "no run has two uses"
    assert is_tried.sum() == tried.n_samples == 24
    few = FeedSet(({},) * 8, (8,) * 8).hold_out()
    assert few is not None
    assert [len(part) for part in (few[0].set_aside() or ())[:2]] == [5, 1]
    assert FeedSet(({},) * 3, (20,) * 3).set_aside() is None


def test_runs_of_a_sequence_are_searched_on_together() -> None:
    rest = stream(16, 2)
    parts = rest.set_aside()
    assert parts is not None
    assert [float(run["x"][0]) for run in parts[1]] == [14, 15]


def numbered(n_runs: int, first: int, **facts: object) -> FeedSet:
    feeds = tuple({"x": np.full(1, first + i)} for i in range(n_runs))
    return FeedSet(feeds, tuple(range(1, n_runs + 1)), **facts)  # type: ignore[arg-type]


def test_a_run_of_each_in_turn() -> None:
    long = numbered(4, 0, seed=1, family="noise", is_like_real=True)
    short = numbered(2, 10, seed=1, family="levels")
    found = interleaved([long, short])
    assert [int(run["x"][0]) for run in found] == [0, 10, 1, 11, 2, 3]
    assert found.sizes == (1, 1, 2, 2, 3, 4)
    assert (found.seed, found.family, found.is_like_real) == (1, "", False)
    assert interleaved([long, long]).is_like_real
    assert interleaved([long]).feeds is long.feeds


def test_held_out_runs_keep_what_is_known_of_them() -> None:
    parts = FeedSet(({},) * 64, (1,) * 64, 5, "generated inputs: noise", "noise", True).hold_out()
    assert parts is not None
    for part in parts[:2]:
        assert (part.seed, part.family, part.is_like_real) == (5, "noise", True)
    assert parts[1].note.startswith("generated inputs: noise, held out: 16 of 64 samples")


START = np.zeros(1, np.float32)


def stream(n_runs: int, n_steps: int) -> FeedSet:
    feeds = tuple({"x": np.full(1, i, np.float32), "h": START} for i in range(n_runs))
    return FeedSet(feeds, (16,) * n_runs, carried={"h": "hn"}, n_steps=n_steps)


def add(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"hn": feeds["h"] + feeds["x"]}


def test_states_are_handed_on_until_the_next_start():
    found = [float(y["hn"][0]) for y in stream(5, 3).answers(add)]
    assert found == [0, 1, 3, 3, 7]


def test_states_that_are_not_finite_are_not_handed_on():
    found = list(stream(2, 2).answers(lambda feeds: {"hn": feeds["h"] + np.inf}))
    assert len(found) == 2
    fed: list[float] = []
    list(stream(2, 2).answers(lambda f: (fed.append(float(f["h"][0])), {"hn": f["h"] + np.inf})[1]))
    assert fed == [0, 0]


def test_runs_of_a_sequence_are_held_out_together():
    parts = stream(8, 2).hold_out()
    assert parts is not None
    assert parts[2].reshape(8, 16).all(axis=1).tolist() == [False] * 6 + [True] * 2
    assert stream(8, 4).hold_out() is None


def test_interleaved_runs_hand_nothing_on():
    assert not interleaved([stream(4, 2)]).carried
    assert not interleaved([stream(4, 2), stream(4, 2)]).carried


def test_states_count_only_where_they_are_all_there_is():
    assert stream(4, 2).states == {"hn"}
    assert replace(stream(4, 2), judges_states=True).states == set()
