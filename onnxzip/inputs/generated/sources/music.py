"""Music in outline: notes and chords that decay, of instruments with harmonics of their own, and drums.

A note reads one period out of two tables, bright and dull, and fades from one to the other: high
harmonics of strings and pipes die first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TABLE_SIZE = 4096
_MAX_HARMONICS = 24
_SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of a major scale."""
_MIDI_KEYS = (36, 84)
"""C2 to C6, 65 to 1047 Hz: where most melodies and their basses lie."""


def music(n_samples: int, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Play an instrument at a tempo of its own, with or without drums.

    Returns:
        (n_samples,), with peaks near 1.
    """
    sound = np.zeros(n_samples)
    beat = int(rate_hz * rng.uniform(0.12, 0.6))
    key, center = int(rng.integers(12)), rng.uniform(*_MIDI_KEYS)
    n_voices = int(rng.choice([1, 1, 2, 3, 4]))
    seconds = 10 ** rng.uniform(-1.0, 0.5)
    harmonics = _harmonics(rng)
    has_drums = rng.random() < 0.4
    for start in range(-int(rng.integers(beat)), n_samples, beat):
        if rng.random() < 0.85:
            for _ in range(n_voices):
                octave, step = divmod(round(rng.normal((center - key) * 7 / 12, 4)), 7)
                pitch_hz = 440 * 2 ** ((key + 12 * octave + _SCALE[step] - 69) / 12)
                _add(sound, start, _note(pitch_hz, seconds, harmonics, rate_hz, rng))
        if has_drums:
            _add(sound, start, _drum(rate_hz, rng))
    return np.asarray(sound / np.max(np.abs(sound), initial=1e-9))


def _harmonics(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw an instrument: how fast its harmonics fall, and each one's luck."""
    order = np.arange(1, _MAX_HARMONICS + 1)
    return np.asarray(order ** -rng.uniform(0.7, 2.5) * np.exp(rng.normal(0, 0.6, order.size)))


def _note(
    pitch_hz: float,
    seconds: float,
    harmonics: NDArray[np.float64],
    rate_hz: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return one note, which falls by 60 dB in the given time."""
    n = int(rate_hz * min(seconds, 2.0))
    order = np.arange(1, harmonics.size + 1)
    spectrum = np.zeros((2, _TABLE_SIZE // 2 + 1), complex)
    heard = order * pitch_hz < 0.45 * rate_hz
    phases = np.exp(2j * np.pi * rng.random(order.size))
    spectrum[0, order] = harmonics * phases * heard
    spectrum[1, order] = spectrum[0, order] / order**1.5
    bright, dull = np.fft.irfft(spectrum)
    vibrato = 1 + rng.uniform(0, 0.008) * np.sin(2 * np.pi * 5.5 / rate_hz * np.arange(n))
    index = (np.cumsum(vibrato) * (pitch_hz * _TABLE_SIZE / rate_hz)).astype(int) % _TABLE_SIZE
    fade = np.exp(-6.9 * np.arange(n) / (seconds * rate_hz))
    attack = np.clip(np.arange(n) / (rate_hz * rng.uniform(0.002, 0.05)), 0, 1)
    wave = (dull[index] + fade * (bright[index] - dull[index])) * fade * attack
    return np.asarray(wave * rng.uniform(0.3, 1.0) / np.max(np.abs(wave), initial=1e-9))


def _drum(rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a struck skin, whose pitch drops, or a cymbal, which is noise."""
    seconds = np.arange(int(0.2 * rate_hz)) / rate_hz
    if rng.random() < 0.5:
        cycle = 55 * seconds + 3 * (1 - np.exp(-25 * seconds))
        return np.asarray(np.sin(2 * np.pi * cycle) * np.exp(-18 * seconds))
    noise = np.diff(rng.standard_normal(seconds.size + 1))
    return np.asarray(0.3 * noise * np.exp(-rng.uniform(20, 80) * seconds))


def _add(sound: NDArray[np.float64], start: int, part: NDArray[np.float64]) -> None:
    """Add a part that may begin before the sound and end after it."""
    first, end = max(start, 0), min(start + part.size, sound.size)
    if end > first:
        sound[first:end] += part[first - start : end - start]
