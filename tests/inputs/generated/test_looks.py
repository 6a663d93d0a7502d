"""What inputs look like: names and shapes of models in packages, and of what is no sound."""

import numpy as np
import pytest

from onnxzip.inputs.generated.free_sizes import FreeSizes, resolve_shapes
from onnxzip.inputs.generated.looks import Look, looks_of
from onnxzip.runtime.input_spec import InputSpec

Shape = tuple[int | str | None, ...]


def read(name: str, shape: Shape, dtype: str = "float32") -> tuple[Look, ...]:
    spec = InputSpec(name, np.dtype(dtype), shape)
    return looks_of(spec, resolve_shapes([spec], FreeSizes())[name])


SOUNDS: list[tuple[str, Shape, int, bool]] = [
    ("input", ("batch", "sequence"), 1, False),  # silero-vad
    ("input", (None, None), 1, False),
    ("input", (1, 576), 1, False),
    ("audio", (1, "samples"), 1, True),  # swift-f0
    ("input", ("batch_size", "samples"), 1, True),  # openWakeWord, front end
    ("serving_default_input_2:0", ("unk__749", 43844, 1), 1, False),  # basic-pitch
    ("input_1", ("N", 144160), 1, False),  # DNSMOS
    ("input_values", ("batch", "sequence"), 1, True),  # wav2vec 2.0
    ("waveforms", ("batch_size", "N"), 1, True),  # front ends of onnx-asr
    ("waveform", ("batch", 1, "samples"), 2, True),
    ("waveform", (None, None, None), 2, True),
    ("mix", (1, 2, "length"), 2, True),
    ("x", ("batch", 1, "time"), 2, False),
    ("pcm", ("length",), 0, True),
    ("x", (16000,), 0, False),
    ("audioSignal", ("b", "t"), 1, True),
]


@pytest.mark.parametrize(("name", "shape", "time", "is_named"), SOUNDS)
def test_sounds(name: str, shape: Shape, time: int, is_named: bool) -> None:
    assert read(name, shape)[0] == Look("sound", time, None, is_named)


SPECTROGRAMS: list[tuple[str, Shape, int, int, bool]] = [
    ("input_1", ("unk__314", 76, 32, 1), 1, 2, False),  # openWakeWord, embedding
    ("input_features", ("s6", 80, 800), 2, 1, True),  # smart-turn
    ("input_features", ("batch", "feature_size", "encoder_sequence_length"), 2, 1, True),  # Whisper
    ("stacked_logmel", ("batch", "time", 512), 1, 2, True),  # VoiceFilter-Lite
    ("input_1", ("N", 901, 161), 1, 2, False),  # DNSMOS
    ("input_1", ("N", 900, 120), 1, 2, False),
    ("degraded_audio", ("batch_size", 1, "frames", 257), 2, 3, True),  # PLCMOS
    ("input", ("batch_size", 3, "frames", 160), 2, 3, True),  # AECMOS
    ("audio_signal", ("b", 80, "t"), 2, 1, True),  # NeMo
    ("speech", ("batch", "feats_length", 560), 1, 2, True),  # Paraformer
    ("feats", ("B", "T", 80), 1, 2, True),  # WeSpeaker
    ("x", ("N", "T", 80), 1, 2, False),  # zipformer
    ("feat_erb", (1, 1, "S", 32), 2, 3, True),  # DeepFilterNet
    ("x", (1, 1, 101, 40), 2, 3, False),
    ("mfcc", ("T", 13), 0, 1, True),
    ("x", ("batch", 64, "time"), 2, 1, False),
]


