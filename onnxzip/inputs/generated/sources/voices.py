"""Speech as a source and a filter make it (Fant 1960; Klatt 1980, doi 10.1121/1.383940).

Pulses of the glottis whose pitch moves, or noise, pass through resonators at the formants of a vowel.
A syllable is a consonant (hiss, burst, nasal or none) and one or two vowels; phrases of 2 to 12
syllables, 3 to 5 in a second, are parted by pauses, in which somebody may breathe. Every voice has its
own pitch, length of vocal tract and breathiness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.generated.sources.filters import band_pass, cascade, recurse

_VOWELS_HZ = (
    *((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)),
    *((660, 1720, 2410), (490, 1350, 1690), (440, 1020, 2240), (390, 1990, 2550), (640, 1190, 2390)),
)
"""First formants of men's vowels: Peterson and Barney 1952, doi 10.1121/1.1906875."""
_NASAL_HZ = (250, 1100, 2200)
"""m, n: a strong low resonance, and little above (Fant 1960)."""

_UPPER_HZ = (3500, 4500)
_BANDWIDTHS_HZ = (70, 90, 130, 200, 300)
"""At the wide end of Klatt's: DNSMOS hears narrower ones, and more breath, as bad recordings."""

_HISSES_HZ = ((4000, 7800), (2200, 6000), (1000, 7500), (600, 3500))
"""Bands of s, sh, f and h."""

_PITCH_HZ = (80.0, 300.0)
_SYLLABLE_SECONDS = (0.2, 0.33)
"""3 to 5 syllables in a second."""


