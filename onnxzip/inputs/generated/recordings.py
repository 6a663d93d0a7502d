"""Sounds and spectrograms in the shape of an input, frame by frame where states are handed on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxzip.inputs.generated.draws import Draw
from onnxzip.inputs.generated.looks import Look
from onnxzip.inputs.generated.sources.sounds import sound_stream, sounds
from onnxzip.inputs.generated.sources.spectrograms import Scaling, sound_energies
from onnxzip.inputs.generated.states import n_steps_of


def sound_of(look: Look, rate_hz: int, *, is_stream: bool) -> Draw:
    """Return what draws sounds.

    Args:
        look: where the input has its samples.
        rate_hz: samples in a second.
        is_stream: whether a run goes on where the one before ended.
    """

    def draw(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> NDArray[np.float64]:
        n, length = look.n_rows(shape), shape[look.time_axis]
        if look.rows_continue:
            rows = sound_stream(n_runs * n, 1, length, rate_hz, rng)
        elif is_stream:
            rows = _streams(n_runs, n, length, rate_hz, rng)
        else:
            rows = sounds(n_runs * n, length, rate_hz, rng)
        return np.stack([look.arrange(run, shape) for run in rows.reshape(n_runs, n, length)])

    return draw


def _streams(
    n_runs: int, n: int, length: int, rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return frames that follow one another, (n_runs, n, length); others where states start anew."""
    overlap, n_steps = overlap_of(length), n_steps_of(n_runs)
    parts = [
        sound_stream(min(n_steps, n_runs - first), n, length, rate_hz, rng, overlap)
        for first in range(0, n_runs, n_steps)
    ]
    return np.concatenate(parts)


def overlap_of(length: int) -> int:
    """Return how many samples of a frame are likely to end the one before.

    Frames are as long as transforms like, a power of two. What is one, and a smaller power of two
    besides, at most an eighth of it, has that as context: 64 before 512. 10, 20 and 30 ms are no such.
    """
    context = length & -length  # the lowest bit that is set
    frame = length - context
    return context if frame > 0 and frame & (frame - 1) == 0 and context <= frame // 8 else 0


def spectrogram_of(look: Look, scaling: Scaling, *, is_stream: bool) -> Draw:
    """Return what draws spectrograms in one scaling.

    Args:
        look: where the input has its frames and bands.
        scaling: of the energies.
        is_stream: whether a run goes on where the one before ended.
    """

    def draw(shape: tuple[int, ...], n_runs: int, rng: np.random.Generator) -> NDArray[np.float64]:
        assert look.band_axis is not None
        n, n_frames, n_bands = look.n_rows(shape), shape[look.time_axis], shape[look.band_axis]
        if is_stream:
            whole = scaling.scale(sound_energies(n, n_bands, n_runs * n_frames, rng))
            rows = np.swapaxes(whole.reshape(n, n_runs, n_frames, n_bands), 0, 1)
        else:
            rows = scaling.scale(sound_energies(n_runs * n, n_bands, n_frames, rng))
            rows = rows.reshape(n_runs, n, n_frames, n_bands)
        return np.stack([look.arrange(run, shape) for run in rows])

    return draw
