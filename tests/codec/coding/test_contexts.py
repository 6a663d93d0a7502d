"""Contexts of very many segments: found in bounded memory, and no worse than of each alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from onnxzip.codec.coding import contexts
from onnxzip.codec.coding.contexts import find_contexts


def scaled(n_segments: int, length: int, scales: tuple[float, ...], n_alike: int) -> np.ndarray:
    """Return normal integers whose scale changes after every `n_alike` segments."""
    of_row = np.resize(np.repeat(scales, n_alike), n_segments)[:, None]
    noise = np.random.default_rng(0).standard_normal((n_segments, length), np.float32)
    return np.rint(noise * of_row).astype(np.int32)


@pytest.mark.parametrize("shape", [(250_000, 4), (1_000_000, 1), (1000, 1000)])
def test_memory_is_a_small_multiple_of_the_integers(shape: tuple[int, int]) -> None:
    integers = scaled(*shape, (0.5, 3.0), 20_000)
    find_contexts([integers[:1000]])  # what numpy allocates once is not counted
    tracemalloc.start()
    found = find_contexts([integers])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.labels.shape == (shape[0],)
    # histograms of a bounded number of descriptions, and of integers at a time
    bound = 8 * contexts._MAX_DESCRIBED * 48 + 24 * contexts._MAX_COUNTED
    assert peak < min(bound, 12 * integers.nbytes)


def test_neighbours_of_many_segments_share_what_describes_them() -> None:
    integers = scaled(120_000, 4, (0.4, 4.0), 30_000)
    labels = find_contexts([integers[:70_000], integers[70_000:]]).labels
    runs = np.flatnonzero(np.diff(labels)) + 1
    assert len(runs) == 3
    np.testing.assert_allclose(runs, [30_000, 60_000, 90_000], atol=3)


@pytest.mark.parametrize("n_joined", [1, 7])
def test_histograms_made_again_are_those_that_are_held(
    monkeypatch: pytest.MonkeyPatch, n_joined: int
) -> None:
    arrays = [scaled(901, 30, (0.5, 1.0, 2.0, 5.0), 50), scaled(333, 200, (1.0, 3.0), 10)]
    monkeypatch.setattr(contexts, "_MAX_DESCRIBED", 1234 // n_joined + 3)
    held = find_contexts(arrays)
    monkeypatch.setattr(contexts, "_MAX_CELLS", 1 << 10)
    monkeypatch.setattr(contexts, "_MAX_COUNTED", 1 << 9)
    again = find_contexts(arrays)
    np.testing.assert_array_equal(held.labels, again.labels)
    assert again.n_bits == pytest.approx(held.n_bits, rel=1e-12)
    assert held.n_contexts > 2


def test_no_segments_and_nothing_but_one_integer() -> None:
    assert find_contexts([]).n_contexts == 0
    assert not find_contexts([np.zeros((70_000, 3), np.int32)]).labels.any()
