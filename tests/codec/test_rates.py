"""The fixed-rate quantiser: error bounds, odd values, and a byte count that is no fiction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxzip.codec.coding.packed import choose_alphabet, pack
from onnxzip.codec.estimates import step_dtype
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.passbase import relative_error
from onnxzip.records.payload import Coefficients, Encoded

CODEC = FixedRate()
RATES = list(CODEC.rates)
SHAPES = st.tuples(st.integers(1, 5), st.sampled_from([1, 3, 63, 64, 65, 128, 192, 200]))


@st.composite
def weights(draw: st.DrawFn) -> np.ndarray:
    """Draw (n_segments, length) values of scales from 1e-33 to 1e21, some rows zero or constant."""
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    array = rng.standard_normal(shape) * 10.0 ** draw(st.integers(-30, 15))
    array *= draw(hnp.arrays(np.float64, (shape[0], 1), elements=st.sampled_from([0, 1e-3, 1.0, 1e3])))
    if draw(st.booleans()):
        array[0] = array[0, 0]
    return array.astype(np.float32)


def steps_of(coefficients: Coefficients) -> np.ndarray:
    """Return the step of every single coefficient."""
    shape = coefficients.integers.shape
    steps = coefficients.steps
    if steps.ndim == 2:
        return np.broadcast_to(steps, shape)
    return np.repeat(steps[:, :, 0], shape[1] // steps.shape[1], axis=1)


@given(weights(), st.sampled_from(RATES))
@settings(derandomize=True, deadline=None, max_examples=400)
@pytest.mark.filterwarnings("error")
def test_error_is_at_most_half_a_step(values: np.ndarray, rate: float) -> None:
    """Where an integer is not clipped, rounding is all that is lost."""
    coefficients = CODEC.quantize(values, rate)
    assert coefficients.integers.shape == values.shape
    assert np.abs(coefficients.integers.astype(np.int32)).max() <= rate
    steps = steps_of(coefficients).astype(np.float64)
    assert np.isfinite(steps).all()
    assert (steps >= 0).all()
    restored = coefficients.values().astype(np.float64)
    assert np.isfinite(restored).all()
    error = np.abs(restored - values)
    inside = np.abs(coefficients.integers.astype(np.int32)) < rate
    slack = 1e-6 * np.abs(values) + np.finfo(np.float32).tiny  # float32 and its subnormal numbers
    assert (error <= steps / 2 + slack)[inside].all()


@given(weights(), st.sampled_from(RATES))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_zeros_stay_zero_and_signs_stay(values: np.ndarray, rate: float) -> None:
    """A quantised value is never of the other sign."""
    restored = CODEC.quantize(values, rate).values()
    assert (restored * np.sign(values) >= 0).all()
    assert (restored[values == 0] == 0).all()


def exact_relative_error(values: np.ndarray, restored: np.ndarray) -> float:
    """Return |W - W'| / |W| without float32's overflows."""
    a, b = values.astype(np.float64), restored.astype(np.float64)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-300))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-8, 1.0, 1e5, 1e30])
@pytest.mark.filterwarnings("ignore:overflow")
def test_constant_rows_are_nearly_exact(rate: float, scale: float) -> None:
    """All values equal: the step can be made to hit them, at any scale (float16 has 11 bits)."""
    values = np.full((3, 128), scale, np.float32)
    assert exact_relative_error(values, CODEC.quantize(values, rate).values()) <= 6e-4


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 3e4, 1e9, 1e30])
@pytest.mark.filterwarnings("ignore:overflow")
def test_error_does_not_depend_on_the_scale(scale: float) -> None:
    """Tiny and huge weights, beyond float16's range, are stored as well as ordinary ones."""
    values = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    values *= np.float32(scale)
    for rate, limit in ((7, 0.12), (127, 0.012), (32767, 1e-3)):
        assert exact_relative_error(values, CODEC.quantize(values, rate).values()) <= limit


