"""Error-feedback rounding: the recursion against its definition, and what it is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.codec import feedback as feedback_module
from onnxzip.codec import layer_feedback as layer_feedback_module
from onnxzip.codec import variable_rate
from onnxzip.codec.feedback import (
    make_feedback,
    round_at,
    round_columns,
    thresholds,
)
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.codec.layer_feedback import layer_feedback, shared_feedback
from onnxzip.codec.variable_rate import BIT_PRICE, VariableRate
from onnxzip.measure.moments.distortion import OutputDistortion
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.records.payload import STEPS_PER_OCTAVE
from onnxzip.transforms.dct import spatial_basis


def moment_of(n_columns: int, seed: int, spread: float = 1.0) -> np.ndarray:
    """Return the damped second moment of correlated inputs of unequal size."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((n_columns, n_columns)) * 2.0 ** rng.normal(0, spread, n_columns)
    inputs = rng.standard_normal((8 * n_columns, n_columns)) @ mix
    moment = inputs.T @ inputs / len(inputs)
    return (moment + 0.01 * np.trace(moment) / n_columns * np.eye(n_columns)).astype(np.float32)


def loss(error: np.ndarray, moment: np.ndarray) -> float:
    """Return tr(E^T H E) of (n_columns, n_rows) errors."""
    return float(np.einsum("ir,ij,jr->", error, moment.astype(np.float64), error))


@given(st.integers(1, 90), st.integers(0, 1000))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_factor_is_that_of_the_inverse(n_columns: int, seed: int) -> None:
    moment = moment_of(n_columns, seed, 0.3)
    feedback = make_feedback(moment, 1)
    assert feedback is not None
    assert np.array_equal(feedback.factor, np.triu(feedback.factor))
    product = feedback.factor.T @ feedback.factor @ moment.astype(np.float64)
    np.testing.assert_allclose(product, np.eye(n_columns), atol=1e-6)


@pytest.mark.parametrize("order", [np.arange(70), np.arange(70)[::-1], np.arange(70) * 3 % 70])
def test_loss_is_the_sum_of_scaled_rounding_errors(order: np.ndarray) -> None:
    """With the recursion tr(E H E^T) = sum (e_j / U_jj)^2, so that each |e_j| <= step / 2 bounds it."""
    moment, rng = moment_of(70, 3), np.random.default_rng(0)
    columns = rng.standard_normal((70, 5)).astype(np.float32)
    feedback = make_feedback(moment[np.ix_(order, order)], 1, order[:, None])
    assert feedback is not None
    np.testing.assert_allclose(feedback.importance[order], 1 / np.diag(feedback.factor) ** 2)
    steps = np.full((70, 1), 0.25, np.float32)
    error = columns - round_columns(columns, steps, feedback) * steps
    bound = 5 * float(np.sum((0.125 / np.diag(feedback.factor)) ** 2))
    assert 0.1 * bound < loss(error, moment) < bound


def test_unrelated_inputs_leave_plain_rounding() -> None:
    columns = np.random.default_rng(1).standard_normal((130, 7)).astype(np.float32)
    feedback = make_feedback(np.eye(130, dtype=np.float32), 1)
    assert feedback is not None
    rounded = round_columns(columns, np.full((130, 1), 0.3, np.float32), feedback)
    np.testing.assert_array_equal(rounded, np.rint(columns.astype(np.float64) / np.float32(0.3)))


def test_zero_steps_and_limits() -> None:
    columns = np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32)
    feedback = make_feedback(moment_of(20, 1), 4)
    assert feedback is not None
    steps = np.full((20, 1), 0.1, np.float32)
    steps[3] = 0
    rounded = round_columns(columns, steps, feedback, 2)
    assert not rounded[3].any()
    assert np.abs(rounded).max() == 2


