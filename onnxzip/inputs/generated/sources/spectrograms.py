"""Spectrograms of sounds, in the scalings that models are trained with.

Frames of 25 ms every 10 ms at 16 kHz, Hann window, power |X|^2, summed over triangles that are equally
wide in mel = 2595 log10(1 + Hz / 700) (O'Shaughnessy 1987; HTK). An odd number of bands from 129 on is
taken for the bins of a Fourier transform, one above 257 for several frames put beside each other
(Paraformer takes 7 x 80). What is done to the energies then differs from model to model and cannot be
seen in the file, so that every scaling is offered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, rfft

from onnxzip.inputs.generated.sources.sounds import PCM_PEAK, sounds

Energies = NDArray[np.float64]

_RATE_HZ = 16000
_STEP, _WINDOW, _FFT_SIZE = 160, 400, 512
_MAX_BANDS = 257
"""More are several frames beside each other, or the bins of a longer transform."""
_LEAST_BINS = 129
"""Fewer bands of an odd number are no Fourier transform's."""
_STACKED_BANDS = (80, 128, 64, 40)
"""Bands of one frame where several are put beside each other: Paraformer's 560, VoiceFilter's 512."""

_FLOOR = 1e-10
"""Of an energy before its logarithm: Whisper's, and about that of rounding to 16 bits."""
_CEPSTRA = (13, 20, 39, 40)
"""Usual numbers of cepstral coefficients: HTK's, librosa's, HTK's with differences, speech commands'."""


@dataclass(frozen=True)
class Scaling:
    """What is done to energies before a model sees them.

    Attributes:
        name: of the scaling.
        scale: energies (n, n_frames, n_bands), those of a sound in [-1, 1] -> values of that shape.
    """

    name: str
    scale: Callable[[Energies], NDArray[np.float64]]


def _log(energies: Energies) -> NDArray[np.float64]:
    """Natural logarithm above one millionth, -13.8 to about 6."""
    return np.asarray(np.log(energies + 1e-6))


def _decibels(energies: Energies) -> NDArray[np.float64]:
    """Decibels below a sample's loudest cell, -80 to 0: librosa's power_to_db(ref=max)."""
    loudest = np.maximum(energies.max(axis=(1, 2), keepdims=True), _FLOOR)
    return np.asarray(np.maximum(10 * np.log10(np.maximum(energies, _FLOOR) / loudest), -80.0))


def _kaldi(energies: Energies) -> NDArray[np.float64]:
    """Natural logarithm of the energies of 16-bit integers, 0 to 25: kaldi's fbank."""
    return np.asarray(np.log(energies * PCM_PEAK**2 + 1.0))


def _centred(energies: Energies) -> NDArray[np.float64]:
    """The same less each band's mean over the sample: what speaker embeddings take."""
    values = _kaldi(energies)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def _normalised(energies: Energies) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 of each band over the sample: NeMo's per_feature."""
    values = np.log(energies + 2.0**-24)  # NeMo's guard
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / (values.std(axis=1, keepdims=True) + 1e-5))


def _whisper(energies: Energies) -> NDArray[np.float64]:
    """Decades, at most 8 below the loudest cell, then (x + 4) / 4: Radford et al. 2022, its audio.py."""
    values = _decades(energies)
    return np.asarray((np.maximum(values, values.max(axis=(1, 2), keepdims=True) - 8.0) + 4.0) / 4.0)


def _wake_word(energies: Energies) -> NDArray[np.float64]:
    """Decibels of 16-bit sounds, at most 80 below the loudest cell, x / 10 + 2: openWakeWord."""
    values = 10 * np.log10(np.maximum(energies * PCM_PEAK**2 / _WINDOW, _FLOOR))
    return np.asarray(np.maximum(values, values.max(axis=(1, 2), keepdims=True) - 80.0) / 10.0 + 2.0)


def _unit(energies: Energies) -> NDArray[np.float64]:
    """Decibels from -80 to 0, as 0 to 1: spectrograms that are looked at as pictures."""
    return _decibels(energies) / 80.0 + 1.0


