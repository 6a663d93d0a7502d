"""Regression of one weight: about the mean where a bias follows, which makes up for what is left."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onnxzip.choose.refitting.regression import REFIT_DAMPING, PlanRefit, RegressionSums
from onnxzip.graph import Operand, Partition
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.plan import Candidate, Plan

RNG = np.random.default_rng(0)
N_IN, N_OUT = 12, 5
WEIGHT = RNG.standard_normal((N_IN, N_OUT)).astype(np.float32)
BIAS = RNG.standard_normal(N_OUT).astype(np.float32)
LAYER = Layer("w", "Gemm", WEIGHT, Layout((), (1,), (0,), ()))
MET = RNG.standard_normal((400, N_IN)).astype(np.float32) + np.float32(3)
"""Inputs with a mean that is most of them, as behind a Relu."""
MISSING = (MET @ RNG.standard_normal((N_IN, N_OUT)) / 4 + 2).astype(np.float32)


class HalfSteps:
    """A pass that rounds to halves, and keeps what it was given."""

    def encode(self, layer: Layer, settings: Any, codec: Any) -> Layer:
        self.wanted = layer
        rounded = (np.rint(layer.weight * 2) / 2).astype(np.float32)
        return replace(layer, weight=rounded)

    def restore(self, candidate: Candidate) -> np.ndarray:
        assert isinstance(candidate.encoded, Layer)
        return candidate.encoded.canonical()


def fit(bias: str, n_most: int = 1000) -> tuple[Plan, Layer]:
    """Return the plan fitted to what is missing, and the weight that was to be stored."""
    method = HalfSteps()
    proposal: Any = SimpleNamespace(passes={"half": method}, codecs={"w": None})
    candidate = Candidate(LAYER, "half", {"rate": 1}, 10, 0.1)
    refit = PlanRefit(proposal, Plan({"w": candidate}, 0.1, 10, 0.1), Any, {"b": BIAS})
    operand = Operand("x", "Gemm", 1, ())
    partition = Partition("w", operand, "y", bias, {"w": "w"}, ("x",), (), ())
    sums = RegressionSums(LAYER)
    for part in (slice(0, 150), slice(150, 400)):
        drawn = sums.draw(partition, {"x": MET[part]}, n_most, np.random.default_rng(0))
        sums.add(drawn, drawn.results(MISSING[part]))
    method.wanted = LAYER
    refit.fit(partition, sums)
    return refit.result(), method.wanted


def ridge(x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return the damped least squares of r on x by numpy's lstsq, (N_IN, N_OUT)."""
    level = REFIT_DAMPING * float(np.mean(np.square(x).sum(axis=0)))
    padded = np.concatenate([x, np.sqrt(level) * np.eye(N_IN)])
    found: np.ndarray = np.linalg.lstsq(padded, np.concatenate([r, np.zeros((N_IN, N_OUT))]))[0]
    return found


@pytest.mark.parametrize("bias", ["b", ""])
def test_sums_are_about_the_mean_where_a_bias_follows(bias: str) -> None:
    plan, wanted = fit(bias)
    x, r = (a.astype(np.float64) for a in (MET, MISSING))
    if bias:
        x, r = x - x.mean(axis=0), r - r.mean(axis=0)
    np.testing.assert_allclose(wanted.weight - WEIGHT, ridge(x, r), atol=2e-4)
    assert wanted.statistics is not None
    moment = wanted.statistics.second_moment
    off = ~np.eye(N_IN, dtype=bool)
    np.testing.assert_allclose(moment[off], (x.T @ x / len(x))[off], atol=1e-3)
    assert plan.chosen["w"].settings == {"rate": 1, "refit": True}
    assert ("b" in plan.constants) == bool(bias)


def test_the_bias_leaves_no_mean_error() -> None:
    """Also of what rounding does to the weight."""
    plan, _ = fit("b")
    change = plan.chosen["w"].encoded.weight.astype(np.float64) - WEIGHT
    left = MISSING - MET @ change - (plan.constants["b"] - BIAS)
    np.testing.assert_allclose(left.mean(axis=0), 0, atol=1e-5)


def test_few_vectors_change_nothing() -> None:
    plan, wanted = fit("b", n_most=N_IN - 1)
    assert wanted is LAYER
    assert plan.constants == {}
    assert fit("b", n_most=N_IN)[1] is not LAYER