@pytest.mark.parametrize(("name", "shape", "time", "band", "is_named"), SPECTROGRAMS)
def test_spectrograms(name: str, shape: Shape, time: int, band: int, is_named: bool) -> None:
    assert read(name, shape)[0] == Look("spectrogram", time, band, is_named)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pixel_values", ("batch", 3, 224, 224)),
        ("input", ("batch", 3, 224, 224)),
        ("input", ("batch", 3, 64, 80)),
        ("input", (1, 224, 224, 3)),
        ("x", ("batch", 3, "height", "width")),
        ("x", ("batch", 1, 28, 28)),
        ("x", ("batch", 1, 32, "width")),
        ("image", (1, 1, 64, 128)),
        ("sample", ("batch", 4, 64, 64)),
        ("inputs_embeds", ("batch", "sequence", 768)),
        *[("x", ("batch", "sequence", size)) for size in (384, 512, 768, 1024)],
        ("image_features", ("batch", 50, 768)),
        ("state", (2, "batch", 128)),
        ("h0", (3, "batch", 512)),
        ("c", (1, 1, 128)),
        ("past_key_values.0.key", ("batch", 8, "past", 64)),
        ("dvec", ("batch", 256)),
        ("rater_embed", ("batch_size", 64)),
        ("audio_embeds", ("batch", "sequence", 80)),
        ("audio_length", ("batch",)),
        ("float_input", (None, 30)),
        ("x", ("batch", 63)),
        ("x", ("batch", 4)),
        ("x", ("batch",)),
        ("x", ()),
        ("features", ("batch", 30)),
        ("speech_mask", ("batch", "time")),
        ("x", ("batch", 784)),
    ],
)
def test_neither(name: str, shape: Shape) -> None:
    assert read(name, shape) == ()


def test_only_floats() -> None:
    assert read("audio", ("batch", "samples"), "int64") == ()
    assert looks_of(InputSpec("audio", "tensor(string)", (1, 16000)), (1, 16000)) == ()


@pytest.mark.parametrize("symbol", ["seq_len", "sequence_length", "frames", "time"])
def test_rows_that_continue_each_other(symbol: str) -> None:
    """silero-vad's sequence model and faster-whisper's take the frames of one recording as rows."""
    assert read("input", (symbol, 576)) == (Look("sound", 1, None, False, rows_continue=True),)
    assert not read("input", ("batch", 576))[0].rows_continue


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", ("batch",)),
        ("waveform", ("batch",)),
        ("waveform", ("batch", 3)),
        ("mel", ("batch", 80)),
        ("mel", (80, "batch_size")),
        ("features", (1, "batch", 80)),
    ],
)
def test_an_axis_that_is_called_a_batch_is_none_of_time_or_bands(name: str, shape: Shape) -> None:
    """Nothing goes on from one sample to the next."""
    assert read(name, shape) == ()
    assert read("mel", ("frames", 80)) == (Look("spectrogram", 0, 1, True),)


def test_ambiguous_shapes_have_every_reading() -> None:
    """Forty frames of 80 bands, or 80 frames of 40."""
    found = {(reading.time_axis, reading.band_axis) for reading in read("mel_window", ("batch", 80, 40))}
    assert found == {(1, 2), (2, 1)}
    assert len(read("x", ("batch", 96, 64))) == 2
    assert {reading.kind for reading in read("x", ("batch", 1, 257))} == {"sound"}


@pytest.mark.parametrize(
    ("reading", "shape", "n_rows"),
    [
        (Look("sound", 1), (4, 100), 4),
        (Look("sound", 2), (4, 2, 100), 8),
        (Look("sound", 1), (4, 100, 1), 4),
        (Look("sound", 0), (100,), 1),
        (Look("spectrogram", 1, 2), (4, 7, 9), 4),
        (Look("spectrogram", 2, 1), (4, 9, 7), 4),
        (Look("spectrogram", 1, 2), (4, 7, 9, 2), 8),
        (Look("spectrogram", 0, 1), (7, 9), 1),
    ],
)
def test_rows_are_laid_out(reading: Look, shape: tuple[int, ...], n_rows: int) -> None:
    assert reading.n_rows(shape) == n_rows
    sizes = [shape[axis] for axis in (reading.time_axis, reading.band_axis) if axis is not None]
    rows = np.arange(float(np.prod(shape))).reshape(n_rows, *sizes)
    values = reading.arrange(rows, shape)
    assert values.shape == shape
    used = [axis for axis in (reading.time_axis, reading.band_axis) if axis is not None]
    np.testing.assert_array_equal(
        np.moveaxis(values, used, range(-len(used), 0)).reshape(rows.shape), rows
    )
