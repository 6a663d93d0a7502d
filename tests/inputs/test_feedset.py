"""Sets of feeds: what is held out, and how several are mixed."""

import numpy as np

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
    assert interleaved([long]) is long


def test_held_out_runs_keep_what_is_known_of_them() -> None:
    parts = FeedSet(({},) * 64, (1,) * 64, 5, "generated inputs: noise", "noise", True).hold_out()
    assert parts is not None
    for part in parts[:2]:
        assert (part.seed, part.family, part.is_like_real) == (5, "noise", True)
    assert parts[1].note.startswith("generated inputs: noise, held out: 16 of 64 samples")
