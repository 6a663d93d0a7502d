"""Low-rank factorisation against numpy.linalg, and what the pass offers of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxzip.passes.lowrank import LowRankPass

from onnxzip.codec.variable_rate import VariableRate
from onnxzip.measure.moments.distortion import OutputDistortion
from onnxzip.records.layer import Layer, Layout, Statistics
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms import lowrank
from tests.fakes import FakeCodec

CODEC = FakeCodec()


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def truncated(matrix: NDArray[np.float32], rank: int) -> NDArray[np.float64]:
    """The best approximation of a rank, by numpy."""
    left, singular, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return (left[:, :rank] * singular[:rank]) @ right[:rank]


def conv_layer(weight: NDArray[np.float32]) -> Layer:
    return Layer("w", "Conv", weight, Layout((), (0,), (1,), tuple(range(2, weight.ndim))))


def matrix_layer(weight: NDArray[np.float32], out: int) -> Layer:
    return Layer("w", "Gemm", weight, Layout((), (out,), (1 - out,), ()))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(2, 40), st.integers(2, 40), st.integers(1, 40))
def test_svd_is_numpys(n_batch: int, n_rows: int, n_columns: int, rank: int) -> None:
    matrices = gaussian(n_batch, n_rows, n_columns, seed=rank)
    found = lowrank.svd(matrices)
    expected = np.linalg.svd(matrices.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(found.singular, expected, rtol=1e-4, atol=1e-5)
    for left, right, matrix in zip(found.left, found.right, matrices, strict=True):
        best = truncated(matrix, rank)
        error = np.linalg.norm(matrix - left[:, :rank] @ right[:rank])
        assert error == pytest.approx(np.linalg.norm(matrix - best), abs=1e-4)


def test_svd_balances_its_factors() -> None:
    found = lowrank.svd(gaussian(1, 30, 20))
    np.testing.assert_allclose(np.square(found.left[0]).sum(0), found.singular[0], rtol=1e-4)
    np.testing.assert_allclose(np.square(found.right[0]).sum(1), found.singular[0], rtol=1e-4)


def test_svd_of_a_singular_matrix_is_finite_and_exact() -> None:
    matrix = gaussian(40, 3) @ gaussian(3, 25, seed=1)
    found = lowrank.svd(matrix[None])
    assert np.isfinite(found.left).all()
    assert np.isfinite(found.right).all()
    np.testing.assert_allclose(found.left[0][:, :3] @ found.right[0][:3], matrix, atol=1e-4)
    assert not lowrank.svd(np.zeros((1, 5, 4), np.float32)).left.any()


def test_gram_does_not_depend_on_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(50, 6)
    monkeypatch.setattr(lowrank, "MAX_GRAM_BYTES", 8 * 6 * 7)
    exact = matrix.astype(np.float64)
    np.testing.assert_allclose(lowrank.gram(matrix), exact.T @ exact, rtol=1e-12)


def second_moment(n_columns: int) -> NDArray[np.float64]:
    mixing = gaussian(n_columns, n_columns, seed=5).astype(np.float64)
    mixing *= np.exp(np.linspace(0, 3, n_columns))
    return mixing @ mixing.T


def weighted_error(difference: NDArray[np.float64], moment: NDArray[np.float64]) -> float:
    return float(np.trace(difference @ moment @ difference.T))


@pytest.mark.parametrize("n_rows", [8, 12, 40])
def test_output_directions_are_the_best_for_the_inputs(n_rows: int) -> None:
    matrix, moment, rank = gaussian(n_rows, 12), second_moment(12), 4
    energies, directions = lowrank.output_directions(matrix, Statistics(moment.astype(np.float32), 9))
    assert directions.shape == (n_rows, min(n_rows, 12))
    kept = directions[:, :rank].astype(np.float64)
    np.testing.assert_allclose(kept.T @ kept, np.eye(rank), atol=1e-5)
    error = weighted_error(matrix - kept @ (kept.T @ matrix), moment)
    values, vectors = np.linalg.eigh(moment)
    whitened = np.linalg.svd(matrix @ (vectors * np.sqrt(values)) @ vectors.T, compute_uv=False)
    np.testing.assert_allclose(energies[:rank], np.square(whitened[:rank]), rtol=1e-3)
    assert error == pytest.approx(np.square(whitened[rank:]).sum(), rel=1e-2)
    assert error < 0.9 * weighted_error(matrix - truncated(matrix, rank), moment)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 20), st.floats(0.05, 1.0))
def test_rank_for_energy_is_the_least(seed: int, fraction: float) -> None:
    singular = np.sort(np.abs(gaussian(2, 12, seed=seed)), axis=1)[:, ::-1].astype(np.float64)
    rank = lowrank.rank_for_energy(singular, fraction)
    energy = np.square(singular).sum(0)
    assert energy[:rank].sum() >= fraction * energy.sum() * (1 - 1e-9)
    assert rank == 1 or energy[: rank - 1].sum() < fraction * energy.sum()


@pytest.mark.parametrize("shape", [(2, 5, 4), (1, 6, 5, 3), (1, 6, 5, 3, 2), (2, 3, 4, 2, 3, 2)])
def test_fold_inverts_unfold(shape: tuple[int, ...]) -> None:
    weight = gaussian(*shape)
    methods: tuple[lowrank.Method, ...] = ("out", "in", "spatial")
    for method in methods if len(shape) > 3 else methods[:2]:
        folded = lowrank.fold(lowrank.unfold(weight, method), shape, method)
        np.testing.assert_array_equal(folded, weight)


def test_spatial_unfolding_is_jaderbergs() -> None:
    vertical, horizontal = gaussian(4, 5, 3), gaussian(7, 4, 2, seed=1)
    weight = np.einsum("rih,orw->oihw", vertical, horizontal)[None]
    singular = lowrank.svd(lowrank.unfold(weight, "spatial")).singular[0]
    assert lowrank.rank_for_energy(singular[None], 1 - 1e-9) == 4


def test_tucker_recovers_a_tensor_of_its_rank() -> None:
    core, out_basis, in_basis = gaussian(3, 2, 9), gaussian(12, 3, seed=1), gaussian(10, 2, seed=2)
    kernel = np.einsum("pqk,op,iq->oik", core, out_basis, in_basis)
    tucker = lowrank.tucker2(kernel, 3, 2)
    np.testing.assert_allclose(tucker.product(), kernel, atol=1e-4)
    np.testing.assert_allclose(tucker.out_basis.T @ tucker.out_basis, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(tucker.in_basis.T @ tucker.in_basis, np.eye(2), atol=1e-5)


def test_tucker_beats_hosvd_and_respects_its_bound() -> None:
    kernel = gaussian(14, 11, 9).astype(np.float32)
    unfoldings = kernel.reshape(14, -1), kernel.swapaxes(0, 1).reshape(11, -1)
    bases, lost = [], 0.0
    for unfolding, rank in zip(unfoldings, (5, 4), strict=True):
        left, singular, _ = np.linalg.svd(unfolding, full_matrices=False)
        bases.append(left[:, :rank])
        lost += float(np.square(singular[rank:]).sum())
    p, q = (basis @ basis.T for basis in bases)
    hosvd = float(np.square(kernel - np.einsum("oik,op,iq->pqk", kernel, p, q)).sum())
    error = float(np.square(kernel - lowrank.tucker2(kernel, 5, 4).product()).sum())
    assert error < hosvd <= lost


def candidates(layer: Layer) -> list[Candidate]:
    offers = LowRankPass().candidates(layer, CODEC)
    return [offer for offer in offers if isinstance(offer, Candidate)]


def reason(layer: Layer) -> str:
    (offer,) = LowRankPass().candidates(layer, CODEC)
    assert isinstance(offer, Skip)
    return offer.reason


def test_pass_finds_the_method_that_fits() -> None:
    noise = 0.01 * gaussian(96, 80, 3, 3, seed=9)
    vertical, horizontal = gaussian(3, 80, 3), gaussian(96, 3, 3, seed=1)
    thin_out, thin_in = gaussian(96, 2), gaussian(80, 2, seed=1)
    kernels = {
        "out": np.einsum("or,rik->oik", thin_out, gaussian(2, 80, 9)).reshape(96, 80, 3, 3),
        "in": np.einsum("orm,ir->oim", gaussian(96, 2, 9), thin_in).reshape(96, 80, 3, 3),
        "spatial": np.einsum("rih,orw->oihw", vertical, horizontal),
        "tucker": np.einsum("pqk,op,iq->oik", gaussian(2, 2, 9), thin_out, thin_in).reshape(
            96, 80, 3, 3
        ),
    }
    for method, kernel in kernels.items():
        found = candidates(conv_layer((kernel + noise).astype(np.float32)))
        good = min((c for c in found if c.error < 0.1), key=lambda c: c.n_bytes)
        assert good.settings["method"] == method


def test_pass_offers_little_of_a_low_rank_layer() -> None:
    weight = gaussian(60, 4) @ gaussian(4, 50, seed=1) + 0.05 * gaussian(60, 50, seed=2)
    found = candidates(matrix_layer(weight, 0))
    assert min(c.error for c in found if c.n_bytes < weight.nbytes / 4) < 0.1


@pytest.mark.parametrize("shape", [(150, 200), (200, 150), (96, 32, 3, 3)])
def test_factors_for_known_inputs_lose_less_of_the_output(shape: tuple[int, ...]) -> None:
    """In fewer bytes than factors of the weight itself take; with the real codec."""
    n_columns = int(np.prod(shape[1:]))
    factors = gaussian(shape[0], 6) @ gaussian(6, n_columns, seed=1)
    weight = (factors + 0.3 * gaussian(shape[0], n_columns, seed=2)).reshape(shape)
    moment = (second_moment(n_columns) + 0.01 * np.eye(n_columns)).astype(np.float32)
    layout = Layout((), (0,), (1,), tuple(range(2, len(shape))))
    blind = Layer("w", "", weight, layout)
    seeing = replace(blind, statistics=Statistics(moment, 9))
    curves = []
    measure = OutputDistortion(blind.canonical(), Statistics(moment, 9))
    for layer in (blind, seeing):
        found = [c for c in LowRankPass().candidates(layer, VariableRate()) if is_candidate(c)]
        curves.append([(c.n_bytes, measure(LowRankPass().restore(c))) for c in found])
        assert len(found) > 2
    assert all("feedback" in c.settings for c in found)
    for wanted in (0.1, 0.05):
        blind_bytes, seeing_bytes = (min(n for n, e in curve if e <= wanted) for curve in curves)
        assert seeing_bytes < 0.75 * blind_bytes


def is_candidate(offer: Candidate | Skip) -> bool:
    return isinstance(offer, Candidate)


def test_pass_says_why_not() -> None:
    assert "255 elements" in reason(matrix_layer(gaussian(15, 17), 1))
    assert "elements are zero" in reason(matrix_layer(np.zeros((20, 20), np.float32), 1))
    assert "[1]" in reason(matrix_layer(gaussian(1, 400), 1))


def test_pass_leaves_sides_beyond_its_limit() -> None:
    (offer,) = LowRankPass(max_side=16).candidates(matrix_layer(gaussian(20, 30), 1), CODEC)
    assert isinstance(offer, Skip)
    assert "2 to 16" in offer.reason
