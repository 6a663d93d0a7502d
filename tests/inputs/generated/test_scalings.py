"""Scalings of pictures: what they do, and which of them a layer's answers let stand."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from onnxzip.inputs.generated.scalings import SCALINGS, Answer, distance, plausible_scalings
from onnxzip.inputs.generated.sources.photographs import photographs

NAMES = [scaling.name for scaling in SCALINGS]
BY_NAME = {scaling.name: scaling for scaling in SCALINGS}
LARGE = {"0..255", "0..255 less mean"}


def pictures(n: int = 16, n_channels: int = 3, seed: int = 0) -> np.ndarray:
    return photographs(n, n_channels, 24, 24, np.random.default_rng(seed))


class Layer:
    """A convolution of 3 x 3 that was trained on its own pictures under a scaling, and normalised."""

    def __init__(self, trained_on: str, seed: int, n_channels: int = 3, n_out: int = 16) -> None:
        random = np.random.default_rng(seed)
        self.kernel = random.standard_normal((n_out, n_channels, 3, 3))
        answers = self.sums(BY_NAME[trained_on].apply(pictures(32, n_channels, seed=99)))
        self.mean, self.variance = answers.mean(axis=(0, 2, 3)), answers.var(axis=(0, 2, 3))
        self.gain, self.shift = random.uniform(0.5, 1.5, n_out), 0.5 * random.standard_normal(n_out)

    def sums(self, values: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, self.kernel)

    def answer(self, values: np.ndarray, *, is_folded: bool) -> Answer:
        def normalise(sums: np.ndarray) -> np.ndarray:
            scale = self.gain / np.sqrt(self.variance)
            return scale[:, None, None] * (sums - self.mean[:, None, None]) + self.shift[:, None, None]

        sums = self.sums(values)
        black = normalise(self.sums(np.zeros_like(values[:1])))
        if is_folded:
            return Answer(normalise(sums), black)
        return Answer(normalise(sums), black, 1, sums, self.mean, self.variance)


def answers_of(layer: Layer, *, is_folded: bool, n_channels: int = 3) -> dict[str, list[Answer]]:
    shown = pictures(n_channels=n_channels)
    return {s.name: [layer.answer(s.apply(shown), is_folded=is_folded)] for s in SCALINGS}


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_ranges(n_channels: int) -> None:
    shown = pictures(n_channels=n_channels)
    made = {name: scaling.apply(shown) for name, scaling in BY_NAME.items()}
    assert all(values.shape == shown.shape for values in made.values())
    np.testing.assert_array_equal(made["0..1"], shown)
    assert made["-1..1"].min() == -1
    assert made["0..255"].max() == 255
    normalised = made["mean/deviation"][:, :3]
    assert abs(normalised.mean()) < 0.6
    assert 0.7 < normalised.std() < 1.5
    assert np.ptp(made["0..255 less mean"][:, :3]) == pytest.approx(255, abs=20)


def test_mean_and_deviation_are_each_channels_own() -> None:
    normalise = BY_NAME["mean/deviation"].apply
    colours = np.array([0.485, 0.456, 0.406])[None, :, None, None]
    np.testing.assert_allclose(normalise(colours), 0)
    np.testing.assert_allclose(normalise(np.full((1, 1, 2, 2), 0.449)), 0)
    np.testing.assert_array_equal(normalise(np.ones((1, 4, 2, 2)))[:, 3], 1)


@pytest.mark.parametrize("trained_on", NAMES)
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_statistics_of_training_tell(trained_on: str, n_channels: int, seed: int) -> None:
    layer = Layer(trained_on, seed, n_channels)
    found = plausible_scalings(answers_of(layer, is_folded=False, n_channels=n_channels))
    assert found[0] == trained_on
    assert {name in LARGE for name in found} == {trained_on in LARGE}


@pytest.mark.parametrize("trained_on", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_right_scaling_survives_a_folded_normalisation(trained_on: str, seed: int) -> None:
    found = plausible_scalings(answers_of(Layer(trained_on, seed), is_folded=True))
    assert trained_on in found
    assert {name in LARGE for name in found} == {trained_on in LARGE}


def test_without_evidence_all_are_plausible() -> None:
    """No layer, no bias, or an operator behind it for which no size is too large."""
    assert plausible_scalings({name: [] for name in NAMES}) == NAMES
    values = {name: scaling.apply(pictures()) for name, scaling in BY_NAME.items()}
    silent = {name: [Answer(shown, np.zeros_like(shown))] for name, shown in values.items()}
    assert sorted(plausible_scalings(silent)) == sorted(NAMES)


def test_what_is_not_finite_is_not_plausible() -> None:
    answers = answers_of(Layer("0..1", 0), is_folded=True)
    broken = Answer(np.full((2, 4, 8, 8), np.nan), np.ones((1, 4, 8, 8)))
    assert distance([broken]) == np.inf
    assert "-1..1" not in plausible_scalings({**answers, "-1..1": [broken]})


def test_dead_channels_tell_nothing() -> None:
    layer = Layer("-1..1", 0)
    layer.variance[:7], layer.mean[:7] = 1e-12, 5.0
    assert plausible_scalings(answers_of(layer, is_folded=False))[0] == "-1..1"


def test_border_is_left_out() -> None:
    """Where a layer pads, zeros stand beside the picture."""
    shown = np.random.default_rng(0).standard_normal((4, 3, 16, 16))
    padded = shown.copy()
    padded[:, :, :2] = padded[:, :, :, -2:] = 1e3
    black = np.ones((1, 3, 16, 16))
    assert distance([Answer(padded, black)]) == distance([Answer(shown, black)])
    last = Answer(np.moveaxis(padded, 1, 3), np.moveaxis(black, 1, 3), -1)
    assert distance([last]) == distance([Answer(shown, black)])


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("is_folded", [True, False])
def test_answers_that_are_no_numbers_are_infinitely_far_off(odd: float, is_folded: bool) -> None:
    answers = answers_of(Layer("0..1", 3), is_folded=is_folded)
    (answer,) = answers["0..255"]
    answers["0..1"] = [replace(answers["0..1"][0], black=answers["0..1"][0].black.astype(np.float32))]
    answer.pictures[0, 0, 5, 5] = odd
    if answer.normalised is not None:
        answer.normalised[0, 0, 5, 5] = odd
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distance([answer]) == np.inf
        found = plausible_scalings(answers)
    assert "0..1" in found
    assert "0..255" not in found


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan, 1e-200])
def test_dead_channels_leave_every_scaling_plausible(variance: float) -> None:
    layer = Layer("0..1", 3)
    answers = answers_of(layer, is_folded=False)
    layer.variance[:] = variance  # which all answers share
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(plausible_scalings(answers)) == set(NAMES)
