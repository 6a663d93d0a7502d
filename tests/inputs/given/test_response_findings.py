"""Outputs that hardly vary on the user's data, while they do on generated inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.response_findings import look_at_responses, spread_of
from onnxzip.runtime.outputs import Outputs

RNG = np.random.default_rng(0)
NORMALISED = RNG.standard_normal((64, 48)).astype(np.float32)
RAW = RNG.integers(0, 256, (64, 48)).astype(np.float32)
WEIGHT = RNG.standard_normal((48, 10)) / 7


def feeds_of(array: np.ndarray) -> FeedSet:
    return FeedSet(
        tuple({"x": array[s : s + 8]} for s in range(0, len(array), 8)), (8,) * (len(array) // 8)
    )


def answers(feeds: FeedSet) -> list[Outputs]:
    """What a classifier of normalised values answers: a gate, its classes, and how sure it is."""
    found: list[Outputs] = []
    for run in feeds:
        x = run["x"].astype(np.float64)
        gate = 1 / (1 + np.exp(-np.square(x).mean(axis=1, keepdims=True)))
        logits = x @ WEIGHT
        found.append({"gate": gate, "logits": logits, "class": logits.argmax(axis=1)})
    return found


def texts(given: np.ndarray, own: np.ndarray) -> list[str]:
    parts = feeds_of(given), feeds_of(own)
    found = look_at_responses(parts[0], answers(parts[0]), parts[1], answers(parts[1]))
    assert all(finding.kind == "response" and "\n" not in finding.text for finding in found)
    return [finding.text for finding in found]


def test_what_saturates_on_the_users_data_only_is_told() -> None:
    (text,) = texts(RAW, NORMALISED)
    assert text.startswith("output 'gate' varies by 0 of its size over your samples, by 0.05 ")
    assert "('x': 0 ... 255, mean 12" in text
    (text, other) = texts(np.zeros_like(RAW), NORMALISED)
    assert ("gate" in text, "logits" in other) == (True, True)


def test_what_varies_or_does_on_neither_is_no_finding() -> None:
    assert texts(NORMALISED, NORMALISED[::-1]) == []
    assert texts(0.01 * NORMALISED, NORMALISED) != []  # the gate is shut
    assert texts(NORMALISED, RAW) == []
    assert texts(RAW, RAW) == []
    assert texts(np.zeros_like(RAW[:8]), NORMALISED) != []
    feeds = FeedSet(({"x": RAW[:4]},), (4,))
    own = feeds_of(NORMALISED)
    assert look_at_responses(feeds, answers(feeds), own, answers(own)) == []  # too few to say


def test_outputs_of_many_shapes_and_of_none_are_no_error() -> None:
    feeds = FeedSet(tuple({"x": np.ones((1, n), np.float32)} for n in range(1, 17)), (1,) * 16)
    ragged: list[Outputs] = [{"y": run["x"], "empty": run["x"][:, :0]} for run in feeds]
    words: list[Outputs] = [{"y": run["x"], "empty": np.array(["a"])} for run in feeds]
    assert look_at_responses(feeds, ragged, feeds, words) == []


def test_a_spread_is_relative_to_size() -> None:
    rows = 3 + np.where(np.arange(8) % 2, 4.0, -4.0)[:, None] * np.ones(5)
    spread = spread_of(list(rows))
    assert (spread.low, spread.high, spread.mean) == (-1, 7, 3)
    assert spread.variation == pytest.approx(4 / 5)
    assert spread_of(list(1e-300 * rows)).variation == pytest.approx(4 / 5)
    assert math.isnan(spread_of(list(rows[:4])).variation)
    rows[0, 0] = np.nan
    assert math.isnan(spread_of(list(rows)).variation)
    assert spread_of(list(rows)).high == 7
