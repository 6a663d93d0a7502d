"""Spectrograms: shapes, the ranges of every scaling, and that bands are in the right places."""

import numpy as np
import pytest

from onnxzip.inputs.generated.sources.spectrograms import (
    _band_energies,
    scalings,
    sound_energies,
)


def spectrograms(n: int, n_bands: int, n_frames: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Make spectrograms of the same n sounds, (n, n_frames, n_bands), by scaling."""
    energies = sound_energies(n, n_bands, n_frames, rng)
    return {scaling.name: scaling.scale(energies) for scaling in scalings(n_bands)}


RANGES = {
    "normalised": (-12, 12),
    "log": (-13.9, 12),
    "whisper": (-1.5, 2.5),
    "kaldi": (0, 30),
    "centred": (-25, 25),
    "decibels": (-80, 0),
    "unit": (0, 1),
    "signed": (-1, 1),
    "wake word": (-8, 12),
    "decades": (-10, 5),
    "linear": (0, 200),
    "mfcc": (-700, 400),
}


@pytest.mark.parametrize(
    "n_bands", [8, 13, 32, 40, 64, 80, 96, 128, 129, 160, 161, 201, 257, 512, 560, 513]
)
def test_every_scaling_in_its_range(n_bands: int) -> None:
    found = spectrograms(4, n_bands, 20, np.random.default_rng(0))
    assert list(found) == [scaling.name for scaling in scalings(n_bands)]
    for name, values in found.items():
        assert values.shape == (4, 20, n_bands)
        low, high = RANGES[name]
        assert np.isfinite(values).all()
        assert low <= values.min() <= values.max() <= high, name
        assert values.std(axis=0).max() > 0


def test_cepstra_where_their_number_is_usual() -> None:
    assert "mfcc" in spectrograms(1, 13, 5, np.random.default_rng(0))
    assert "mfcc" not in spectrograms(1, 80, 5, np.random.default_rng(0))


def test_normalised_by_band() -> None:
    values = spectrograms(5, 40, 100, np.random.default_rng(1))["normalised"]
    np.testing.assert_allclose(values.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(values.std(axis=1), 1, atol=0.01)


@pytest.mark.parametrize(
    ("n_bands", "hz"), [(40, 1000), (80, 300), (128, 4000), (257, 4000), (161, 500)]
)
def test_a_tone_is_in_its_band(n_bands: int, hz: float) -> None:
    """The loudest of mel bands, or of a Fourier transform's bins, is the one around a tone."""
    tone = np.sin(2 * np.pi * hz / 16000 * np.arange(4000))
    energies = _band_energies(tone, n_bands)
    mel = 2595 * np.log10(1 + np.array([hz, 8000]) / 700)
    place = hz / 8000 * (n_bands - 1) if n_bands > 128 else mel[0] / mel[1] * (n_bands + 1) - 1
    assert abs(int(energies.sum(axis=0).argmax()) - place) <= 1


def test_no_band_is_empty() -> None:
    for n_bands in (80, 128, 160):
        noise = np.random.default_rng(2).standard_normal(4000)
        assert (_band_energies(noise, n_bands).sum(axis=0) > 0).all()


def test_frames_beside_each_other() -> None:
    """512 bands are four frames of 128, so that the first of each band are alike."""
    energies = sound_energies(3, 512, 10, np.random.default_rng(3))
    single = sound_energies(3, 128, 40, np.random.default_rng(3))
    np.testing.assert_array_equal(energies.reshape(3, 40, 128), single)


def test_same_seed_same_spectrograms() -> None:
    first, second = (spectrograms(2, 16, 7, np.random.default_rng(4))["log"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
