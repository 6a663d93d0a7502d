"""What is told about data that cannot be what a model will meet; nothing about those that can."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.given.findings import look_at
from onnxzip.records.input_scaling import InputScaling

RNG = np.random.default_rng(0)
PICTURES = RNG.standard_normal((64, 3, 12, 12)).astype(np.float32)
RAW = RNG.integers(0, 256, PICTURES.shape).astype(np.float32)
DIM = np.clip(120 + 20 * RNG.standard_normal((64, 3, 20, 28)), 0, 255).round().astype(np.float32)
RESIZED = (RAW[..., :-1] + RAW[..., 1:]) / 2
GREY = np.where(RNG.random((64, 1, 28, 28)) < 0.8, 0.0, RNG.integers(0, 256, (64, 1, 28, 28)))
AUDIO = (1e-3 * RNG.standard_normal((64, 4000))).astype(np.float32)
ONE_HOT = np.eye(40, dtype=np.float32)[RNG.integers(0, 40, (64, 12))]
COUNTS = RNG.poisson(0.05, (64, 1000)).astype(np.float32) * RNG.integers(1, 250, (64, 1000))
LENGTHS = RNG.integers(9, 24, 64)
SHOWN = (np.arange(24) < LENGTHS[:, None]).astype(np.int64)
IDS = SHOWN * RNG.integers(5, 9000, SHOWN.shape)
BYTES, UNIT = InputScaling((1 / 255,), (0.0,)), InputScaling((1 / 0.229,) * 3, (-0.485 / 0.229,) * 3)


def feeds_of(*arrays: np.ndarray, size: int = 8, **named: np.ndarray) -> FeedSet:
    """Cut arrays into runs of `size` samples."""
    every = {**{f"x{i}": array for i, array in enumerate(arrays)}, **named}
    n_samples = len(next(iter(every.values())))
    starts = range(0, n_samples, size)
    runs = [{name: array[s : s + size] for name, array in every.items()} for s in starts]
    return FeedSet(tuple(runs), tuple(min(size, n_samples - s) for s in starts))


def kinds(*arrays: np.ndarray, **named: np.ndarray) -> list[str]:
    floats = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
    found = look_at(feeds_of(*floats, **named))
    assert all("\n" not in finding.text and len(finding.text) > 40 for finding in found)
    return [finding.kind for finding in found]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.repeat(PICTURES[:1], 64, axis=0), "copies"),
        (np.concatenate([PICTURES[:32]] * 2), "copies"),
        (np.concatenate([PICTURES[:60], PICTURES[:4]]), "copies"),
        (PICTURES[:1] + 1e-4 * PICTURES, "alike"),
        (PICTURES[:9], "few samples"),
        (PICTURES[:1], "single sample"),
    ],
    ids=["one sample", "half", "a quarter of the held-out", "one, shaken", "nine samples", "a sample"],
)
def test_samples_that_are_too_few_or_the_same(array: np.ndarray, kind: str) -> None:
    assert kinds(array) == [kind]


@pytest.mark.parametrize(
    "array",
    [
        RAW,
        np.ascontiguousarray(RAW.transpose(0, 2, 3, 1)),
        RAW[:, :1],
        RAW.astype(np.float16),
        DIM,
        RESIZED,
        GREY,
        GREY.reshape(64, 784),
        GREY[:, 0],
        RAW.reshape(64, -1),
        255 * RNG.random((64, 784)),
        RNG.integers(0, 256, (64, 5, 3, 8, 8)).astype(np.float32),
        np.rint(3000 * RNG.standard_normal((64, 1, 1600))),
    ],
    ids=[
        *("pictures", "channels last", "one channel", "halves", "mean 120", "resized", "digits"),
        *("flat digits", "no channel axis", "flat", "flat, no whole numbers", "films", "audio"),
    ],
)
def test_raw_values_are_told(array: np.ndarray) -> None:
    assert "range" in kinds(array)


@pytest.mark.parametrize(
    "array",
    [
        PICTURES,
        RAW / 255,
        (RAW - 128) / 64,
        RAW.astype(np.uint8),  # the model takes bytes: it scales them itself
        PICTURES[:, 0, 0],
        200 * RNG.random((64, 40)),  # no picture
        250 * RNG.random((64, 90)) ** 9,
        AUDIO,
        np.rint(300 * RNG.standard_normal((64, 20))),
        ONE_HOT,
        ONE_HOT[:, :, None, :],
        COUNTS,
        np.maximum(RNG.standard_normal((64, 512)) - 2, 0),
        300 + RNG.standard_normal((64, 12)),
        RNG.standard_normal((64, 12)) * 10.0 ** np.arange(12) + 1e6 * (np.arange(12) % 3 == 0),
        10 * np.log10(RNG.random((64, 1, 80, 30))) - 20,
        RNG.integers(0, 9000, (64, 16)),
        RNG.random((64, 1)),
        np.concatenate([PICTURES[:61], PICTURES[:3]]),
    ],
    ids=[
        *("normalised", "0..1", "by mean and deviation", "bytes", "vectors", "large vectors"),
        *("skewed features", "low audio", "whole features", "one-hot", "one-hot maps", "counts"),
        *("sparse", "kelvin", "many scales", "decibels", "ids", "a number each", "three copies"),
    ],
)
def test_nothing_is_told_about_data_that_may_be_right(array: np.ndarray) -> None:
    assert kinds(array) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_twentieth_that_repeats_is_no_finding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_samples = int(rng.integers(64, 400))
    array = rng.standard_normal((n_samples, 5)).astype(np.float32)
    copied = rng.permutation(n_samples)[: 2 * (n_samples // 20)].reshape(2, -1)
    array[copied[0]] = array[copied[1]]
    assert kinds(array) == []


def test_constants_are_copies_too() -> None:
    assert kinds(np.full_like(PICTURES, 0.5)) == ["copies", "constant"]
    assert kinds(np.zeros((64, 5), np.float32)) == ["copies", "constant"]
    assert kinds(input_ids=np.zeros((64, 24), np.int64)) == ["copies", "constant"]
    assert kinds(x=np.zeros((64, 24), np.int64), attention_mask=SHOWN) == ["copies", "constant"]
    assert kinds(input_ids=np.full((64, 24), 7), type=IDS) == ["constant"]


def test_an_input_that_stays_the_same_beside_others() -> None:
    style = np.repeat(PICTURES[:1, 0, 0], 64, axis=0)
    assert kinds(PICTURES, style) == ["constant"]
    for name in ("position", "hidden_state", "h0", "noise_scale", "coordinates", "attention_mask"):
        assert kinds(PICTURES, **{name: style}) == []
    assert kinds(PICTURES, np.zeros((64, 12), np.float32)) == ["constant"]
    assert kinds(PICTURES, cache=np.zeros((64, 12), np.float32)) == []
    assert kinds(input_ids=IDS, token_type_ids=np.zeros_like(IDS), attention_mask=SHOWN) == []


def test_masks_that_hide_everything_or_nothing() -> None:
    nothing, everything = np.ones_like(SHOWN), np.zeros_like(SHOWN)
    assert kinds(input_ids=IDS, attention_mask=everything) == ["mask"]
    assert kinds(input_ids=IDS, attention_mask=nothing) == ["mask"]
    assert kinds(input_ids=IDS[:, ::-1], attention_mask=nothing) == ["mask"]
    assert kinds(input_ids=IDS, attention_mask=SHOWN) == []
    assert kinds(input_ids=RNG.integers(5, 900, IDS.shape), attention_mask=nothing) == []
    assert kinds(PICTURES, key_padding_mask=nothing.astype(bool)) == ["mask"]
    assert kinds(PICTURES, key_padding_mask=everything.astype(bool)) == []
    for name in ("mask", "attn_mask"):  # either may hide
        assert kinds(PICTURES, **{name: nothing}) == kinds(PICTURES, **{name: everything}) == []
    added = np.where(SHOWN, 0, -np.inf).astype(np.float32)
    assert kinds(PICTURES, attention_mask=added) == kinds(PICTURES, mask=0 * SHOWN / 1.0) == []
    assert kinds(PICTURES, bias=added) == []
    assert kinds(PICTURES, mask=np.full_like(added, -1e4)) == ["mask"]


def texts(array: np.ndarray, scaling: InputScaling) -> list[str]:
    return [finding.text for finding in look_at(feeds_of(array.astype(np.float32)), {"x0": scaling})]


def test_the_scaling_in_the_graph_says_what_is_expected() -> None:
    unit, normalised = RAW / 255, (RAW / 255 - 0.485) / 0.229
    assert texts(RAW, BYTES) == texts(DIM, BYTES) == texts(unit, UNIT) == []
    for array in (unit, 2 * unit - 1, normalised):
        (text,) = texts(array, BYTES)
        assert "the model divides by 255 first, so they look scaled already" in text
    for array in (normalised, 2 * unit - 1):
        (text,) = texts(array, UNIT)
        assert "the model subtracts 0.485 and divides by 0.229 first, so they look normalised" in text
    (text,) = texts(RAW, UNIT)
    assert "as for 0 ... 1" in text
    assert texts(unit[:, 0, 0, :4], BYTES) == []  # features, of which nothing is known
    for array in (RAW, unit, normalised):
        assert texts(array, InputScaling((1.0,), (0.0,), is_normalised=True)) == []
    (text,) = texts(RAW, InputScaling((1.01,), (0.0,)))
    assert "0 ... 1 or normalised" in text


def test_samples_are_copies_where_all_inputs_are() -> None:
    """A constant mask or a length beside different samples is no copy."""
    masks = np.ones((64, 12), np.int64)
    assert kinds(PICTURES, masks) == []
    rate = FeedSet(tuple({"x": p[None], "sr": np.array(16000)} for p in PICTURES), (1,) * 64)
    assert look_at(rate) == []


def test_where_nothing_can_be_held_out_it_is_told() -> None:
    (finding,) = look_at(feeds_of(PICTURES, size=32))
    assert finding.kind == "few runs"
    assert "64 samples come in 2 runs" in finding.text
    assert look_at(feeds_of(PICTURES, size=32), fits=False) == []
    assert look_at(feeds_of(PICTURES[:9]), fits=False) == []


def test_empty_and_ragged_inputs_are_no_error() -> None:
    past = np.zeros((64, 2, 0, 8), np.float32)
    assert kinds(PICTURES, past) == []
    ragged = FeedSet(tuple({"x": np.ones((1, n), np.float32) * n} for n in range(3, 70)), (1,) * 67)
    assert look_at(ragged) == []
    words = np.array([[f"word {i}"] for i in range(64)])
    assert kinds(words) == []


@pytest.mark.parametrize("factor", [1e30, 1e-30, 1e7, 1e-7])
@pytest.mark.parametrize("shape", [(3, 16, 16), (16, 16, 3), (1, 3, 16, 16)])
def test_pictures_of_absurd_values_are_told(factor: float, shape: tuple[int, ...]) -> None:
    pictures = np.random.default_rng(0).random((64, *shape)) - 0.4
    assert kinds(x=(factor * pictures).astype(np.float32)) == ["range"]


@pytest.mark.parametrize("factor", [1e30, 1e-30])
@pytest.mark.parametrize("shape", [(3,), (100,), (1, 28, 28), (16000,)])
def test_any_numbers_of_absurd_values_are_told(factor: float, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal((64, *shape))
    assert kinds(x=(factor * values).astype(np.float32)) == ["range"]


@pytest.mark.parametrize("factor", [1e-5, 1.0, 1e5, 1e8])
def test_values_in_any_unit_are_no_finding(factor: float) -> None:
    values = np.random.default_rng(0).standard_normal((64, 100))
    assert kinds(x=(factor * values).astype(np.float32)) == []


def test_what_is_added_to_hide_may_be_as_good_as_infinite() -> None:
    hidden = np.random.default_rng(0).random((64, 100)) < 0.5
    assert kinds(bias=np.where(hidden, -3.4e38, 0).astype(np.float32)) == []