@pytest.mark.parametrize("codec", [FixedRate(), VariableRate()], ids=["fixed", "variable"])
@pytest.mark.parametrize("n_outer", [1, 8])
def test_feedback_beats_plain_rounding(codec: FixedRate | VariableRate, n_outer: int) -> None:
    """At the same rate the layer's output error is at most 0.85 of plain rounding's."""
    moment, rng = moment_of(64, 5), np.random.default_rng(2)
    columns = rng.standard_normal((64, 128)).astype(np.float32)
    feedback = make_feedback(moment, n_outer)
    assert feedback is not None
    fed = codec.quantize(columns, 2, feedback)
    plain = codec.quantize(columns, 2)
    measure = OutputDistortion(columns.T, Statistics(moment, 1))
    errors = [measure(c.values().reshape(64, 128).T) for c in (fed, plain)]
    assert errors[0] < 0.85 * errors[1]


def test_steps_lie_on_the_grid_of_their_exponents() -> None:
    columns = np.random.default_rng(2).standard_normal((24, 16)).astype(np.float32)
    feedback = make_feedback(moment_of(24, 7), 6)
    coded = VariableRate().quantize(columns, 1.7, feedback)
    assert coded.outer is not None
    assert (coded.outer.shape, coded.steps.shape) == ((6, 1, 1), (4, 1))
    assert coded.integers.shape == (12, 32) or coded.integers.shape[1] >= 64
    for steps in (coded.outer, coded.steps):
        exponents = np.log2(steps.astype(np.float64)) * STEPS_PER_OCTAVE
        np.testing.assert_allclose(exponents, np.rint(exponents), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-37, 1e-34, 1e35])
@pytest.mark.parametrize("rate", [0.5, 181.0])
def test_steps_that_cannot_be_stored_as_exponents(scale: float, rate: float) -> None:
    """Weights near the smallest float32: no step of a grid is zero, or there is no feedback."""
    columns = (np.random.default_rng(0).standard_normal((24, 40)) * scale).astype(np.float32)
    coded = VariableRate().quantize(columns, rate, make_feedback(moment_of(24, 1), 6))
    assert np.isfinite(coded.values()).all()
    assert coded.outer is None or (coded.steps.all() and coded.outer.all())
    assert (coded.outer is None) == (scale == 1e-37 and rate == 181)


def test_a_moment_that_is_no_moment_is_refused() -> None:
    assert make_feedback(np.full((4, 4), -1, np.float32), 1) is None
    assert make_feedback(np.full((4, 4), np.nan, np.float32), 1) is None
    assert make_feedback(np.diag([np.inf, 1]).astype(np.float32), 1) is None


@pytest.mark.parametrize(("octaves", "expected"), [(1, 4), (1.1, 4), (6, 24), (7, 24), (20, 24)])
def test_steps_are_the_reciprocal_deviations_within_bounds(octaves: float, expected: int) -> None:
    """In quarter octaves around their mean: 24 at most either way."""
    moment = np.diag(2.0 ** (2 * octaves * np.array([-1, 1]))).astype(np.float32)
    rows, columns = make_feedback(moment, 2), make_feedback(moment, 1)
    assert rows is not None
    assert columns is not None
    assert (rows.outer.tolist(), rows.inner.tolist()) == ([expected, -expected], [0])
    assert (columns.outer.tolist(), columns.inner.tolist()) == ([0], [expected, -expected])


def test_few_columns_are_factorised_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_module, "_DOUBLE_COLUMNS", 8)
    for n_columns, dtype in ((8, np.float64), (9, np.float32)):
        feedback = make_feedback(np.eye(n_columns, dtype=np.float32), 1)
        assert feedback is not None
        assert feedback.factor.dtype == dtype


def alike(mean: float, n_columns: int = 1) -> np.ndarray:
    """Return columns whose mean magnitude is exactly that, (n_columns, 8)."""
    return np.resize(np.array([mean, -mean], np.float32), (n_columns, 8))


