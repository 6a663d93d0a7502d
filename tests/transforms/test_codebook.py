"""Vector quantisation against brute force and scipy, and what the codebook pass refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxzip.passes.codebook import CodebookPass
from scipy.cluster.vq import kmeans2

from onnxzip.records.layer import Layer, Layout
from onnxzip.records.plan import Candidate, Skip
from onnxzip.transforms import codebook
from tests.fakes import FakeCodec


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def squared_distances(vectors: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float64]:
    difference = vectors[:, None].astype(np.float64) - words[None]
    return np.square(difference).sum(2)


def layer_of(weight: NDArray[np.float32]) -> Layer:
    return Layer("w", "", weight, Layout((), (0,), (1,), tuple(range(2, weight.ndim))))


def ladder(weight: NDArray[np.float32], compression: CodebookPass | None = None) -> list[Candidate]:
    offers = (compression or CodebookPass()).candidates(layer_of(weight), FakeCodec())
    return [offer for offer in offers if isinstance(offer, Candidate)]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 8), st.integers(1, 40), st.integers(0, 99))
def test_assign_finds_a_nearest_codeword(n: int, length: int, n_codewords: int, seed: int) -> None:
    vectors, words = gaussian(n, length, seed=seed), gaussian(n_codewords, length, seed=seed + 1)
    distances = squared_distances(vectors, words)
    found = distances[np.arange(n), codebook.assign(vectors, words)]
    np.testing.assert_allclose(found, distances.min(1), rtol=1e-4, atol=1e-5)


def test_assign_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, words = gaussian(1000, 4), gaussian(16, 4, seed=1)
    whole = codebook.assign(vectors, words)
    monkeypatch.setattr(codebook, "CHUNK_SCORES", 16 * 7)
    np.testing.assert_array_equal(codebook.assign(vectors, words), whole)


def test_assign_to_its_own_codewords_is_exact() -> None:
    words = gaussian(64, 3)
    np.testing.assert_array_equal(codebook.assign(words, words), np.arange(64))


def test_centroids_are_means_and_unused_codewords_stay() -> None:
    vectors, words = gaussian(200, 2), gaussian(9, 2, seed=1)
    indices = np.random.default_rng(2).integers(0, 8, 200).astype(np.int32)
    moved = codebook.centroids(vectors, indices, words)
    expected = np.stack([vectors[indices == i].mean(0) for i in range(8)])
    np.testing.assert_allclose(moved[:8], expected, atol=1e-6)
    np.testing.assert_array_equal(moved[8], words[8])


def test_quantize_is_as_good_as_scipys_kmeans() -> None:
    vectors = gaussian(6000, 2)
    indices, words = codebook.quantize(vectors, 32, seed=0)
    reference, labels = kmeans2(vectors, 32, iter=30, minit="++", rng=np.random.default_rng(0))
    error = np.linalg.norm(vectors - words[indices])
    assert error < 1.03 * np.linalg.norm(vectors - reference[labels])


def test_quantize_sorts_codewords_by_falling_use_and_drops_unused_ones() -> None:
    indices, words = codebook.quantize(gaussian(3000, 2), 40, seed=3)
    counts = np.bincount(indices)
    assert len(words) == len(counts) <= 40
    assert counts.min() > 0
    assert (np.diff(counts) <= 0).all()


def test_quantize_is_exact_with_enough_codewords() -> None:
    vectors = np.tile(gaussian(10, 4), (50, 1))
    indices, words = codebook.quantize(vectors, 16, seed=0)
    assert len(words) == 10
    np.testing.assert_allclose(words[indices], vectors, atol=1e-6)


def test_quantize_repeats_with_its_seed_and_differs_with_another() -> None:
    vectors = gaussian(5000, 4)
    first, again, other = (codebook.quantize(vectors, 64, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize(("size", "length"), [(12, 4), (13, 4), (1, 8)])
def test_split_vectors_pads_the_last_one_with_zeros(size: int, length: int) -> None:
    values = np.arange(1, size + 1, dtype=np.float32)
    vectors = codebook.split_vectors(values, length)
    assert vectors.shape == (-(-size // length), length)
    np.testing.assert_array_equal(vectors.ravel()[:size], values)
    assert not vectors.ravel()[size:].any()


def test_pass_follows_its_seed() -> None:
    weight = gaussian(64, 64)
    first, again = (ladder(weight)[0].encoded for _ in range(2))
    other = ladder(weight, CodebookPass(seed=1))[0].encoded
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.tables["codebook"], again.tables["codebook"])
    assert not np.array_equal(first.tables["codebook"], other.tables["codebook"])


def test_pass_scales_rows_where_that_pays() -> None:
    uneven = gaussian(64, 512) * np.exp(gaussian(64, 1, seed=1))
    assert all(c.settings["row_scales"] for c in ladder(uneven))
    assert not any(c.settings["row_scales"] for c in ladder(gaussian(64, 512)))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_pass_keeps_its_precision_at_any_scale(scale: float) -> None:
    assert ladder(gaussian(40, 60) * np.float32(scale))[-1].error < 0.03


def test_pass_offers_smaller_errors_for_more_bytes() -> None:
    candidates = ladder(gaussian(128, 96))
    assert len(candidates) >= 4
    errors = [c.error for c in candidates]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


def test_tables_stay_small_against_the_indices() -> None:
    for candidate in ladder(gaussian(32, 64)):
        assert candidate.encoded is not None
        table = candidate.encoded.tables["codebook"]
        bits = np.log2(int(candidate.settings["codewords"]))
        assert table.nbytes <= 0.25 * candidate.encoded.integers["indices"].size * bits / 8


def test_pass_says_why_not() -> None:
    def reason(layer: Layer) -> str:
        (offer,) = CodebookPass().candidates(layer, FakeCodec())
        assert isinstance(offer, Skip)
        return offer.reason

    assert "255 elements" in reason(layer_of(gaussian(15, 17)))
    assert "300 elements are zero" in reason(layer_of(np.zeros((20, 15), np.float32)))
