"""Sounds: whether they have the levels, the spectra and the variety of what microphones hear."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import periodogram

from onnxzip.inputs.generated.sources.music import music
from onnxzip.inputs.generated.sources.sounds import sound_stream, sounds
from onnxzip.inputs.generated.sources.voices import voice

RATE_HZ = 16000


def energy_share(sound: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    frequency, power = periodogram(sound, RATE_HZ)
    return float(power[(frequency >= low_hz) & (frequency < high_hz)].sum() / power.sum())


def frame_levels_db(sound: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    frames = sound[: len(sound) // n * n].reshape(-1, n)
    return np.asarray(20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-12))


@pytest.mark.parametrize("length", [1, 80, 512, 16000, 40000])
@pytest.mark.parametrize("rate_hz", [4000, 8000, 16000, 22050, 48000])
def test_shape_and_range(length: int, rate_hz: int) -> None:
    rows = sounds(6, length, rate_hz, np.random.default_rng(0))
    assert rows.shape == (6, length)
    assert rows.dtype == np.float64
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() <= 1
    assert (np.abs(rows).max(axis=1) > 0).all() or length == 1


def test_same_seed_same_sounds() -> None:
    first, second = (sounds(5, 2000, RATE_HZ, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(sounds(5, 2000, RATE_HZ, np.random.default_rng(4)) - first).max() > 0


@pytest.mark.parametrize("length", [512, 16000])
def test_no_two_rows_are_alike(length: int) -> None:
    rows = sounds(64, length, RATE_HZ, np.random.default_rng(1))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = np.abs(rows @ rows.T) - np.eye(64)
    assert likeness.max() < 0.95
    assert np.median(likeness) < 0.1


def test_levels_go_from_near_silence_to_loud() -> None:
    peaks_db = 20 * np.log10(np.abs(sounds(160, 32000, RATE_HZ, np.random.default_rng(2))).max(axis=1))
    assert peaks_db.max() <= -3 + 1e-9
    quiet = peaks_db < -45
    assert 1 / 32 < quiet.mean() < 1 / 8  # one kind of 16
    assert np.ptp(peaks_db[~quiet]) > 25
    assert -20 < np.median(peaks_db) < -6


def test_spectra_differ() -> None:
    """Some rows are dull and some bright; most of what is heard, as of speech, lies below 4 kHz."""
    rows = sounds(64, 16000, RATE_HZ, np.random.default_rng(3))
    low = np.array([energy_share(row, 0, 4000) for row in rows])
    assert np.median(low) > 0.8
    assert low.min() < 0.6


def test_short_rows_meet_every_phase() -> None:
    """Excerpts of 32 ms are loud, silent, tonal and hissing, not all from the beginning of a sound."""
    rows = sounds(256, 512, RATE_HZ, np.random.default_rng(4))
    level_db = 20 * np.log10(rows.std(axis=1) + 1e-9)
    assert np.ptp(np.percentile(level_db, [5, 95])) > 20
    crossings = (np.diff(np.signbit(rows), axis=1) != 0).mean(axis=1)
    assert np.percentile(crossings, 10) < 0.08
    assert np.percentile(crossings, 90) > 0.25


@pytest.mark.parametrize("seed", range(6))
def test_voice_is_speech(seed: int) -> None:
    """Most energy below 4 kHz, hisses above it, syllables and pauses."""
    speech = voice(10 * RATE_HZ, RATE_HZ, np.random.default_rng(seed))
    assert energy_share(speech, 60, 4000) > 0.8
    frames = speech.reshape(-1, 400)
    high = np.array([energy_share(frame, 4000, 8000) for frame in frames if frame.std() > 0.005])
    assert (high > 0.6).any()
    levels_db = frame_levels_db(speech, 400)
    assert (levels_db < levels_db.max() - 35).mean() > 0.02
    assert (levels_db > levels_db.max() - 20).mean() > 0.2


def test_pitches_of_voices() -> None:
    """The autocorrelation of loud frames peaks at periods of 80 to 300 Hz, which differ and move."""
    pitches, spreads = [], []
    for seed in range(8):
        speech = voice(4 * RATE_HZ, RATE_HZ, np.random.default_rng(seed))
        found = []
        for frame in speech.reshape(-1, 1000):
            correlation = np.correlate(frame, frame, "full")[999:]
            lag = 50 + int(np.argmax(correlation[50:220]))
            if frame.std() > 0.05 and correlation[lag] > 0.6 * correlation[0]:
                found.append(RATE_HZ / lag)
        assert len(found) > 5
        pitches.append(np.median(found))
        spreads.append(np.std(found) / np.mean(found))
    assert max(pitches) > 1.5 * min(pitches)
    assert min(spreads) > 0.03


@pytest.mark.parametrize("seed", range(4))
def test_music_has_notes(seed: int) -> None:
    """A few frequencies carry most of a beat."""
    piece = music(4 * RATE_HZ, RATE_HZ, np.random.default_rng(seed))
    assert np.abs(piece).max() == pytest.approx(1)
    _, power = periodogram(piece[RATE_HZ : 2 * RATE_HZ], RATE_HZ)
    assert np.sort(power)[-200:].sum() > 0.7 * power.sum()


def test_stream_goes_on() -> None:
    frames = sound_stream(5, 3, 576, RATE_HZ, np.random.default_rng(5), overlap=64)
    assert frames.shape == (5, 3, 576)
    np.testing.assert_array_equal(frames[1:, :, :64], frames[:-1, :, -64:])
    whole = sounds(3, 4 * 512 + 576, RATE_HZ, np.random.default_rng(5))
    np.testing.assert_array_equal(frames[2], whole[:, 1024:1600])
    assert sound_stream(4, 2, 160, 8000, np.random.default_rng(0)).shape == (4, 2, 160)
