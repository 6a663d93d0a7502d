"""Symmetric codebooks: the nearest codeword in the chamber is the nearest of all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnxzip.transforms import symmetric_codebook
from onnxzip.transforms.symmetric_codebook import SymmetricCodewords, Symmetry

LENGTHS = (2, 3, 4)


@pytest.mark.parametrize("length", LENGTHS)
def test_whole_codebook_is_closed_and_has_no_codeword_twice(length: int) -> None:
    words = symmetric_codebook.fit(gaussian(3000, length), 512, seed=0)
    whole = Symmetry(length).unfold(words)
    assert len(whole) == len(words) * Symmetry(length).size <= 512
    assert len(np.unique(whole, axis=0)) == len(whole)
    assert {tuple(word) for word in -whole} == {tuple(word) for word in whole}
    assert {tuple(word) for word in whole[:, [1, 0, *range(2, length)]]} == {tuple(w) for w in whole}


@pytest.mark.parametrize("length", LENGTHS)
def test_index_is_that_of_the_nearest_of_all_codewords(length: int) -> None:
    vectors = gaussian(2000, length)
    words = symmetric_codebook.fit(vectors, 1024, seed=1)
    whole = Symmetry(length).unfold(words)
    indices = SymmetricCodewords(words)(vectors)
    least = ((vectors[:, None] - whole) ** 2).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(((vectors - whole[indices]) ** 2).sum(axis=1), least, rtol=1e-5)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.sampled_from(LENGTHS)),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_folded_vectors_are_carried_back_exactly(vectors: np.ndarray) -> None:
    symmetry = Symmetry(vectors.shape[1])
    folded, elements = symmetry.fold(vectors)
    assert (folded >= 0).all()
    each = symmetry.unfold(folded).reshape(len(vectors), symmetry.size, -1)
    np.testing.assert_array_equal(each[np.arange(len(vectors)), elements], vectors)


def test_a_single_large_vector_has_a_codeword_near_it() -> None:
    vectors = gaussian(200_000, 3)
    vectors[77] = (90, -2, 40)
    words = symmetric_codebook.fit(vectors, 4096, seed=0)
    nearest = Symmetry(3).unfold(words)[SymmetricCodewords(words)(vectors[77:78])]
    assert np.linalg.norm(nearest - vectors[77]) < 10


def test_words_repeat_with_their_seed_and_importance_moves_them() -> None:
    vectors = np.concatenate([gaussian(4000, 2), 4 + gaussian(4000, 2)])
    first, again = (symmetric_codebook.fit(vectors, 256, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, symmetric_codebook.fit(vectors, 256, seed=6))
    errors = []
    for importance in (np.array([1.0, 50.0]), np.array([50.0, 1.0])):
        words = symmetric_codebook.fit(vectors, 256, 0, importance)
        decoded = Symmetry(2).unfold(words)[SymmetricCodewords(words)(vectors[4000:])]
        errors.append(((decoded - vectors[4000:]) ** 2).sum())
    assert errors[0] < errors[1]


def gaussian(n_vectors: int, length: int) -> np.ndarray:
    generator = np.random.default_rng(n_vectors + length)
    return generator.standard_normal((n_vectors, length)).astype(np.float32)
