"""What an input's values may mean: names, types and shapes, the likeliest reading first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.errors import CalibrationError
from onnxzip.inputs.generated.readings import (
    Context,
    Hints,
    Reading,
    is_free_sound,
    is_named_sound,
    readings,
    refuse_unsupported,
    sequence_length,
)
from onnxzip.runtime.input_spec import InputSpec

F16, F32, I64, U8 = (np.dtype(name) for name in ("float16", "float32", "int64", "uint8"))
PLAIN = Context(Hints(), length=32)


def ways(name: str, dtype: np.dtype, shape: tuple[int, ...], context: Context = PLAIN) -> list[Reading]:
    return list(readings(InputSpec(name, dtype, shape), shape, context))


def draw(reading: Reading, shape: tuple[int, ...], n_runs: int = 8, seed: int = 0) -> np.ndarray:
    values = np.asarray(reading.draw(shape, n_runs, np.random.default_rng(seed)))
    assert values.shape == (n_runs, *shape)
    return values


def first(name: str, dtype: np.dtype, shape: tuple[int, ...], context: Context = PLAIN) -> np.ndarray:
    return draw(ways(name, dtype, shape, context)[0], shape)


def names_of(found: list[Reading], *, fallbacks: bool = False) -> list[str]:
    return [reading.name for reading in found if reading.is_fallback == fallbacks]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 40000), st.integers(0, 5), st.integers(0, 99))
def test_ids_are_those_of_the_table(n_rows: int, start: int, seed: int) -> None:
    ids = range(start, start + n_rows)
    found = ways("input_ids", I64, (2, 9), Context(Hints({"input_ids": ids}), 9))
    assert names_of(found) == ["ids as in texts", "ids from the whole table"]
    for reading in found:
        values = draw(reading, (2, 9), seed=seed)
        assert values.min() >= ids.start
        assert values.max() < ids.stop


def test_places_that_index_tables_of_their_own_get_ids() -> None:
    """Column 1 of a float input is a category of 5, all others are numbers."""
    hints = Hints(parts={"x": {(1, 1): range(5)}})
    for reading in ways("x", F32, (4, 3), Context(hints, 1)):
        values = draw(reading, (4, 3))
        assert set(np.unique(values[..., 1])) <= set(range(5))
        assert (values[..., [0, 2]] % 1 != 0).any()


def test_values_follow_names() -> None:
    assert (first("token_type_ids", I64, (4, 32)) <= 1).all()
    assert set(np.unique(first("token_type_ids", I64, (4, 32)))) == {0, 1}
    np.testing.assert_array_equal(first("position_ids", I64, (4, 32))[3, 1], np.arange(32))
    short = Context(Hints({"position_ids": range(2, 10)}), 1)
    assert first("position_ids", I64, (1, 16), short).min() == 2
    assert first("position_ids", I64, (1, 16), short).max() == 9
    assert (first("sr", I64, ()) == 16000).all()
    assert (first("sampling_rate", F32, ()) == 16000).all()
    assert (first("lengths", I64, (1,)) == 32).all()
    many = first("lengths", I64, (4,))
    assert many.max() == 32
    assert 1 <= many.min() < 32
    steps = first("timestep", I64, (1,))
    assert 0 <= steps.min() < steps.max() < 1000
    assert 0.3 < first("h", F32, (1, 4, 99)).std() < 0.7
    flags = first("flags", np.dtype("bool"), (4, 100))
    assert 0.3 < flags.mean() < 0.7
    np.testing.assert_array_equal(first("use_cache", np.dtype("bool"), (1,))[:, 0], [True, False] * 4)


def test_masks_are_made_in_each_meaning() -> None:
    sure = ways("attention_mask", I64, (4, 32))
    assert [reading.name for reading in sure] == ["masks of ones"]
    mask = draw(sure[0], (4, 32))
    assert mask[0, 0].all()
    assert not mask[0, 1, -1]
    assert mask[0, 1, 0]
    unsure = ways("pad_mask", np.dtype("bool"), (4, 32))
    assert {reading.name for reading in unsure} == {"masks of ones", "masks of zeros"}
    for reading in unsure:  # no row is hidden or kept as a whole
        kept = draw(reading, (4, 32)).mean(axis=-1)
        assert kept.min() > 0
        assert kept.max() < 1


def test_bounds_are_numbers_around_1_or_hertz() -> None:
    for sound, order in ((False, ["bounds around 1", "bounds in hertz"]), (True, None)):
        context = Context(Hints(), 1, is_sound=sound)
        low, high = (ways(name, F32, (), context) for name in ("f_min", "f_max"))
        assert [r.name for r in low] == (order or ["bounds in hertz", "bounds around 1"])
        assert [r.is_fallback for r in low] == [False, True]
        for below, above in zip(low, high, strict=True):
            assert draw(below, ()).max() < draw(above, ()).min()


def test_lonely_numbers_are_factors_first() -> None:
    found = ways("noise_scale", F32, (1,))
    assert [reading.is_fallback for reading in found] == [False, True]
    assert draw(found[0], (1,)).min() >= 0
    assert draw(found[1], (1,), 64).min() < 0


def test_pictures_come_in_every_scaling() -> None:
    found = ways("x", F32, (4, 3, 32, 32))
    scaled = [reading for reading in found if reading.is_scaled]
    assert [r.name for r in scaled] == [
        *("photographs (0..1)", "photographs (-1..1)", "photographs (mean/deviation)"),
        *("photographs (0..255)", "photographs (0..255 less mean)"),
    ]
    assert all(r.is_like_real for r in scaled)
    assert names_of(found) == [r.name for r in scaled]
    ranges = [(draw(r, (4, 3, 32, 32)).min(), draw(r, (4, 3, 32, 32)).max()) for r in scaled]
    assert 0 <= ranges[0][0] < ranges[0][1] <= 1
    assert ranges[1][0] < -0.5
    assert ranges[3][1] > 200
    # the same pictures in each, so that losses differ by the scaling alone
    np.testing.assert_allclose(
        255 * draw(scaled[0], (4, 3, 32, 32)), draw(scaled[3], (4, 3, 32, 32)), rtol=1e-12
    )


def test_bytes_of_pictures_are_not_scaled() -> None:
    (found,) = ways("image", U8, (2, 32, 32, 3))
    assert (found.name, found.is_like_real, found.is_scaled) == ("photographs", True, False)
    values = draw(found, (2, 32, 32, 3))
    assert (values == np.round(values)).all()
    assert values.min() >= 0
    assert 200 < values.max() <= 255
    signed = draw(ways("image", np.dtype("int8"), (2, 32, 32, 3))[0], (2, 32, 32, 3))
    assert (signed.min() < -100) & (signed.max() <= 127)
    (noise,) = ways("codes", U8, (2, 32, 7))
    assert noise.name == "random bytes"


def test_what_is_called_a_sound_is_one() -> None:
    found = ways("waveform", F32, (2, 16000))
    assert names_of(found)[0] == "sounds"
    assert found[0].is_like_real
    values = draw(found[0], (2, 16000))
    assert np.abs(values).max() <= 1
    assert names_of(found, fallbacks=True) == [
        *("noise", "noise of many levels", "noise around a point", "numbers from 0 to 1")
    ]


def test_spectrograms_come_in_several_scalings() -> None:
    spec = InputSpec("mel", F32, ("batch", 80, "time"))
    found = readings(spec, (2, 80, 100), PLAIN)
    scaled = [reading for reading in found if reading.is_scaled]
    assert len(scaled) > 1
    assert all(r.name.startswith("spectrograms (") and r.is_like_real for r in scaled)
    assert len({r.name for r in scaled}) == len(scaled)
    for reading in scaled:
        assert np.isfinite(draw(reading, (2, 80, 100), 2)).all()


def test_what_may_be_turned_is_tried_both_ways() -> None:
    """Under names of their own: families are told apart by them, and scalings chosen."""
    scaled = [reading for reading in ways("mel", F32, (2, 80, 100)) if reading.is_scaled]
    for axis in (1, 2):
        assert any(r.name.startswith(f"spectrograms with bands on axis {axis} (") for r in scaled)
    assert len({r.name for r in scaled}) == len(scaled)


def test_what_only_a_shape_speaks_for_is_a_guess() -> None:
    """A name or a free axis of time says more: so many fixed numbers may be anything."""
    for name, shape, is_guess in (
        ("x", (4, 16000), True),
        ("x", ("batch", "time"), False),
        ("waveform", (4, 16000), False),
        ("x", (2, 80, 100), True),
        ("x", ("batch", 80, "time"), False),
        ("mel", (2, 80, 100), False),
        ("x", (4, 3, 32, 32), False),
    ):
        sizes = {"batch": 4, "time": 16000}
        resolved = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in shape)
        found = readings(InputSpec(name, F32, shape), resolved, PLAIN)
        assert {r.is_guess for r in found if r.is_like_real} == {is_guess}, (name, shape)
        assert not any(r.is_guess for r in found if not r.is_like_real)


def test_what_may_be_a_picture_and_a_spectrogram_is_tried_as_both() -> None:
    """By turns, so that the first families have one of each kind."""
    found = ways("x", F32, (4, 1, 96, 64))
    kinds = [reading.name.split(" (")[0] for reading in found if reading.is_scaled]
    assert kinds[:3] == [
        *("spectrograms with bands on axis 3", "spectrograms with bands on axis 2"),
        "photographs",
    ]
    assert kinds[3] == kinds[0]
    assert all(r.is_guess == r.name.startswith("spectrograms") for r in found if r.is_scaled)


def test_unnamed_vectors_are_noise_of_one_level_and_of_many() -> None:
    found = ways("x", F32, (4, 8))
    assert names_of(found) == ["noise", "noise of many levels", "noise around a point"]
    assert names_of(found, fallbacks=True) == ["numbers from 0 to 1"]
    steady, varied, around, positive = (draw(reading, (4, 500), 16) for reading in found)
    assert around.mean(axis=(0, 1)).std() > 3 * around.std(axis=(0, 1)).max() / 2
    levels = steady.std(axis=-1), varied.std(axis=-1)
    assert levels[0].max() < 1.2 * levels[0].min()
    assert levels[1].max() > 4 * levels[1].min()
    assert (positive.min() >= 0) & (positive.max() <= 1)


def test_small_integers_are_tried_before_ones_and_zeros() -> None:
    found = ways("mode", I64, (3,))
    assert [r.name for r in found] == ["small numbers", "ones", "zeros"]
    assert [r.is_fallback for r in found] == [False, True, True]
    assert set(np.unique(draw(found[0], (3,), 64))) <= {0, 1, 2, 3}


def test_the_same_seed_the_same_values() -> None:
    for name, dtype, shape in (
        ("x", F32, (4, 8)),
        ("image", F32, (1, 3, 16, 16)),
        ("wav", F32, (1, 600)),
    ):
        for reading in ways(name, dtype, shape):
            np.testing.assert_array_equal(draw(reading, shape, 3, 1), draw(reading, shape, 3, 1))
            assert not np.array_equal(draw(reading, shape, 3, 1), draw(reading, shape, 3, 2))


def test_sounds_are_told_from_others() -> None:
    assert is_free_sound(InputSpec("waveform", F32, ("batch", "samples")))
    assert not is_free_sound(InputSpec("waveform", F32, ("batch", 512)))
    assert not is_free_sound(InputSpec("input_ids", I64, ("batch", "seq")))
    assert is_named_sound(InputSpec("waveform", F32, ("batch", 512)), (4, 512))
    assert not is_named_sound(InputSpec("embedding", F32, ("batch", 512)), (4, 512))


def test_the_length_is_that_of_the_first_sequence() -> None:
    state, ids = InputSpec("h0", F32, (2, "b", 8)), InputSpec("ids", I64, ("b", "s"))
    assert sequence_length([state, ids], {"h0": (2, 4, 8), "ids": (4, 32)}) == 32
    assert sequence_length([InputSpec("x", F32, (7, 5))], {"x": (7, 5)}) == 5
    assert sequence_length([InputSpec("x", F32, (7,))], {"x": (7,)}) == 1


@pytest.mark.parametrize("dtype", ["tensor(string)", "seq(tensor(float))", "map(int64,tensor(float))"])
def test_unsupported_inputs_are_refused(dtype: str) -> None:
    with pytest.raises(CalibrationError, match=r"input 'text' has type .*calibration"):
        refuse_unsupported([InputSpec("text", dtype, ("n",))])
