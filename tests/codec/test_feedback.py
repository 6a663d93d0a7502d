"""Error-feedback rounding: the recursion against its definition, and what it is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.codec.feedback import layer_feedback, make_feedback, round_columns
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.codec.variable_rate import VariableRate
from onnxzip.measure.distortion import OutputDistortion
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