@pytest.mark.parametrize("mean", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("step", [1.0, 0.25])
def test_thresholds_weigh_the_error_against_the_bits(mean: float, step: float) -> None:
    """What is rounded to is the integer of least (x - k)^2 + price * bits, of a Laplace distribution."""
    columns, steps = alike(mean * step), np.full((1, 1), step, np.float32)
    least, shift = thresholds(columns, steps, BIT_PRICE)
    candidates = np.arange(40)
    beyond = np.exp(-np.abs(candidates - 0.5) / mean)
    shares = (beyond - np.exp(-(candidates + 0.5) / mean)) / 2
    shares[0] = 1 - beyond[0]
    values = np.linspace(0.003, 30, 4001)
    costs = np.square(values[:, None] - candidates) - BIT_PRICE * np.log2(shares)
    expected = np.argmin(costs, axis=1)
    np.testing.assert_array_equal(round_at(values, least[0], shift[0]), expected)
    np.testing.assert_array_equal(round_at(-values, least[0], shift[0]), -expected)
    assert not np.array_equal(expected, np.rint(values))


def test_no_threshold_goes_too_far() -> None:
    """A mean below 0.1 counts as 0.1; zero ends at 0.8 at the latest, and the others rise by 0.3."""
    steps = np.ones((1, 1), np.float32)
    bounds = [thresholds(alike(mean), steps, 0.01) for mean in (0.0, 0.05, 0.1, 0.12)]
    assert bounds[0] == bounds[1]
    np.testing.assert_allclose(bounds[1], bounds[2], rtol=1e-6)
    np.testing.assert_allclose(bounds[0][1], 0.01 / (2 * np.log(2)) / 0.1)
    assert bounds[3][0] < bounds[2][0]
    assert bounds[3][1] < bounds[2][1]
    least, shift = thresholds(alike(0.1), steps, 0.06)
    assert 0.7 < least < 0.8
    assert shift == 0.3
    assert thresholds(alike(0.1), steps, 0.3) == (0.8, 0.3)
    assert thresholds(alike(0.4), steps, 0.15)[1] == pytest.approx(0.15 / (2 * np.log(2)) / 0.4)
    assert thresholds(alike(0.4), np.zeros((1, 1)), 0.01) == bounds[0]


def test_a_step_is_that_of_its_column() -> None:
    """Thresholds follow from the mean magnitude in steps, column by column."""
    columns = np.concatenate([alike(mean) for mean in (2.0, 1.0, 0.5)])
    steps = np.array([[1.0], [0.5], [1.0]], np.float32)
    least, shift = thresholds(columns, steps, BIT_PRICE)
    assert least[0] == least[1] < least[2]
    assert shift[0] == shift[1] < shift[2]
    np.testing.assert_array_equal(thresholds(columns, steps, 0.0), [[0.5] * 3, [0.0] * 3])


def test_bits_have_their_price_where_errors_are_fed_back() -> None:
    """Where inputs are unrelated, columns of any rate are rounded at their thresholds, at BIT_PRICE."""
    columns = np.random.default_rng(4).laplace(0, 1, (70, 40)).astype(np.float32)
    feedback = make_feedback(np.eye(70, dtype=np.float32), 1)
    assert feedback is not None
    coded = VariableRate().quantize(columns, 1.0, feedback)
    assert coded.outer is not None
    step = coded.steps[0, 0] * coded.outer[0, 0, 0]
    least, shift = thresholds(columns, np.full((1, 1), step), BIT_PRICE)
    expected = round_at(columns / np.float64(step), least[:, None], shift[:, None])
    found = coded.integers.reshape(70, 40)
    np.testing.assert_array_equal(found, expected)
    assert (found != np.rint(columns / step)).sum() > 50


def test_output_error_is_the_error_of_the_output() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((500, 12))
    weight, restored = rng.standard_normal((2, 5, 12)).astype(np.float32)
    moment = (inputs.T @ inputs / 500).astype(np.float32)
    expected = np.linalg.norm(inputs @ (weight - restored).T) / np.linalg.norm(inputs @ weight.T)
    assert OutputDistortion(weight, Statistics(moment, 500))(restored) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("basis", [None, spatial_basis((3, 3))])
def test_alike_blocks_are_rounded_as_the_whole_moment_says(basis: np.ndarray | None) -> None:
    block, n_inner = moment_of(9, 3), 5
    weight = np.random.default_rng(0).standard_normal((20, n_inner, 3, 3)).astype(np.float32)
    layer = Layer("w", "Conv", weight, Layout((), (0,), (1,), (2, 3)))
    columns = weight.reshape(20, n_inner, 9) @ (
        np.eye(9, dtype=np.float32) if basis is None else basis.T
    )
    columns = columns.transpose(1, 2, 0) if basis is None else columns.transpose(2, 1, 0)
    columns = np.ascontiguousarray(columns).reshape(-1, 20)
    whole = np.kron(np.eye(n_inner, dtype=np.float32), block)
    found = []
    for statistics in (Statistics(block, 9, n_inner), Statistics(whole, 9)):
        feedback = layer_feedback(replace(layer, statistics=statistics), basis)
        assert feedback is not None
        rounded = round_columns(columns, np.full((1, 1), 0.5, np.float32), feedback)
        found.append((rounded, feedback.importance, feedback.mean_step, feedback.outer, feedback.inner))
        error = OutputDistortion(layer.canonical(), statistics)(layer.canonical() * np.float32(0.9))
        assert error == pytest.approx(0.1, rel=1e-4)
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4)
    plane = weight.reshape(20, -1)
    np.testing.assert_allclose(
        Statistics(block, 9, n_inner).times(plane), plane @ whole, rtol=1e-4, atol=1e-4
    )


