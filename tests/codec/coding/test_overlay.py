"""Overlays: ones come back where they were, whatever the gaps, and cost about what is promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.overlay import JUMP_BITS, MAX_ADVANCE, n_overlay_bits, write_overlay
from tests.codec.coding.decoder import decode, read_overlay
from tests.codec.coding.model_builder import count_bytes


def laid_over(flat: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return `flat` with its ones at the positions taken out and put in again by the overlay."""
    blank = flat.copy()
    blank[positions] = 0
    places, values = read_overlay(write_overlay(flat, positions))
    blank[places] = values
    return blank


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 0.3), st.sampled_from([0.0, 0.5, 5.0]))
@settings(derandomize=True, deadline=None)
def test_ones_come_back(seed: int, density: float, dense_scale: float) -> None:
    """Sparse stretches and dense ones take turns; only the ones of the sparse are overlaid."""
    rng = np.random.default_rng(seed)
    flat = rng.choice([-1, 0, 1], 6000, p=[density / 2, 1 - density, density / 2]).astype(np.int32)
    is_dense = np.repeat(rng.random(12) < 0.4, 500)
    flat[is_dense] = np.rint(rng.normal(0, dense_scale, int(is_dense.sum())))
    positions = np.flatnonzero(~is_dense & (flat != 0))
    np.testing.assert_array_equal(laid_over(flat, positions), flat)


@pytest.mark.parametrize("gap", [1, MAX_ADVANCE, MAX_ADVANCE + 1, 2 * MAX_ADVANCE, 3 * MAX_ADVANCE + 1])
@pytest.mark.parametrize("between", [0, 1, -1, 7])
def test_gaps_of_every_length(gap: int, between: int) -> None:
    flat = np.full(5 * gap + 1, between, np.int32)
    positions = np.arange(0, len(flat), gap)
    flat[positions] = [1, -1, 1, 1, -1, -1]
    overlay = write_overlay(flat, positions)
    np.testing.assert_array_equal(laid_over(flat, positions), flat)
    has_landing = abs(between) <= 1 or gap <= MAX_ADVANCE
    n_stops = (gap - 1) // MAX_ADVANCE
    is_jump = not has_landing or n_stops > 2
    assert len(overlay.jumps) == (5 if is_jump else 0)
    assert len(overlay.codes) == 6 + (0 if is_jump else 5 * n_stops)


def test_nothing_to_lay_over() -> None:
    overlay = write_overlay(np.zeros(9, np.int32), np.zeros(0, np.int64))
    assert [len(part) for part in (overlay.codes, *read_overlay(overlay))] == [0, 0, 0]


@pytest.mark.parametrize("density", [0.001, 0.01, 0.03, 0.1])
def test_the_estimate_is_near_the_truth(density: float) -> None:
    rng = np.random.default_rng(0)
    flat = (rng.random(200_000) < density).astype(np.int32)
    overlay = write_overlay(flat, np.flatnonzero(flat))
    n_bits = 8 * len(overlay.codes) + JUMP_BITS * len(overlay.jumps)
    found = n_overlay_bits(np.array([float(flat.sum())]), np.array([2e5]), np.array([1]))
    assert found[0] == pytest.approx(n_bits, rel=0.25)


def test_sparse_contexts_cost_less_than_a_bit_a_tuple() -> None:
    """A hundredth of ones has 0.081 bits an integer; a code word for three takes 0.33 at least."""
    rng = np.random.default_rng(1)
    sparse = rng.choice([-1, 0, 1], (64, 3000), p=[0.005, 0.99, 0.005]).astype(np.int32)
    dense = np.rint(rng.normal(0, 4, (64, 3000))).astype(np.int32)
    arrays = [np.concatenate([sparse[:32], dense[:32]]), np.concatenate([dense[32:], sparse[32:]])]
    streams = encode(arrays)
    assert all(len(unit.overlay.codes) for unit in streams.units)
    for array, other in zip(arrays, decode(streams), strict=True):
        np.testing.assert_array_equal(array, other)
    alone = count_bytes(encode([dense]))
    assert 8 * (count_bytes(streams) - alone) < 0.2 * sparse.size
