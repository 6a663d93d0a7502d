"""Recordings, and what packages make of them before a model hears them."""

from __future__ import annotations

import functools
from math import gcd
from pathlib import Path

import numpy as np
from scipy.fft import dct
from scipy.io import wavfile
from scipy.signal import get_window, resample_poly, stft

from tests.bench.zoo.model import Feeds, session_of
from tests.bench.zoo.recording import Recorder, module_at, module_of

RATE = 16000
_SOURCES = (
    "recordings/*.wav",  # openWakeWord's test clips: speech in rooms, wake words
    "deb/usr/share/pocketsphinx/test/data/**/*.wav",  # an audio book, spoken cards
    "deb/usr/share/pocketsphinx/test/data/**/*.raw",
    "pyannote_audio/pyannote/audio/sample/*.wav",  # a conversation on the telephone
    "deb/usr/share/asterisk/sounds/*/*.wav",  # announcements in English and Italian, 8 kHz
    "deb/usr/share/sounds/alsa/*.wav",  # announcements and noise, 48 kHz
    "reachy_mini/reachy_mini/assets/*.wav",  # tunes and effects
)


def read(file: Path, rate: int) -> np.ndarray:
    """Return one channel in -1..1 at a rate in Hz, float32."""
    own, sound = (RATE, np.fromfile(file, "<i2")) if file.suffix == ".raw" else wavfile.read(file)
    if sound.dtype.kind == "i":
        sound = sound / -float(np.iinfo(sound.dtype).min)
    if sound.ndim == 2:
        sound = sound.mean(axis=1)
    shared = gcd(rate, own)
    return np.asarray(resample_poly(sound, rate // shared, own // shared), np.float32).clip(-1, 1)


@functools.cache
def recordings(folder: Path, rate: int = RATE) -> tuple[tuple[np.ndarray, ...], ...]:
    """Return the recordings of each source that the folder has, at most 60 evenly spaced ones."""
    found = []
    for pattern in _SOURCES:
        files = sorted(folder.glob(pattern))
        if files:
            chosen = files[:: -(-len(files) // 60)]
            found.append(tuple(read(file, rate) for file in chosen))
    if not found:
        raise FileNotFoundError(f"{folder}: no recordings")
    return tuple(found)


def clips(folder: Path, n_samples: int, n_clips: int, rate: int = RATE) -> list[np.ndarray]:
    """Return clips of one length, of each source in turn; short recordings follow each other in one."""
    rng = np.random.default_rng(0)
    sources = recordings(folder, rate)
    found = []
    for i in range(n_clips):
        source = sources[i % len(sources)]
        parts = [source[rng.integers(len(source))]]
        while sum(map(len, parts)) < n_samples:
            parts.append(source[rng.integers(len(source))])
        whole = np.concatenate(parts)
        start = rng.integers(len(whole) - n_samples + 1)
        found.append(whole[start : start + n_samples])
    return found


def vad_frames(folder: Path) -> list[list[Feeds]]:
    """silero-vad: frames of 512 samples behind 64 of the frame before; the state starts at zero."""
    sequences = []
    for clip in clips(folder, 64 * 512, 16):
        padded = np.pad(clip, (64, 0))
        frames = [padded[start : start + 576] for start in range(0, len(clip), 512)]
        start_state = {"state": np.zeros((2, 1, 128), np.float32)}
        sequences.append([{"input": f[None], "sr": np.array(RATE), **start_state} for f in frames])
    return sequences


def older_vad_frames(folder: Path) -> list[list[Feeds]]:
    """silero-vad of 2023 in openWakeWord: frames of 512 samples, two states that start at zero."""
    start = {name: np.zeros((2, 1, 64), np.float32) for name in ("h", "c")}
    parts = [clip.reshape(64, 1, 512) for clip in clips(folder, 64 * 512, 16)]
    return [[{"input": frame, "sr": np.array(RATE), **start} for frame in part] for part in parts]


def pitch(folder: Path) -> list[list[Feeds]]:
    """swift-f0: whole clips, through the package's own detector."""
    swift = module_of(folder, "swift_f0", "swift_f0")
    detector = swift.SwiftF0()
    detector.session = Recorder(folder / "swift_f0/swift_f0/model.onnx")
    for clip in clips(folder, 2 * RATE, 64):
        detector.detect(clip, RATE)
    return [[feeds] for feeds in detector.session.fed]


def notes(folder: Path) -> list[list[Feeds]]:
    """basic-pitch: windows of 43844 samples at 22050 Hz."""
    windows = clips(folder, 43844, 64, rate=22050)
    return [[{"serving_default_input_2:0": window[None, :, None]}] for window in windows]


def quality(folder: Path) -> list[list[Feeds]]:
    """DNSMOS: 9.01 seconds as they are; half as many as elsewhere, for each takes a second."""
    return [[{"input_1": clip[None]}] for clip in clips(folder, int(9.01 * RATE), 32)]


def slaney_filters(n_bands: int, n_fft: int) -> np.ndarray:
    """Return librosa's default mel filters at 16 kHz, (n_bands, n_fft // 2 + 1)."""
    step = np.log(6.4) / 27  # Slaney's scale: linear below 1 kHz, 27 steps to a factor of 6.4 above
    top = 15 + np.log(RATE / 2 / 1000) / step
    mels = np.linspace(0, top, n_bands + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))
    frequencies = np.fft.rfftfreq(n_fft, 1 / RATE)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def quality_bands(folder: Path) -> list[list[Feeds]]:
    """DNSMOS P.808: 120 mel bands in dB below the loudest, 40 dB to 0..1, as librosa makes them."""
    filters = slaney_filters(120, 321)
    window = get_window("hann", 321)
    sequences = []
    for clip in clips(folder, int(9.01 * RATE) - 160, 64):
        padded = np.pad(clip, 160)  # librosa centres frames and pads with zeros
        _, _, spectrum = stft(padded, RATE, window, 321, 161, boundary=None, padded=False)
        power = filters @ np.abs(spectrum * window.sum()) ** 2
        decibel = 10 * np.log10(np.maximum(power, 1e-10) / np.maximum(power.max(), 1e-10))
        bands = (np.maximum(decibel, -80) + 40) / 40
        sequences.append([{"input_1": bands.T[None].astype(np.float32)}])
    return sequences


def turns(folder: Path) -> list[list[Feeds]]:
    """Smart Turn: Whisper's log-mel bands of 8 seconds that end in speech or silence."""
    features = module_at(folder / "pipecat_ai/pipecat/audio/turn/smart_turn/_whisper_features.py")
    return [
        [{"input_features": features.compute_whisper_log_mel_features(clip)[None]}]
        for clip in clips(folder, 8 * RATE, 64)
    ]


def sixteen_bit(folder: Path) -> list[list[Feeds]]:
    """The front end of openWakeWord: 16-bit numbers as float, not scaled, 2 seconds each."""
    return [[{"input": np.round(clip[None] * 32767)}] for clip in clips(folder, 2 * RATE, 64)]


def wake_word_bands(folder: Path, parts: list[np.ndarray]) -> list[np.ndarray]:
    """Return openWakeWord's bands of each part, (n_frames, 32), float32."""
    session = session_of(folder / "openwakeword/openwakeword/resources/models/melspectrogram.onnx")
    loud = [np.round(part[None] * 32767) for part in parts]
    return [session.run(None, {"input": part})[0].squeeze() / 10 + 2 for part in loud]


def embedded(folder: Path) -> list[list[Feeds]]:
    """The embedding of openWakeWord: windows of 76 frames of its bands."""
    bands = wake_word_bands(folder, clips(folder, 2 * RATE, 64))
    windows = [part[start : start + 76] for part in bands for start in (0, 80)]
    return [[{"input_1": window[None, :, :, None]}] for window in windows]


def wake_words(folder: Path, name: str) -> list[list[Feeds]]:
    """A wake word: the last 16 embeddings, one every 8 frames.

    Of the recordings that hold wake words whole, and of clips of all others.
    """
    session = session_of(folder / "openwakeword/openwakeword/resources/models/embedding_model.onnx")
    spoken = [np.pad(read(file, RATE), RATE) for file in sorted(folder.glob(_SOURCES[0]))]
    sequences = []
    for bands in wake_word_bands(folder, spoken + clips(folder, 3 * RATE, 32)):
        windows = np.stack([bands[start : start + 76] for start in range(0, len(bands) - 75, 8)])
        found = session.run(None, {"input_1": windows[..., None]})[0].reshape(-1, 96)
        sequences += [
            [{name: found[start : start + 16][None]}] for start in range(0, len(found) - 15, 2)
        ]
    return sequences


def speech_frames(folder: Path) -> list[list[Feeds]]:
    """flashvad: one frame's features after the other, states and caches carried on."""
    features = module_of(folder, "flashvad", "flashvad.numpy_features")
    start = {"recurrent": np.zeros((1, 1, 64), np.float32)}
    start |= {f"cache_{i}": np.zeros((1, 64, 2 << i), np.float32) for i in range(4)}
    sequences = []
    for clip in clips(folder, RATE, 16):
        extractor = features.NumpyStreamingFeatureExtractor(features.NumpyCausalFeatureExtractor())
        sequences.append([{"feature": frame[None, None], **start} for frame in extractor.push(clip)])
    return sequences


def speech_bands(folder: Path) -> list[list[Feeds]]:
    """pulsevad: 64 mel bands of 200 ms, each less its mean; the package's own code."""
    features = module_at(folder / "pulsevad/pulsevad/frontend_np.py")
    parts = [features.extract_log_mel_np(clip) for clip in clips(folder, 3200, 256)]
    return [[{"log_mel": part}] for part in parts]


def cosine_spectra(folder: Path) -> list[list[Feeds]]:
    """ultrastar-pitch: |DCT-IV| of 4096 samples, its lower half, minimum at 0 and maximum at 1."""
    spectra = []
    for clip in clips(folder, 4 * 4096, 64):
        spectrum = np.abs(dct(clip.reshape(-1, 4096), type=4, axis=1)[:, :2048])
        spectrum -= spectrum.min(axis=1, keepdims=True)
        loud = spectrum[spectrum.max(axis=1) > 0]
        spectra.append(loud / loud.max(axis=1, keepdims=True))
    return [[{"mdct": row[None].astype(np.float32)}] for row in np.concatenate(spectra)]
