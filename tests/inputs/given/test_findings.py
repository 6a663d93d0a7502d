"""What is told about data that cannot be what a model will meet; nothing about those that can."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.findings import look_at

RNG = np.random.default_rng(0)
PICTURES = RNG.standard_normal((64, 3, 12, 12)).astype(np.float32)
RAW = RNG.integers(0, 256, PICTURES.shape).astype(np.float32)


def feeds_of(*arrays: np.ndarray, size: int = 8) -> FeedSet:
    """Cut arrays into runs of `size` samples."""
    starts = range(0, len(arrays[0]), size)
    runs = [{f"x{i}": array[s : s + size] for i, array in enumerate(arrays)} for s in starts]
    return FeedSet(tuple(runs), tuple(len(run["x0"]) for run in runs))


def kinds(*arrays: np.ndarray) -> list[str]:
    return [finding.kind for finding in look_at(feeds_of(*arrays))]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.repeat(PICTURES[:1], 64, axis=0), "copies"),
        (np.concatenate([PICTURES[:32]] * 2), "copies"),
        (RAW, "range"),
        (np.ascontiguousarray(RAW.transpose(0, 2, 3, 1)), "range"),
        (PICTURES[:9], "few samples"),
    ],
    ids=["one sample", "half are copies", "0..255", "0..255, channels last", "nine samples"],
)
def test_what_cannot_be_right_is_told(array: np.ndarray, kind: str) -> None:
    assert kinds(array) == [kind]
    (finding,) = look_at(feeds_of(array))
    assert "\n" not in finding.text
    assert len(finding.text) > 40


def test_constants_are_copies_too() -> None:
    assert kinds(np.full_like(PICTURES, 0.5)) == ["copies", "constant"]
    assert kinds(np.zeros((64, 5), np.float32)) == ["copies", "constant"]


@pytest.mark.parametrize(
    "array",
    [
        PICTURES,
        RAW / 255,
        RAW.astype(np.uint8),  # the model takes bytes: it scales them itself
        RNG.standard_normal((64, 40)).astype(np.float32),
        200 * RNG.random((64, 40)).astype(np.float32),  # no picture
        RNG.integers(0, 9000, (64, 16)),
        np.concatenate([PICTURES[:60], PICTURES[:4]]),
    ],
    ids=["normalised", "0..1", "bytes", "vectors", "large vectors", "ids", "four copies"],
)
def test_nothing_is_told_about_data_that_may_be_right(array: np.ndarray) -> None:
    assert kinds(array) == []


def test_samples_are_copies_where_all_inputs_are() -> None:
    """A constant mask or a length beside different samples is no copy."""
    masks = np.ones((64, 12), np.int64)
    assert kinds(PICTURES, masks) == []
    rate = FeedSet(tuple({"x": p[None], "sr": np.array(16000)} for p in PICTURES), (1,) * 64)
    assert look_at(rate) == []


def test_empty_and_ragged_inputs_are_no_error() -> None:
    past = np.zeros((64, 2, 0, 8), np.float32)
    assert kinds(PICTURES, past) == []
    ragged = FeedSet(tuple({"x": np.ones((1, n), np.float32) * n} for n in range(3, 70)), (1,) * 67)
    assert look_at(ragged) == []
