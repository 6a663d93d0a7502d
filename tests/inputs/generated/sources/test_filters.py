"""Tests for filters.py: against scipy.signal's, which take long to import."""

import numpy as np
import pytest
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from onnxzip.inputs.generated.sources.filters import band_pass, cascade, echoed, recurse

SOUND = np.random.default_rng(1).standard_normal(5000)


@pytest.mark.parametrize(
    ("b", "a"),
    [([0.5], [1.0, -0.9]), ([1.0, 0.3], [1.0]), ([0.1, 0.2, 0.3, -0.4], [1.0, -1.2, 0.5, 0.1])],
)
def test_recursion(b: list[float], a: list[float]) -> None:
    np.testing.assert_allclose(recurse(b, a, SOUND), lfilter(b, a, SOUND), atol=1e-11)


def test_sections_follow_one_another() -> None:
    sections = [([0.2], [1.0, -1.5, 0.8]), ([0.3, 0.1], [1.0, -0.5, 0.6])]
    expected = sosfilt([[0.2, 0, 0, 1, -1.5, 0.8], [0.3, 0.1, 0, 1, -0.5, 0.6]], SOUND)
    np.testing.assert_allclose(cascade(sections, SOUND), expected, atol=1e-11)


@pytest.mark.parametrize(
    ("low", "high", "rate"), [(300, 3400, 16000), (20, 60, 8000), (4000, 7680, 16000), (1, 20000, 44100)]
)
def test_band_is_that_of_butterworth(low: int, high: int, rate: int) -> None:
    expected = sosfilt(butter(2, (low, high), "band", fs=rate, output="sos"), SOUND)
    np.testing.assert_allclose(band_pass(low, high, rate, SOUND), expected, atol=1e-10)


@pytest.mark.parametrize("n_echoes", [1, 700, 9000])
def test_echoes_are_a_convolution(n_echoes: int) -> None:
    echoes = np.random.default_rng(2).standard_normal(n_echoes)
    found = echoed(SOUND, echoes)
    np.testing.assert_allclose(found, fftconvolve(SOUND, echoes)[: SOUND.size], atol=1e-10)


def test_silence_and_nothing_stay_so() -> None:
    assert recurse([1.0, 1.0], [1.0, -0.5], np.zeros(0)).size == 0
    assert not band_pass(100, 200, 8000, np.zeros(50)).any()
