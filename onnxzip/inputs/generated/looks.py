"""What a float input looks like: a sound wave, a spectrogram, or neither.

Said by what exporters write: its name ("waveform", "mel"), the symbols of its free axes ("samples",
"frames"), its shape ((batch, 1, 16000); 80 bands beside a free axis). A name of its own that says
something else ("pixel_values", "dvec") rules both out; a name that says nothing ("x", "input_1") leaves
it to the shape, which several readings may fit: they are all given, the likeliest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.axes import STATE_NAME, axis_kind, is_called_batch
from onnxzip.runtime.input_spec import InputSpec


@dataclass(frozen=True)
class Look:
    """One thing that an input may be.

    Attributes:
        kind: a sound, or the spectrogram of one.
        time_axis: of samples or frames.
        band_axis: of frequencies; None in a sound.
        is_named: whether the name or a symbol says so; by the shape alone it may be something else.
        rows_continue: whether axis 0 counts frames of one recording: ("seq_len", 576) of silero-vad.
    """

    kind: Literal["sound", "spectrogram"]
    time_axis: int
    band_axis: int | None = None
    is_named: bool = False
    rows_continue: bool = False

    def n_rows(self, shape: tuple[int, ...]) -> int:
        """Return how many sounds or spectrograms an input of this shape takes: batch times channels."""
        used = (self.time_axis, self.band_axis)
        return int(np.prod([size for axis, size in enumerate(shape) if axis not in used], dtype=int))

    def arrange(self, rows: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Lay rows out as the input: (n_rows, n_samples) or (n_rows, n_frames, n_bands) -> shape."""
        used = [self.time_axis, *([] if self.band_axis is None else [self.band_axis])]
        others = [axis for axis in range(len(shape)) if axis not in used]
        order = [*others, *used]
        return rows.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


_SOUND_NAMES = re.compile(
    r"audio|^wavs?\d*$|wave|pcm|speech|^signals?$|sounds?$|^samples?$|utterance|^(noisy|clean|mix|mixture|mics?)$"
)
_SPECTROGRAM_NAMES = re.compile(r"mel|fbank|filterbank|^spec|spectr|mfcc|cepstr|^stft|^erb")
_FEATURE_NAMES = re.compile(r"^(feats?|features?|fea)\d*$")
"""Of a spectrogram, unless the shape or another word of the name says otherwise."""
_GENERIC_NAMES = re.compile(
    r"^((x|xs|src|inputs?|in|data|serving|default|args?|keras|tensor|encoder|values?|onnx|node|main)\d*|\d+)$"
)
_OTHER_NAMES = re.compile(
    r"^(len|lens|lengths?|masks?|rate|sr|ids?|emb|embs|embeds?|embeddings?|probs?|labels?|text|scale|image|pixel|tokens?)$"
)
"""Of numbers about a sound ("audio_length"), or of what was made of it ("audio_embeds")."""

_SAMPLE_SYMBOLS = re.compile(r"sample|audio|wav|signal")
_FRAME_SYMBOLS = re.compile(r"frame|mel_?len")
_TIME_SYMBOLS = re.compile(r"frame|time|seq|len|step|^t$")
_BAND_SYMBOLS = re.compile(r"mels?$|mfcc|feat\w*_(size|dim)|n_feat|band|bins?$|freq|^f$")
_CHANNEL_SYMBOLS = re.compile(r"chan|^c$")
_SIDE_SYMBOLS = re.compile(r"height|width|^[hw]$")

_BANDS = (13, 20, 24, 32, 39, 40, 48, 64, 80, 96, 120, 128, 160, 161, 201, 229, 257, 513, 560)
"""Mel bands, cepstral coefficients and bins of Fourier transforms that models in packages take."""
_LEAST_BANDS, _MOST_BANDS = 8, 640
"""Of a named spectrogram: up to eight frames of 80 bands beside each other."""
_VECTOR_SIZES = (384, 768, 784, 1024, 1536, 2048)
"""An unnamed (batch, this) is an embedding, or a small picture (784), rather than a sound."""

_LEAST_SAMPLES, _LEAST_NAMED_SAMPLES = 256, 64
"""16 ms at 16 kHz: vectors of fewer numbers are anything, unless they are called a sound."""
_LEAST_FRAMES = 8
_MOST_SOUND_CHANNELS = 2
_MOST_CHANNELS = 4


def looks_of(spec: InputSpec, shape: tuple[int, ...]) -> tuple[Look, ...]:
    """Say what a float input may be, likeliest first; nothing for ids, states, pictures and vectors.

    Args:
        spec: the graph input.
        shape: its shape with every free axis resolved.
    """
    is_float = isinstance(spec.dtype, np.dtype) and spec.dtype.kind == "f"
    if not shape or not is_float or STATE_NAME.search(spec.name.lower()):
        return ()
    words = _words(spec.name)
    says_sound = _any(words, _SOUND_NAMES) or words == ["input", "values"]
    says_spectrogram = _any(words, _SPECTROGRAM_NAMES)
    says_features = _any(words, _FEATURE_NAMES)
    known = (_SOUND_NAMES, _SPECTROGRAM_NAMES, _FEATURE_NAMES, _GENERIC_NAMES)
    is_other = _any(words, _OTHER_NAMES)
    is_unknown = not (says_sound or says_spectrogram) and any(
        not any(pattern.search(word) for pattern in known) for word in words
    )
    if is_other or is_unknown:
        return ()
    found: list[tuple[float, Look]] = []
    if not (says_spectrogram or says_features):
        found += _sound_readings(spec, shape, says_sound)
    if says_spectrogram or len(shape) > 2:
        found += _spectrogram_readings(spec, shape, says_spectrogram, says_features or says_sound)
    found = [(score, look) for score, look in found if not _lies_along_a_batch(look, spec)]
    found.sort(key=lambda scored: (not scored[1].is_named, -scored[0]))
    return tuple(reading for _, reading in found)


