"""What quantises a weight, at which level; error bounds, odd values, byte counts that are no fiction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxzip.codec import variable_rate
from onnxzip.codec.coding.packed import choose_alphabet, pack
from onnxzip.codec.emit.coded import emit_coded
from onnxzip.codec.emit.packed import emit_packed
from onnxzip.codec.estimates import n_ideal_bits, n_step_bytes, step_dtype
from onnxzip.codec.extreme_ranges import extreme_exponent, rescaled
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.codec.level import level
from onnxzip.codec.variable_rate import BIT_PRICE, VariableRate
from onnxzip.errors import UsageError
from onnxzip.passbase import relative_error
from onnxzip.records.layer import Layer, Layout, Statistics
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


@pytest.mark.parametrize("codec", [FixedRate(), VariableRate()], ids=["fixed", "variable"])
def test_high_rates_take_12_and_16_bits(codec: FixedRate | VariableRate) -> None:
    """A weight that bears hardly any error has an offer between 8 bits and the weight itself."""
    values = np.random.default_rng(1).standard_normal((16, 640)).astype(np.float32)
    values[3] *= 1e-3
    rates = sorted({*codec.rates, *codec.high_rates})
    errors, bits = [], []
    for rate in rates:
        quantised = codec.quantize(values, rate)
        errors.append(exact_relative_error(values, quantised.values()))
        bits.append(8 * codec.n_bytes(Encoded({"w": quantised})) / values.size)
    assert errors == sorted(errors, reverse=True)
    assert bits == sorted(bits)
    assert any(11.5 < n < 13 for n in bits)
    assert bits[-1] == pytest.approx(16, abs=0.5)
    assert errors[-1] < 5e-5
    row = codec.quantize(values, rates[-1]).values()[3]
    assert exact_relative_error(values[3], row) < 5e-5
    for rate in codec.high_rates:
        assert codec.n_bits(rate) == pytest.approx(bits[rates.index(rate)], abs=0.6)


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


@pytest.mark.parametrize(("rate", "n_groups"), [(2, 4), (7, 8), (127, 8), (32767, 1)])
def test_groups_follow_local_scales(rate: float, n_groups: int) -> None:
    """Runs of 64 or 32 coefficients of one segment have steps of their own, up to a byte each."""
    values = np.random.default_rng(3).standard_normal((2, 256)).astype(np.float32)
    values[:, 128:] *= 1e-3
    coefficients = CODEC.quantize(values, rate)
    assert coefficients.steps.size == 2 * n_groups
    small = slice(128, None)
    assert relative_error(values[:, small], coefficients.values()[:, small]) < (
        0.4 if rate == 2 else 0.15
    )


def test_many_steps_take_a_byte_each() -> None:
    """They are 1/16 of an octave apart, unless that does not tell them all."""
    values = np.random.default_rng(3).standard_normal((64, 1024)).astype(np.float32)
    for rate in (7, 127):
        steps = CODEC.quantize(values, rate).steps
        exponents = 16 * np.log2(steps.astype(np.float64))
        np.testing.assert_allclose(exponents, np.rint(exponents), atol=1e-5)
        assert np.abs(values).max() <= 1.001 * rate * steps.max()
        assert steps.size < n_step_bytes(steps) < 1.3 * steps.size
    values[0] *= 2.0**-20
    assert n_step_bytes(CODEC.quantize(values, 7).steps) > 2 * steps.size - 10


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


def test_a_grid_of_steps_has_its_price() -> None:
    """A byte an exponent, and 100 for the two tables and the nodes that look the exponents up."""
    integers = np.ones((6, 32), np.int8)
    steps, outer = np.ones((4, 1), np.float32), np.ones((3, 1, 1), np.float32)
    grid = Coefficients(integers, steps, outer=outer)
    plain = replace(grid, outer=None)
    codec = VariableRate()
    assert codec.n_bytes(Encoded({"w": plain})) == 200
    assert codec.n_bytes(Encoded({"w": grid})) == 200 + 4 + 3 + 100
    two = Encoded({"a": grid, "b": plain, "c": grid})
    assert codec.n_bytes(two) == 3 * 200 + 2 * 107


@pytest.mark.parametrize("codec", [FixedRate(), VariableRate()], ids=["fixed", "variable"])
def test_integers_and_tables_are_counted(codec: FixedRate | VariableRate) -> None:
    """Arrays are added up, whatever they decode to; a table takes its bytes and 40 beside them."""
    ones = np.resize(np.array([1, 0], np.int32), (4, 64))
    coefficients = Coefficients(ones.astype(np.int8), np.full((1, 1), 0.5, np.float32))
    table = np.zeros((3, 5), np.float16)
    alone = codec.n_bytes(Encoded({"w": coefficients}))
    indices = codec.n_bytes(Encoded(integers={"i": ones}))
    assert alone - indices == (2 if isinstance(codec, FixedRate) else 0)
    assert indices == (32 + 200 + 2048 if isinstance(codec, FixedRate) else int(32 * 1.02 + 200))
    all_parts = Encoded({"w": coefficients}, {"i": ones, "j": ones}, {"t": table, "u": table})
    assert codec.n_bytes(all_parts) == pytest.approx(alone + 2 * indices + 2 * (30 + 40), abs=2)


def layers_of(**sizes: int) -> list[Layer]:
    """Return layers with so many weights, which take no memory."""
    layout, zero = Layout((), (0,), (), ()), np.float32(0)
    return [Layer(name, "", np.broadcast_to(zero, (n,)), layout) for name, n in sizes.items()]


def coded_names(number: int, layers: list[Layer], limit: int | None) -> str:
    codecs = replace(level(number), max_coded_weights=limit).codecs(layers)
    assert set(codecs) == {layer.name for layer in layers}
    return "".join(sorted(name for name, c in codecs.items() if isinstance(c, VariableRate)))


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ({"a": 30, "b": 10, "c": 20}, 59, "bc"),
        ({"a": 30, "b": 10, "c": 20}, 60, "abc"),
        ({"a": 30, "b": 10, "c": 20}, 30, "bc"),
        ({"a": 30, "b": 10, "c": 20}, 29, "b"),
        ({"a": 30, "b": 10, "c": 20}, 15, "b"),
        ({"a": 30, "b": 10, "c": 20}, 14, ""),
        ({"a": 30, "b": 10, "c": 20}, 0, ""),
        ({"a": 30, "b": 10, "c": 20}, None, "abc"),
        ({"z": 10, "y": 10, "x": 10}, 20, "xy"),
        ({"a": 70, "b": 10}, 20, "b"),
        ({"a": 71, "b": 10}, 20, ""),
    ],
)
def test_the_smallest_weights_are_coded_up_to_the_limit(
    sizes: dict[str, int], limit: int | None, expected: str
) -> None:
    """Equal ones by name; above four times the limit none is."""
    assert coded_names(6, layers_of(**sizes), limit) == expected


@pytest.mark.parametrize(
    ("number", "limit"),
    [(4, 1_000_000), (5, 2_000_000), (6, 4_000_000), (7, 8_000_000), (8, 16_000_000)],
)
def test_a_level_codes_twice_as_many_weights_as_the_one_before(number: int, limit: int) -> None:
    for n, expected in ((limit - 10, "ab"), (limit - 9, "a")):
        codecs = level(number).codecs(layers_of(a=10, b=n))
        coded = "".join(sorted(k for k, c in codecs.items() if isinstance(c, VariableRate)))
        assert coded == expected


def test_beyond_the_limit_those_are_coded_that_save_enough() -> None:
    """From level 7 on; memory at load that is given decides alone."""
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(3, (64, 512)).astype(np.float32)
    even = rng.uniform(-1, 1, (64, 512)).astype(np.float32)
    layout = Layout((), (0,), (), ())
    layers = [Layer("even", "", even, layout), Layer("heavy", "", heavy, layout)]
    assert [coded_names(number, layers, 0) for number in (6, 7, 8)] == ["", "heavy", "heavy"]
    for n_bytes, expected in ((20 * 65_536, 0), (50 * 65_536, 1), (80 * 65_536, 2)):
        codecs = level(7).codecs(layers, n_bytes)
        assert sum(isinstance(codec, VariableRate) for codec in codecs.values()) == expected


def test_a_level_is_what_it_says() -> None:
    """1 to 3 pack everything, 4 to 9 code, and 9 codes everything; names are shortened from 6 on."""
    layers = layers_of(a=1, b=10**12)
    for number in range(1, 10):
        found = level(number)
        assert found.number == number
        assert found.emit is (emit_packed if number <= 3 else emit_coded)
        assert found.renames == (number >= 6)
        kinds = [type(codec) for codec in found.codecs(layers).values()]
        assert kinds == [VariableRate if number == 9 else FixedRate] * 2
    for number in (-1, 0, 10):
        with pytest.raises(UsageError, match=f"there is no level {number}"):
            level(number)


def test_codecs_know_what_is_measured_and_what_shares_tables() -> None:
    """Tables are shared by all layers, coded ones too; without statistics a bit has its price."""
    plain = layers_of(a=10, b=20, c=90)
    seen = [*plain[:2], replace(plain[2], statistics=Statistics(np.eye(1, dtype=np.float32), 1))]
    for layers, price in ((plain, BIT_PRICE), (seen, 0.0)):
        codecs = replace(level(6), max_coded_weights=30).codecs(layers)
        assert codecs == {
            "a": VariableRate(plain_bit_price=price),
            "b": VariableRate(plain_bit_price=price),
            "c": FixedRate(n_sharing=3),
        }
    assert level(6).codecs([]) == {}


@pytest.mark.parametrize("plain_bit_price", [0.0, BIT_PRICE])
def test_chunks_do_not_show_at_variable_rates(
    monkeypatch: pytest.MonkeyPatch, plain_bit_price: float
) -> None:
    values = np.random.default_rng(6).standard_normal((70, 65)).astype(np.float32)
    codec = VariableRate(plain_bit_price=plain_bit_price)
    whole = codec.quantize(values, 2)
    monkeypatch.setattr(variable_rate, "CHUNK", 1000)
    np.testing.assert_array_equal(codec.quantize(values, 2).integers, whole.integers)
    plain = np.rint(values / whole.steps)
    assert np.array_equal(whole.integers, plain) == (plain_bit_price == 0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_no_integer_is_larger_than_the_coder_takes(sign: int) -> None:
    """Where the step is far below the largest value it is as large as 2^20 integers need."""
    values = np.array([[0.25, sign * 8.0]], np.float32)
    coded = VariableRate().quantize(values, 1.0, rms=1e-6)
    assert coded.integers.tolist() == [[1 << 15, sign << 20]]
    assert coded.steps.tolist() == [[2.0**-17]]


def test_ranges_are_extreme_where_squares_leave_float32() -> None:
    """The exponents of 2^-41 ... 2^40 - 1 are no more than 40; beyond, the exponent is divided out."""
    for largest, exponent in ((2.0**39, 0), (2.0**40, 41), (2.0**-41, 0), (2.0**-42, -41), (0, 0)):
        assert extreme_exponent(np.array([[0, -largest, largest / 3]], np.float32)) == exponent
    assert extreme_exponent(np.zeros((0, 4), np.float32)) == 0


def test_steps_below_the_normal_numbers_become_zero() -> None:
    coefficients = Coefficients(
        np.ones((3, 2), np.int8), np.array([[1], [0.75], [4]], np.float32), is_fixed_rate=True
    )
    found = rescaled(coefficients, -126)
    assert found.steps.tolist() == [[2.0**-126], [0], [2.0**-124]]
    assert found.is_fixed_rate
    np.testing.assert_array_equal(rescaled(coefficients, 100).steps, coefficients.steps * 2.0**100)


def test_ideal_bits_are_the_entropy_within_classes() -> None:
    """Segments of few integers share a context; many are told apart by their magnitude."""
    few = np.resize(np.array([0, 0, 1, -1], np.int32), (8, 32))
    assert n_ideal_bits(few) == 256 * 1.5
    assert n_ideal_bits(few - 1000) == 256 * 1.5
    assert n_ideal_bits(np.zeros((0, 7), np.int32)) == 0
    constant = np.repeat(np.array([[3], [0], [7], [-5]], np.int32), 4096, axis=1)
    assert n_ideal_bits(constant) == 0
    assert n_ideal_bits(constant[:, :1000]) == 4000 * 2
