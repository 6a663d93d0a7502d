"""Filters of sounds, y_n = Σ b_i x_(n-i) - Σ a_i y_(n-i): equations in a triangle of few bands.

scipy.signal has filters too, but takes half a second to import, as long as a small model takes to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg.blas import dtbsv

Sound: TypeAlias = NDArray[np.float64]


def recurse(b: Sequence[float], a: Sequence[float], sound: Sound) -> Sound:
    """Filter a sound that begins after silence.

    Args:
        b: what inputs are multiplied with, the latest first.
        a: what outputs are multiplied with, likewise; the first one is 1.
        sound: (n_samples,).

    Returns:
        (n_samples,).
    """
    if not sound.size:
        return sound
    fed = np.convolve(sound, np.asarray(b, np.float64))[: sound.size]
    if len(a) == 1:
        return fed
    bands = np.asfortranarray(np.broadcast_to(np.asarray(a, np.float64)[:, None], (len(a), sound.size)))
    return np.asarray(dtbsv(len(a) - 1, bands, fed, lower=1, diag=1))


def cascade(sections: Sequence[tuple[Sequence[float], Sequence[float]]], sound: Sound) -> Sound:
    """Filter by one (b, a) after the other."""
    for b, a in sections:
        sound = recurse(b, a, sound)
    return sound


def band_pass(low_hz: float, high_hz: float, rate_hz: float, sound: Sound) -> Sound:
    """Leave a band of a sound: Butterworth's filter of order 2, by the bilinear transform.

    Args:
        low_hz: where half the power is left, above 0.
        high_hz: likewise, below half the rate.
        rate_hz: samples in a second.
        sound: (n_samples,).
    """
    low, high = (2 * np.tan(np.pi * hz / rate_hz) for hz in (low_hz, high_hz))
    middle = np.exp(0.75j * np.pi) * (high - low) / 2  # the low-pass's pole, moved to the band
    root = np.sqrt(middle**2 - low * high)
    sections = []
    for pole in (middle + root, middle - root):  # each stands for itself and its conjugate
        turned = (2 + pole) / (2 - pole)
        gain = 2 * (high - low) / abs(2 - pole) ** 2
        sections.append(((gain, 0.0, -gain), (1.0, -2 * turned.real, abs(turned) ** 2)))
    return cascade(sections, sound)


def echoed(sound: Sound, echoes: Sound) -> Sound:
    """Return the convolution of a sound with what comes of one sample, as long as the sound."""
    n = next_fast_len(sound.size + echoes.size - 1, real=True)
    return np.asarray(irfft(rfft(sound, n) * rfft(echoes, n), n))[: sound.size]