def _lies_along_a_batch(look: Look, spec: InputSpec) -> bool:
    axes = [axis for axis in (look.time_axis, look.band_axis) if axis is not None]
    return any(is_called_batch(spec.shape[a]) and axis_kind(spec, a) == "batch" for a in axes)


def _words(name: str) -> list[str]:
    """Split a name at punctuation and capitals: "serving_default_input_2:0", "audioIn"."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


def _any(words: Iterable[str], pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(word) for word in words)


def _says(dim: int | str | None, pattern: re.Pattern[str]) -> bool:
    """Whether a free axis has a symbol of this kind."""
    return isinstance(dim, str) and bool(pattern.search(dim.lower()))


def _sound_readings(
    spec: InputSpec, shape: tuple[int, ...], is_named: bool
) -> Iterator[tuple[float, Look]]:
    """Yield the axes that may be samples, where all others are a batch and at most two channels."""
    rank = len(shape)
    for axis in range(min(rank - 1, 1), rank if rank <= 3 else 0):
        dim = spec.shape[axis]
        is_free = not isinstance(dim, int)
        says_samples = _says(dim, _SAMPLE_SYMBOLS)
        others = [spec.shape[a] for a in range(1, rank) if a != axis]
        if not all(_is_sound_channel(other, is_named) for other in others) or _says(dim, _SIDE_SYMBOLS):
            continue
        if not is_free and shape[axis] < (_LEAST_NAMED_SAMPLES if is_named else _LEAST_SAMPLES):
            continue
        is_vector = shape[axis] in _VECTOR_SIZES if rank == 2 else rank == 1 and is_free
        if is_vector and not (is_named or says_samples):
            continue
        rows_continue = rank == 2 and not is_free and _says(spec.shape[0], _TIME_SYMBOLS)
        is_sure = is_named or says_samples
        yield float(axis), Look("sound", axis, None, is_sure, rows_continue)


def _is_sound_channel(dim: int | str | None, is_named: bool) -> bool:
    if isinstance(dim, int):
        return dim <= _MOST_SOUND_CHANNELS
    return is_named or _says(dim, _CHANNEL_SYMBOLS)


def _spectrogram_readings(
    spec: InputSpec, shape: tuple[int, ...], is_named: bool, is_hinted: bool
) -> Iterator[tuple[float, Look]]:
    """Yield the pairs of axes that may be frames and bands, where all others are a batch and channels.

    Args:
        spec: the graph input.
        shape: its shape with every free axis resolved.
        is_named: whether its name is one of a spectrogram, of which any number of bands is believed.
        is_hinted: whether its name would go with one: "features", "audio_signal".
    """
    for time, band in _axis_pairs(len(shape)):
        n_frames, n_bands = spec.shape[time], spec.shape[band]
        has_frames = _says(n_frames, _FRAME_SYMBOLS)
        channels = [spec.shape[axis] for axis in range(1, len(shape)) if axis not in (time, band)]
        is_picture = any(channel == 3 for channel in channels) and not (is_named or has_frames)
        if is_picture or not all(_is_channel(channel) for channel in channels):
            continue
        points = _band_points(n_bands, is_named), _time_points(n_frames, is_named)
        if None in points or (n_frames == n_bands and isinstance(n_frames, int) and not is_named):
            continue
        score = sum(point for point in points if point is not None)
        score += 0.5 * (shape[time] > shape[band])
        is_sure = is_named or is_hinted or has_frames or _says(n_bands, _BAND_SYMBOLS)
        yield score, Look("spectrogram", time, band, is_sure)


def _axis_pairs(rank: int) -> tuple[tuple[int, int], ...]:
    """Return which axes may be (time, band)."""
    pairs = {2: ((0, 1), (1, 0)), 3: ((1, 2), (2, 1)), 4: ((2, 3), (3, 2), (1, 2), (2, 1))}
    return pairs.get(rank, ())


def _is_channel(dim: int | str | None) -> bool:
    return dim <= _MOST_CHANNELS if isinstance(dim, int) else _says(dim, _CHANNEL_SYMBOLS)


def _band_points(dim: int | str | None, is_named: bool) -> float | None:
    """Say how well an axis goes as bands; None where it does not."""
    if isinstance(dim, int):
        is_usual = dim in _BANDS
        return 2.0 if is_usual else 1.0 if is_named and _LEAST_BANDS <= dim <= _MOST_BANDS else None
    if _says(dim, _BAND_SYMBOLS):
        return 2.0
    return 0.0 if is_named and not _says(dim, _TIME_SYMBOLS) else None


def _time_points(dim: int | str | None, is_named: bool) -> float | None:
    """Say how well an axis goes as frames; None where it does not."""
    if isinstance(dim, int):
        return 0.0 if is_named or dim >= _LEAST_FRAMES else None
    if _says(dim, _BAND_SYMBOLS) or _says(dim, _SIDE_SYMBOLS):
        return None
    return 2.0 if _says(dim, _TIME_SYMBOLS) else 1.0
