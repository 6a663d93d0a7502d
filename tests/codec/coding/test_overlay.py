"""Overlays: ones come back where they were, whatever the gaps, and cost about what is promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.overlay import (
    JUMP_BITS,
    max_advance,
    n_overlay_bits,
    n_patterns,
    pattern_tuples,
    patterns_of,
    write_overlay,
)
from tests.codec.coding.decoder import decode, read_overlay
from tests.codec.coding.model_builder import count_bytes


def laid_over(tuples: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return tuples with those at the positions set to zero and put in again by the overlay."""
    blank, length = tuples.copy(), tuples.shape[1]
    blank[positions] = 0
    places, patterns = read_overlay(write_overlay(patterns_of(tuples), positions, length), length)
    blank[places] = pattern_tuples(length)[patterns]
    return blank


@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-4, 0.3),
    st.sampled_from([0.0, 0.5, 5.0]),
    st.sampled_from([1, 2, 3, 8]),
)
@settings(derandomize=True, deadline=None)
def test_ones_come_back(seed: int, density: float, dense_scale: float, length: int) -> None:
    """Sparse stretches and dense ones take turns; only the ones of the sparse are overlaid."""
    rng = np.random.default_rng(seed)
    flat = rng.choice([-1, 0, 1], 6000, p=[density / 2, 1 - density, density / 2]).astype(np.int32)
    is_dense = np.repeat(rng.random(12) < 0.4, 500)
    flat[is_dense] = np.rint(rng.normal(0, dense_scale, int(is_dense.sum())))
    tuples = flat.reshape(-1, length)
    is_sparse = ~is_dense.reshape(-1, length).any(axis=1)
    positions = np.flatnonzero(is_sparse & (patterns_of(tuples) > 0))
    np.testing.assert_array_equal(laid_over(tuples, positions), tuples)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_patterns_are_those_of_at_most_one_one(length: int) -> None:
    tuples = pattern_tuples(length)
    assert patterns_of(tuples).tolist() == list(range(n_patterns(length)))
    assert patterns_of(np.full((1, length), 2)).tolist() == [-1]
    assert patterns_of(np.ones((1, 2), np.int32)).tolist() == [-1]
    assert n_patterns(length) * max_advance(length) + n_patterns(length) - 1 < 256


MOST = max_advance(2)


@pytest.mark.parametrize("gap", [1, MOST, MOST + 1, 2 * MOST, 3 * MOST + 1])
@pytest.mark.parametrize("between", [0, 1, -1, 7])
def test_gaps_of_every_length(gap: int, between: int) -> None:
    tuples = np.zeros((5 * gap + 1, 2), np.int32)
    tuples[:, 1] = between
    positions = np.arange(0, len(tuples), gap)
    tuples[positions] = [[1, 0], [0, -1], [0, 1], [1, 0], [-1, 0], [-1, 0]]
    overlay = write_overlay(patterns_of(tuples), positions, 2)
    np.testing.assert_array_equal(laid_over(tuples, positions), tuples)
    has_landing = abs(between) <= 1 or gap <= MOST
    n_stops = (gap - 1) // MOST
    is_jump = not has_landing or n_stops > 2
    assert len(overlay.jumps) == (5 if is_jump else 0)
    assert len(overlay.codes) == 6 + (0 if is_jump else 5 * n_stops)


def test_nothing_to_lay_over() -> None:
    overlay = write_overlay(np.zeros(9, np.int64), np.zeros(0, np.int64), 2)
    assert [len(part) for part in (overlay.codes, *read_overlay(overlay, 2))] == [0, 0, 0]


@pytest.mark.parametrize("density", [0.001, 0.01, 0.03, 0.1])
def test_the_estimate_is_near_the_truth(density: float) -> None:
    rng = np.random.default_rng(0)
    patterns = (rng.random(200_000) < density).astype(np.int64)
    overlay = write_overlay(patterns, np.flatnonzero(patterns), 2)
    n_bits = 8 * len(overlay.codes) + JUMP_BITS * len(overlay.jumps)
    found = n_overlay_bits(np.array([float(patterns.sum())]), np.array([2e5]), np.array([1]), 2)
    assert found[0] == pytest.approx(n_bits, rel=0.25)


def test_sparse_contexts_cost_less_than_a_bit_a_tuple() -> None:
    """A hundredth of ones has 0.081 bits an integer; a code word for three takes 0.33 at least."""
    rng = np.random.default_rng(1)
    sparse = rng.choice([-1, 0, 1], (64, 3000), p=[0.005, 0.99, 0.005]).astype(np.int32)
    dense = np.rint(rng.normal(0, 4, (64, 3000))).astype(np.int32)
    arrays = [np.concatenate([sparse[:32], dense[:32]]), np.concatenate([dense[32:], sparse[32:]])]
    streams = encode(arrays)
    assert all(len(chunk.overlay.codes) for chunk in streams.chunks)
    for array, other in zip(arrays, decode(streams), strict=True):
        np.testing.assert_array_equal(array, other)
    alone = count_bytes(encode([dense]))
    assert 8 * (count_bytes(streams) - alone) < 0.2 * sparse.size
