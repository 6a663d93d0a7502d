"""Sounds and spectrograms as inputs: their axes, and frames that go on where states are handed on."""

import numpy as np
import pytest

from onnxzip.inputs.generated.looks import Look
from onnxzip.inputs.generated.recordings import overlap_of, sound_of, spectrogram_of
from onnxzip.inputs.generated.sources.spectrograms import scalings
from onnxzip.inputs.generated.states import n_steps_of

RATE_HZ = 16000
PLAIN = Look("sound", 1)


def sound(
    shape: tuple[int, ...], n_runs: int, look: Look = PLAIN, *, is_stream: bool = False
) -> np.ndarray:
    values = sound_of(look, RATE_HZ, is_stream=is_stream)(shape, n_runs, np.random.default_rng(0))
    assert values.shape == (n_runs, *shape)
    assert np.abs(values).max() <= 1
    assert np.isfinite(values).all()
    return values


def spectrogram(
    shape: tuple[int, ...], n_runs: int, look: Look, *, is_stream: bool = False
) -> np.ndarray:
    scaling = scalings(shape[look.band_axis or 0])[0]
    draw = spectrogram_of(look, scaling, is_stream=is_stream)
    values = draw(shape, n_runs, np.random.default_rng(0))
    assert values.shape == (n_runs, *shape)
    assert np.isfinite(values).all()
    return values


@pytest.mark.parametrize(
    ("look", "shape"),
    [
        (Look("sound", 1), (4, 600)),
        (Look("sound", 2), (4, 2, 600)),
        (Look("sound", 1), (4, 600, 1)),
        (Look("sound", 0), (600,)),
    ],
)
def test_each_row_is_another_sound(look: Look, shape: tuple[int, ...]) -> None:
    """Whatever stands along the time axis is alike from one sample to the next."""
    values = np.moveaxis(sound(shape, 2, look), look.time_axis + 1, -1).reshape(-1, 600)
    assert len(np.unique(values, axis=0)) == len(values) == 2 * look.n_rows(shape)
    steps = np.diff(values, axis=1).std(axis=1)
    assert np.median(steps / values.std(axis=1)) < 1.2, "noise has 1.41"


def test_rows_that_continue_each_other_are_one_recording() -> None:
    """Frames of silero-vad's sequence model, over the runs too."""
    look = Look("sound", 1, None, False, rows_continue=True)
    values = sound((8, 500), 4, look).reshape(-1)
    whole = np.abs(np.diff(values))
    seams = whole[499::500]
    assert len(seams) == 31
    assert np.median(seams) < 3 * np.median(whole) + 1e-9
    assert seams.max() <= whole.max()


@pytest.mark.parametrize("length", [512, 576])
def test_a_stream_goes_on_from_run_to_run_until_states_start_anew(length: int) -> None:
    n_runs, overlap = 22, overlap_of(length)
    n_steps = n_steps_of(n_runs)
    assert (n_steps, overlap) == (5, length - 512)
    values = sound((3, length), n_runs, is_stream=True)
    follows = []
    for run in range(1, n_runs):
        before, after = values[run - 1], values[run]
        if overlap:
            follows.append(np.array_equal(before[:, -overlap:], after[:, :overlap]))
        else:
            seam = np.abs(after[:, 0] - before[:, -1])
            usual = np.abs(np.diff(np.concatenate([before, after], axis=1), axis=1)).max(axis=1)
            follows.append(bool((seam <= usual).all()))
    within = [run % n_steps != 0 for run in range(1, n_runs)]
    assert all(f for f, w in zip(follows, within, strict=True) if w)
    if overlap:
        assert follows == within
    starts = values[::n_steps, 0]
    assert len(np.unique(starts, axis=0)) == len(starts), "each start is of another recording"


@pytest.mark.parametrize(
    ("look", "shape"),
    [
        (Look("spectrogram", 1, 2), (2, 50, 40)),
        (Look("spectrogram", 2, 1), (2, 40, 50)),
        (Look("spectrogram", 2, 3), (2, 1, 50, 40)),
        (Look("spectrogram", 0, 1), (50, 40)),
    ],
)
def test_spectrograms_stand_on_their_axes(look: Look, shape: tuple[int, ...]) -> None:
    """With the same random numbers, all of them are the same energies in another order."""
    assert look.band_axis is not None
    values = spectrogram(shape, 2, look)
    axes = (look.time_axis + 1, look.band_axis + 1)
    rows = np.moveaxis(values, axes, (-2, -1)).reshape(-1, 50, 40)
    plain = spectrogram((len(rows), 50, 40), 1, Look("spectrogram", 1, 2))[0]
    np.testing.assert_allclose(rows, plain)


def test_frames_of_a_stream_are_those_of_one_recording() -> None:
    """One after the other, in the order of runs; without states each run has another recording."""
    look = Look("spectrogram", 1, 2)
    values = spectrogram((2, 5, 40), 6, look, is_stream=True)
    whole = np.swapaxes(values, 0, 1).reshape(2, 30, 40)
    expected = spectrogram((2, 30, 40), 1, look)[0]
    np.testing.assert_allclose(whole, expected)
    assert not np.allclose(values, spectrogram((2, 5, 40), 6, look))