@given(st.integers(1, 150), st.integers(1, 40), st.sampled_from([1, 2, 3]), st.integers(0, 1000))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_rates_together_are_those_rates_alone(
    n_rounds: int, n_rows: int, n_blocks: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.laplace(size=(n_rounds * n_blocks, n_rows)).astype(np.float32)
    order = rng.permutation(n_rounds * n_blocks).reshape(n_rounds, n_blocks)
    feedback = make_feedback(moment_of(n_rounds, seed), 1, order)
    assert feedback is not None
    codec, rates = VariableRate(), (0.2, 1.0, 1.4, 32.0, 181.0)
    for rate, coded in zip(rates, codec.quantize_all(columns, rates, feedback), strict=True):
        alone = codec.quantize(columns, rate, feedback)
        assert alone.integers.dtype == coded.integers.dtype
        np.testing.assert_array_equal(alone.integers, coded.integers)
        np.testing.assert_array_equal(alone.steps, coded.steps)


@pytest.mark.parametrize("codec", [FixedRate(), VariableRate()], ids=["fixed", "variable"])
@pytest.mark.parametrize("scale", [0.0, 1e-34, 1.0, 1e35])
def test_all_rates_at_once(
    codec: FixedRate | VariableRate, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they do not all fit together, without feedback, and far from 1."""
    monkeypatch.setattr(variable_rate, "_N_TOGETHER", 3 * 24 * 40)
    columns = (np.random.default_rng(0).standard_normal((24, 40)) * scale).astype(np.float32)
    for feedback in (None, make_feedback(moment_of(24, 1), 6)):
        for rates in (codec.rates, (*codec.rates, *codec.high_rates)):
            found = list(codec.quantize_all(columns, rates, feedback))
            assert len(found) == len(rates)
            for rate, coded in zip(rates, found, strict=True):
                alone = codec.quantize(columns, rate, feedback)
                np.testing.assert_array_equal(alone.values(), coded.values())


def test_a_factor_is_computed_once_where_it_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).standard_normal((20, 5, 3, 3)).astype(np.float32)
    layers = [
        Layer("w", "Conv", weight, Layout((), (0,), (1,), (2, 3)), statistics=Statistics(m, 9))
        for m in (moment_of(45, 1), moment_of(45, 2))
    ]
    bases = [None, spatial_basis((3, 3))]
    alone = [layer_feedback(layer, basis) for layer in layers for basis in bases]
    with shared_feedback():
        first, second = (
            [layer_feedback(layer, basis) for layer in layers for basis in bases] for _ in range(2)
        )
    assert all(a is b for a, b in zip(first, second, strict=True))
    for a, b in zip(first, alone, strict=True):
        assert a is not None
        assert b is not None
        assert a is not b
        np.testing.assert_array_equal(a.factor, b.factor)
    monkeypatch.setattr(layer_feedback_module, "_MOST_SHARED_BYTES", 0)
    with shared_feedback():
        assert layer_feedback(layers[0]) is layer_feedback(layers[0])  # the latest is always kept
        assert layer_feedback(layers[0]) is not layer_feedback(layers[1])
