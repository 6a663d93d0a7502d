"""Sounds that microphones hear, for models that listen and whose real recordings are not at hand.

On white noise a network that listens answers the same to every sample: a voice detector hears no voice,
a pitch detector no pitch. So recordings are put together here of what it was trained on: voices, music,
noise, several of them at once, rooms, telephones, pauses and near silence. What a recording is made of
is drawn anew for each, and rows shorter than a recording are cut out of one at a random place, so that
beginnings, vowels, hisses and pauses all occur.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from onnxzip.inputs.generated.sources.filters import Sound, band_pass, echoed, recurse
from onnxzip.inputs.generated.sources.music import music
from onnxzip.inputs.generated.sources.voices import voice

Kind: TypeAlias = Literal["voice", "crowd", "music", "song", "noise", "quiet"]

PCM_PEAK = 32768.0
"""Some models (openWakeWord's, Kaldi's features) take floats that are 16-bit integers: scale by this."""

_KINDS: tuple[Kind, ...] = (*9 * ("voice",), *2 * ("crowd", "music"), "song", "noise", "quiet")
"""Of 16 recordings: most models that listen, listen to people."""

_RECORDING_SECONDS = 2.0
"""Shorter rows are cut out of recordings of this length: several syllables, or a phrase and a pause."""

_ROWS_PER_RECORDING = 4
"""Excerpts out of one short recording, on average: four phases of it cost little more than one."""

_SNR_DB = (-5.0, 40.0)
"""Of voices above noise: from a loud street to a studio."""
_SNR_SKEW = 2.0
"""Highest - Beta(1, this) of the range, 25 dB on average: most recordings are made to be understood."""

_PEAK_DB = (-45.0, -3.0)
"""Of a recording: from somebody across the room to somebody at the microphone."""
_PEAK_SKEW = 3.5
"""Peaks are highest + Beta(1, this) of the range; recordings that packages ship lie near -5 dB."""

_QUIET_DB = (-75.0, -50.0)
"""Peaks of a room in which nothing happens."""

_PINK = (
    (0.049922035, -0.095993537, 0.050612699, -0.004408786),
    (1, -2.494956002, 2.017265875, -0.522189400),
)
"""-3 dB an octave: J. O. Smith, Spectral Audio Signal Processing, section 6.14.2."""


def sounds(n: int, length: int, rate_hz: int, rng: np.random.Generator) -> Sound:
    """Make n excerpts of recordings that have little in common.

    Args:
        n: rows, at least 1.
        length: samples in a row, at least 1.
        rate_hz: samples in a second, at least 4000.
        rng: source of the random numbers.

    Returns:
        (n, length), in [-1, 1].
    """
    n_samples = max(length, int(_RECORDING_SECONDS * rate_hz))
    n_each = min(_ROWS_PER_RECORDING, n_samples // length)
    kinds = _kinds(math.ceil(n / n_each), rng)
    rows = np.empty((n, length))
    for i, kind in enumerate(kinds):
        recording = _recording(kind, n_samples, rate_hz, rng)
        for row in range(i, n, len(kinds)):
            start = rng.integers(n_samples - length + 1)
            rows[row] = recording[start : start + length]
    return rows


def sound_stream(
    n_steps: int, n: int, length: int, rate_hz: int, rng: np.random.Generator, overlap: int = 0
) -> Sound:
    """Make n recordings as frames that follow one another, for models that carry a state along.

    Args:
        n_steps: frames of each recording.
        n: recordings beside each other.
        length: samples in a frame.
        rate_hz: samples in a second, at least 4000.
        rng: source of the random numbers.
        overlap: samples at the head of a frame that end the one before: silero-vad's 64 of 576.

    Returns:
        (n_steps, n, length), in [-1, 1].
    """
    step = length - overlap
    recordings = sounds(n, (n_steps - 1) * step + length, rate_hz, rng)
    frames = np.lib.stride_tricks.sliding_window_view(recordings, length, axis=1)[:, ::step]
    return np.ascontiguousarray(np.swapaxes(frames, 0, 1))


def _kinds(n: int, rng: np.random.Generator) -> list[Kind]:
    """Draw kinds without replacement, so that 16 recordings have all of them."""
    order = np.concatenate([rng.permutation(len(_KINDS)) for _ in range(math.ceil(n / len(_KINDS)))])
    return [_KINDS[i] for i in order[:n]]


@dataclass(frozen=True)
class _Studio:
    """What makes the parts of one recording: its length and rate, and the random numbers."""

    n_samples: int
    rate_hz: int
    rng: np.random.Generator

    def voice(self) -> Sound:
        """Return somebody who talks, with pauses."""
        return voice(self.n_samples, self.rate_hz, self.rng)

    def crowd(self) -> Sound:
        """Return two to five voices, some of them farther away."""
        n_voices = self.rng.integers(2, 6)
        voices = [self.voice() * _gain(self.rng.uniform(-15, 0)) for _ in range(n_voices)]
        return np.asarray(np.sum(voices, axis=0))

    def music(self) -> Sound:
        """Return notes, chords and drums."""
        return music(self.n_samples, self.rate_hz, self.rng)

    def song(self) -> Sound:
        """Return a voice above music."""
        return self.voice() + self.music() * _gain(self.rng.uniform(-20, 0))

    def noise(self) -> Sound:
        """Return white, pink or brown noise, band-limited noise, or hum, swelling and falling."""
        rng = self.rng
        white = rng.standard_normal(self.n_samples)
        color = rng.integers(5)
        if color == 1:
            white = recurse(*_PINK, white)
        elif color == 2:
            white = recurse([1.0], [1.0, -rng.uniform(0.9, 0.99)], white)
        elif color == 3:
            low = rng.uniform(0.01, 0.4) * self.rate_hz
            high = min(low * rng.uniform(1.2, 3), 0.48 * self.rate_hz)
            white = band_pass(low, high, self.rate_hz, white)
        elif color == 4:
            white = 0.05 * white + self._hum()
        swell = np.interp(
            np.linspace(0, 1, self.n_samples), np.linspace(0, 1, 8), rng.uniform(0.5, 1.0, 8)
        )
        return _level(white) * swell

    def _hum(self) -> Sound:
        """Return the mains: 50 or 60 Hz and what rectifiers make of it."""
        phase = 2 * np.pi * self.rng.choice([50, 60]) / self.rate_hz * np.arange(self.n_samples)
        amplitudes = self.rng.random(6) / np.arange(1, 7)
        waves = [a * np.sin((k + 1) * phase + 6 * a) for k, a in enumerate(amplitudes)]
        return np.asarray(np.sum(waves, axis=0))

    def room(self, sound: Sound) -> Sound:
        """Return a sound as a room, a microphone or a telephone passes it on."""
        rng, rate_hz = self.rng, self.rate_hz
        if rng.random() < 0.5:  # echoes decay by 60 dB within 0.1 to 0.6 s
            seconds = rng.uniform(0.1, 0.6)
            n_echoes = int(0.4 * seconds * rate_hz)
            decay = np.exp(-6.9 * np.arange(n_echoes) / (seconds * rate_hz))
            echoes = rng.standard_normal(n_echoes) * decay * rng.uniform(0.02, 0.12)
            echoes[0] = 1.0
            sound = echoed(sound, echoes)
        if rng.random() < 0.15 and rate_hz > 8000:
            sound = band_pass(300, 3400, rate_hz, sound)
        tilt = rng.uniform(-0.4, 0.4)  # a few dB between the ends of the spectrum
        return recurse([1.0, tilt], [1.0], sound)


def _recording(kind: Kind, n_samples: int, rate_hz: int, rng: np.random.Generator) -> Sound:
    studio = _Studio(n_samples, rate_hz, rng)
    sound = studio.noise()
    if kind not in ("noise", "quiet"):
        makers: dict[str, Callable[[], Sound]] = {
            "voice": studio.voice,
            "crowd": studio.crowd,
            "music": studio.music,
            "song": studio.song,
        }
        sound = _level(studio.room(makers[kind]())) + sound * _gain(-_below(_SNR_DB, _SNR_SKEW, rng))
    peak = float(np.max(np.abs(sound), initial=1e-9))
    peak_db = _below(_QUIET_DB if kind == "quiet" else _PEAK_DB, _PEAK_SKEW, rng)
    return sound * (_gain(peak_db) / peak)


def _below(limits_db: tuple[float, float], skew: float, rng: np.random.Generator) -> float:
    """Draw from a range, the more often near its upper end the greater the skew."""
    low, high = limits_db
    return float(high - (high - low) * rng.beta(1, skew))


def _level(sound: Sound) -> Sound:
    """Scale to a root mean square of 1; silence stays silence."""
    return sound / max(float(np.sqrt(np.mean(sound**2))), 1e-9)


def _gain(decibels: float) -> float:
    return float(10 ** (decibels / 20))
