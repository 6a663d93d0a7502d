"""Runs that hand states on: a model's errors come back to it, and sequences stay together."""

import numpy as np

from onnxzip.inputs.feedset import FeedSet, interleaved

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
