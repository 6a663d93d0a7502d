"""What people look at of an array: the same for both models, no more than a page holds."""

from __future__ import annotations

import base64
import io

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from onnxzip.prove.looks import look_at

RNG = np.random.default_rng(0)


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


@pytest.mark.parametrize(
    ("name", "shape", "look"),
    [
        ("x", (8, 8), "picture"),
        ("x", (1, 28, 28), "picture"),
        ("x", (3, 32, 32), "picture"),
        ("x", (32, 32, 3), "picture"),
        ("features", (64, 7, 7), "picture"),
        ("x", (5, 300), "curve"),
        ("embedding", (384,), "curve"),
        ("logits", (384,), "scores"),
        ("y", (10,), "scores"),
        ("y", (1,), "values"),
        ("y", (), "values"),
        ("x", (2, 3, 4, 5), "curve"),
    ],
)
def test_how_floats_are_looked_at(name: str, shape: tuple[int, ...], look: str) -> None:
    assert look_at(name, RNG.standard_normal(shape).astype(np.float32)).look == look


def test_ids_truth_values_and_texts_are_lists() -> None:
    ids = look_at("ids", np.arange(300).reshape(3, 100))
    assert (ids.look, ids.original, ids.note) == (
        "values",
        tuple(range(16)),
        "the first 16 of 300 values",
    )
    assert look_at("flags", np.array([True, False])).original == (True, False)
    texts = look_at("label", np.array(["cat", "x" * 99], object))
    assert (texts.dtype, texts.original) == ("string", ("cat", "x" * 40))


def test_bytes_are_a_picture_and_other_integers_are_not() -> None:
    assert look_at("x", np.zeros((3, 16, 16), np.uint8)).look == "picture"
    assert look_at("x", np.zeros((16, 16), np.int64)).look == "values"


def test_both_pictures_have_the_originals_range() -> None:
    original = np.linspace(0, 10, 64).reshape(8, 8)
    shown = look_at("y", original, np.where(original > 5, 20.0, original))
    before, after = pixels(shown.original_png), pixels(shown.compressed_png)
    assert (before.min(), before.max(), after.max()) == (0, 255, 255)
    np.testing.assert_array_equal(before[0], after[0])
    assert shown.note == "black is 0, white 10"


def test_pictures_are_small_and_without_numbers_black() -> None:
    shown = look_at("x", np.full((3, 500, 80), np.nan), None)
    assert shown.size == (80, 96)
    assert pixels(shown.original_png).shape == (96, 80, 3)
    assert pixels(shown.original_png).max() == 0
    assert shown.compressed_png == ""


def test_classes_are_those_that_are_among_the_best_of_either() -> None:
    before = np.arange(100, dtype=np.float32)
    after = before.copy()
    after[0] = 1000
    shown = look_at("scores", before, after)
    assert shown.indices == (99, 98, 97, 96, 95, 0)
    assert shown.compressed[-1] == 1000
    assert shown.note == "the top 5 of 100"
    share = np.full(50, 0.02)
    assert look_at("y", share).look == "scores"  # shares of one are scores, whatever they are called


def test_long_lines_are_thinned_out() -> None:
    shown = look_at("wave", RNG.standard_normal(1001), RNG.standard_normal(1001))
    assert len(shown.indices) == len(shown.original) == len(shown.compressed) <= 200
    assert shown.indices[:2] == (0, 6)
    assert shown.note == "1 in 6 of 1,001 values"


def test_other_floats_are_floats() -> None:
    shown = look_at("y", np.array([0.5, 1.25], ml_dtypes.bfloat16))
    assert (shown.look, shown.dtype, shown.original) == ("scores", "bfloat16", (0.5, 1.25))