@dataclass(frozen=True)
class _Speaker:
    """A voice.

    Attributes:
        pitch_hz: its mean.
        tract: factor on all formants: 0.9 long, 1.25 a child's.
        breath: noise beside the pulses, as a fraction of them.
        dullness: pole of the glottal low-pass, 0.9 pressed to 0.98 soft.
    """

    rate_hz: int
    rng: np.random.Generator
    pitch_hz: float
    tract: float
    breath: float
    dullness: float

    @classmethod
    def draw(cls, rate_hz: int, rng: np.random.Generator) -> _Speaker:
        """Draw somebody; high voices have short vocal tracts."""
        height = rng.random()
        low, high = _PITCH_HZ
        return cls(
            rate_hz,
            rng,
            pitch_hz=low * (high / low) ** (0.15 + 0.7 * height),
            tract=0.9 + 0.3 * height + rng.uniform(0, 0.05),
            breath=10 ** rng.uniform(-3.0, -2.0),
            dullness=rng.uniform(0.9, 0.98),
        )

    def phrase(self) -> NDArray[np.float64]:
        """Say 2 to 12 syllables that run into each other."""
        n_syllables = int(self.rng.integers(2, 13))
        seconds = self.rng.uniform(*_SYLLABLE_SECONDS)
        lengths = (self.rate_hz * seconds * self.rng.uniform(0.7, 1.4, n_syllables)).astype(int)
        overlap = int(0.04 * self.rate_hz)
        glottis = self._glottis(int(lengths.sum()) + overlap, n_syllables)
        sound = np.zeros(len(glottis))
        start = 0
        for length in lengths:
            end = start + int(length) + overlap
            sound[start:end] += self._syllable(glottis[start:end])
            start += int(length)
        return sound

    def _glottis(self, n: int, n_syllables: int) -> NDArray[np.float64]:
        """Return pulses whose pitch falls over the phrase, moves with syllables and trembles."""
        rng = self.rng
        knots = np.linspace(rng.uniform(1.0, 1.25), rng.uniform(0.75, 1.0), 2 * n_syllables + 1)
        knots *= np.exp(rng.normal(0, 0.08, knots.size))
        pitch = self.pitch_hz * np.interp(np.linspace(0, 1, n), np.linspace(0, 1, knots.size), knots)
        cycle = np.cumsum(np.clip(pitch, *_PITCH_HZ)) / self.rate_hz
        places = np.flatnonzero(np.diff(np.floor(cycle), prepend=0.0))
        late = np.clip((cycle[places] % 1) * self.rate_hz / pitch[places], 0, 1)
        strength = 1 + 0.1 * rng.standard_normal(places.size)
        pulses = np.zeros(n + 1)  # each on two samples, so that the pitch is no divisor of the rate
        pulses[places] += strength * (1 - late)
        pulses[places - 1] += strength * late
        pulses[:n] += self.breath * rng.standard_normal(n)
        return recurse([1.0], [1.0, -self.dullness], pulses[:n])

    def _syllable(self, glottis: NDArray[np.float64]) -> NDArray[np.float64]:
        rng, n = self.rng, glottis.size
        onset = int(n * rng.uniform(0.15, 0.45))
        loudness = rng.uniform(0.3, 1.0)
        first, second = rng.integers(len(_VOWELS_HZ), size=2)
        vowel = self._resonate(glottis, _VOWELS_HZ[first])
        if rng.random() < 0.5:  # a diphthong, or the way to the next consonant
            glide = np.linspace(0, 1, n) ** 2
            vowel += glide * (self._resonate(glottis, _VOWELS_HZ[second]) - vowel)
        sound = np.zeros(n)
        manner = rng.choice(["hiss", "burst", "nasal", "none"], p=[0.3, 0.3, 0.2, 0.2])
        if manner == "none":
            onset = 0
        elif manner == "nasal":
            sound[:onset] = 0.4 * self._resonate(glottis[:onset], _NASAL_HZ)
        elif manner == "hiss":
            sound[:onset] = self._hiss(onset, rng.uniform(0.05, 0.6))
        else:  # the lips or the tongue close, then open at once
            n_burst = min(onset, int(self.rate_hz * rng.uniform(0.01, 0.05)))
            burst = self._hiss(n_burst, rng.uniform(0.1, 0.5))
            sound[onset - n_burst : onset] = burst * np.linspace(1, 0, n_burst)
        vowel[:onset] = 0
        return sound + loudness * vowel * _envelope(n, onset, int(0.04 * self.rate_hz))

    def _resonate(self, source: NDArray[np.float64], hz: tuple[int, ...]) -> NDArray[np.float64]:
        """Filter by the formants, each with a gain of 1 at 0 Hz (Klatt's equation 2); peak 1."""
        sections = []
        for frequency, bandwidth in zip((*hz, *_UPPER_HZ), _BANDWIDTHS_HZ, strict=True):
            formant_hz = frequency * self.tract
            if formant_hz < 0.48 * self.rate_hz:
                radius = np.exp(-np.pi * bandwidth / self.rate_hz)
                b = 2 * radius * np.cos(2 * np.pi * formant_hz / self.rate_hz)
                c = -(radius**2)
                sections.append(([1 - b - c], [1, -b, -c]))
        sound = cascade(sections, source)
        return np.asarray(sound / np.max(np.abs(sound), initial=1e-9))

    def _hiss(self, n: int, peak: float) -> NDArray[np.float64]:
        low, high = _HISSES_HZ[self.rng.integers(len(_HISSES_HZ))]
        scale = self.rng.uniform(0.85, 1.15)
        high_hz = min(high * scale, 0.48 * self.rate_hz)
        low_hz = min(low * scale, 0.7 * high_hz)
        noise = band_pass(low_hz, high_hz, self.rate_hz, self.rng.standard_normal(n))
        noise *= np.hanning(n) ** 0.5
        return np.asarray(noise * peak / np.max(np.abs(noise), initial=1e-9))

    def pause(self) -> NDArray[np.float64]:
        """Return silence, with a breath in it at times."""
        silence = np.zeros(int(self.rate_hz * self.rng.uniform(0.1, 1.0)))
        if self.rng.random() < 0.3:
            silence += self._hiss(silence.size, 10 ** self.rng.uniform(-2.0, -1.2))
        return silence


def _envelope(n: int, onset: int, fade: int) -> NDArray[np.float64]:
    """Rise within 20 ms of the onset and fall towards the end, where the next syllable overlaps."""
    since = np.arange(n) - onset
    rise = np.clip(since / (0.5 * fade), 0, 1)
    fall = np.clip((n - 1 - np.arange(n)) / (2.5 * fade), 0, 1) ** 0.7
    return np.asarray(rise * fall)


def voice(n_samples: int, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Let somebody talk, from any place of a phrase on.

    Returns:
        (n_samples,), with peaks near 1.
    """
    speaker = _Speaker.draw(rate_hz, rng)
    parts = [speaker.phrase() if rng.random() < 0.7 else speaker.pause()]
    start = int(rng.integers(max(parts[0].size, 1)))
    n_made = parts[0].size - start
    while n_made < n_samples:
        parts += [speaker.pause(), speaker.phrase()] if len(parts) % 2 else [speaker.phrase()]
        n_made = sum(part.size for part in parts) - start
    return np.concatenate(parts)[start : start + n_samples]
