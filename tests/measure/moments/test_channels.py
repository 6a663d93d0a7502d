"""The ranges of channels in both halves of what is run, and vectors of the second."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxzip import graph
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.channels import Channels, measure_channels
from tests.casebook.kit import BATCH, Draft, value

WIDTH = 6


def doubled() -> onnx.ModelProto:
    draft = Draft()
    draft.add("Add", ["x", "x"], "y")
    return draft.model([value("x", [BATCH, None])], [value("y", None)])


def channels(*arrays: object, name: str = "y") -> Channels | None:
    runs = tuple({"x": np.asarray(array, np.float32)} for array in arrays)
    feeds = FeedSet(runs, tuple(len(run["x"]) for run in runs))
    read = graph.read_model(doubled())
    return measure_channels(read, [name], feeds, None, lambda fraction: None).get(name)


@pytest.mark.parametrize(("name", "factor"), [("x", 1), ("y", 2)])
def test_runs_are_in_both_halves_by_turns(name: str, factor: int) -> None:
    rng = np.random.default_rng(0)
    runs = [rng.standard_normal((8, WIDTH)).astype(np.float32) for _ in range(4)]
    found = channels(*runs, name=name)
    assert found is not None
    first, second = factor * np.concatenate(runs[::2]), factor * np.concatenate(runs[1::2])
    assert np.array_equal(found.lows, first.min(axis=0))
    assert np.array_equal(found.held_highs, second.max(axis=0))
    assert np.array_equal(found.peaks, np.abs(first).max(axis=0))
    assert np.array_equal(found.all_peaks, factor * np.abs(np.concatenate(runs)).max(axis=0))
    assert np.array_equal(found.held, second)


def test_vectors_of_a_single_run_are_in_both_halves() -> None:
    found = channels(np.arange(4 * WIDTH).reshape(4, WIDTH))
    assert found is not None
    assert found.highs[0] == 2 * 2 * WIDTH
    assert found.held_highs[0] == 2 * 3 * WIDTH
    assert found.lows[0] == 0


def test_values_without_channels_are_left_out() -> None:
    good = np.ones((4, WIDTH))
    assert channels(good, np.where(good > 0, np.inf, 0)) is None
    assert channels(good, np.ones((4, WIDTH + 1))) is None
    assert channels(np.ones((1, WIDTH))) is None