@pytest.mark.parametrize("scale", [1e-40, 1e-38, 1e19, 1e30, 3e37])
@pytest.mark.filterwarnings("error")
def test_extreme_scales_raise_no_warnings(scale: float) -> None:
    """A warning of numpy's would end up on the user's stderr."""
    values = (np.random.default_rng(0).standard_normal((2, 128)) * scale).astype(np.float32)
    values[0, 0] = 0
    for rate in RATES:
        coefficients = CODEC.quantize(values, rate)
        assert np.abs(coefficients.integers.astype(np.int32)).max() <= rate
        assert coefficients.integers[0, 0] == 0
        assert relative_error(values, coefficients.values()) <= 1


def test_errors_fall_with_the_rate() -> None:
    """The ladder is one: each rate is more exact and takes more bytes than the one before."""
    values = np.random.default_rng(1).standard_normal((8, 640)).astype(np.float32)
    quantised = [CODEC.quantize(values, rate) for rate in RATES]
    errors = [exact_relative_error(values, q.values()) for q in quantised]
    sizes = [CODEC.n_bytes(Encoded({"w": q})) for q in quantised]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == len(errors)
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


def test_clipping_beats_the_full_range_at_low_rates() -> None:
    """One outlier among 64 must not cost all the others their precision."""
    values = np.random.default_rng(2).standard_normal((1, 64)).astype(np.float32)
    values[0, 0] = 6.0
    restored = CODEC.quantize(values, 2).values()
    step = np.float32(6.0 / 2)
    naive = np.rint(values / step) * step
    assert relative_error(values, restored) < 0.9 * relative_error(values, naive)


def test_groups_follow_local_scales() -> None:
    """Runs of 64 coefficients of one segment have steps of their own."""
    values = np.random.default_rng(3).standard_normal((2, 256)).astype(np.float32)
    values[:, 128:] *= 1e-3
    coefficients = CODEC.quantize(values, 7)
    assert coefficients.steps.shape == (2, 4, 1)
    small = slice(128, None)
    assert relative_error(values[:, small], coefficients.values()[:, small]) < 0.15


def test_large_arrays_are_quantised_in_pieces_alike() -> None:
    """The chunks that bound memory do not show in the result."""
    values = np.random.default_rng(4).standard_normal((70, 2**15)).astype(np.float32)
    whole = CODEC.quantize(values, 7)
    part = CODEC.quantize(values[64:], 7)
    np.testing.assert_array_equal(whole.integers[64:], part.integers)
    np.testing.assert_array_equal(whole.steps[64:], part.steps)


@given(weights(), st.sampled_from(RATES))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_byte_count_covers_payload_and_steps(values: np.ndarray, rate: float) -> None:
    """The estimate is what is stored, tables too, and an allowance of a few hundred bytes."""
    coefficients = CODEC.quantize(values, rate)
    alphabet = choose_alphabet(coefficients.integers)
    payload = pack([coefficients.integers], alphabet)
    table = alphabet.table().nbytes if alphabet.digits > 1 else 0
    stored = payload.nbytes + coefficients.steps.astype(step_dtype(coefficients.steps)).nbytes
    for n_sharing in (1, 40):
        estimate = FixedRate(n_sharing=n_sharing).n_bytes(Encoded({"w": coefficients}))
        assert stored + table // n_sharing < estimate <= stored + table // n_sharing + 300


@pytest.mark.parametrize(
    ("step", "dtype"), [(0.5, "float16"), (0.1, "float32"), (1e6, "float32"), (0, "float16")]
)
def test_steps_are_narrow_only_when_that_is_exact(step: float, dtype: str) -> None:
    """Float16 holds 0.5 and 0; 0.1 would change and a million overflow."""
    steps = np.full((2, 1), step, np.float32)
    assert step_dtype(steps) == dtype
    np.testing.assert_array_equal(steps.astype(step_dtype(steps)).astype(np.float32), steps)


def test_input_is_not_changed() -> None:
    """Weights are read-only; quantising one must not need to write to it."""
    values = np.random.default_rng(5).standard_normal((4, 128)).astype(np.float32)
    values.flags.writeable = False
    before = values.copy()
    for rate in RATES:
        CODEC.quantize(values, rate)
    np.testing.assert_array_equal(values, before)