def _signed(energies: Energies) -> NDArray[np.float64]:
    """The same, as -1 to 1: DNSMOS."""
    return _decibels(energies) / 40.0 + 1.0


def _decades(energies: Energies) -> NDArray[np.float64]:
    """Decimal logarithm, -10 to 3."""
    return np.asarray(np.log10(np.maximum(energies, _FLOOR)))


def _linear(energies: Energies) -> NDArray[np.float64]:
    """Magnitudes, 0 to about 100."""
    return np.asarray(np.sqrt(energies))


def _mfcc(energies: Energies) -> NDArray[np.float64]:
    """Orthonormal cosine transform of decibels, the lowest coefficients first: librosa's mfcc."""
    return np.asarray(dct(10 * _decades(energies), axis=2, norm="ortho"))


_SCALINGS = (
    *(Scaling("normalised", _normalised), Scaling("log", _log), Scaling("whisper", _whisper)),
    *(Scaling("kaldi", _kaldi), Scaling("centred", _centred), Scaling("decibels", _decibels)),
    *(Scaling("unit", _unit), Scaling("signed", _signed), Scaling("wake word", _wake_word)),
    *(Scaling("decades", _decades), Scaling("linear", _linear)),
)


def scalings(n_bands: int) -> tuple[Scaling, ...]:
    """Return the scalings worth a try for this many bands, the likeliest first."""
    return (*_SCALINGS, *([Scaling("mfcc", _mfcc)] if n_bands in _CEPSTRA else []))


def sound_energies(n: int, n_bands: int, n_frames: int, rng: np.random.Generator) -> Energies:
    """Return the energies of n sounds by frame and band, (n, n_frames, n_bands), 0 or more.

    `scalings` makes of them what models take, one at a time where all of them would not fit memory.
    """
    bands = n_bands if n_bands <= _MAX_BANDS or n_bands % 2 else _one_frame(n_bands)
    n_stacked = n_bands // bands
    n_samples = (n_frames * n_stacked - 1) * _STEP + _WINDOW
    rows = sounds(n, n_samples, _RATE_HZ, rng)
    energies = np.empty((n, n_frames * n_stacked, bands))
    for row, sound in zip(
        energies, rows, strict=True
    ):  # one at a time: the bins are many times the bands
        row[:] = _band_energies(sound, bands)
    return energies.reshape(n, n_frames, n_bands)


def _one_frame(n_bands: int) -> int:
    """Return the bands of one of the frames that are put beside each other; all, where none fits."""
    return next((bands for bands in _STACKED_BANDS if n_bands % bands == 0), n_bands)


def _band_energies(sound: NDArray[np.float64], n_bands: int) -> Energies:
    """Return (n_frames, n_bands)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_STEP]
    is_fourier = n_bands >= _LEAST_BINS and n_bands % 2 == 1
    size = max(2 * (n_bands - 1), 2 * _STEP) if is_fourier else _FFT_SIZE
    if size < _WINDOW:  # 161 bins: a window of 20 ms
        frames = frames[:, :size]
    spectrum = rfft(frames * np.hanning(frames.shape[1]), size, axis=1)
    energies = spectrum.real**2 + spectrum.imag**2
    return np.asarray(energies[:, :n_bands]) if is_fourier else energies @ _mel_filters(n_bands, size)


def _mel_filters(n_bands: int, size: int) -> NDArray[np.float64]:
    """Return triangles of height 1, (size / 2 + 1, n_bands).

    The lowest ones are made as wide as a bin, so that none of many bands is empty.
    """
    bins_hz = np.fft.rfftfreq(size, 1 / _RATE_HZ)[:, None]
    edges = np.linspace(0, 2595 * np.log10(1 + _RATE_HZ / 2 / 700), n_bands + 2)
    edges_hz = 700 * (10 ** (edges / 2595) - 1)
    left, center, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    width = _RATE_HZ / size
    rise = (bins_hz - center) / np.maximum(center - left, width) + 1
    fall = (center - bins_hz) / np.maximum(right - center, width) + 1
    return np.asarray(np.clip(np.minimum(rise, fall), 0, 1))
