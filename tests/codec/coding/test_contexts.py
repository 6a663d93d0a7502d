"""Contexts: found at what they cost, of very many segments in bounded memory, and laid out by tuples."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from onnxzip.codec.coding import contexts
from onnxzip.codec.coding import tuple_layout as layout
from onnxzip.codec.coding.contexts import CONTEXT_BITS, OUTLIER_BITS, SWITCH_BITS, find_contexts
from onnxzip.codec.coding.tuple_layout import TupleLayout


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


@pytest.mark.parametrize("seed", range(5))
def test_segments_take_the_cheapest_path(seed: int) -> None:
    """Of all labels of six segments, a change costing SWITCH_BITS."""
    costs = np.random.default_rng(seed).uniform(0, 120, (6, 3))

    def bits(path: tuple[int, ...]) -> float:
        n_changes = sum(a != b for a, b in itertools.pairwise(path))
        return float(costs[np.arange(6), list(path)].sum()) + SWITCH_BITS * n_changes

    best = min(itertools.product(range(3), repeat=6), key=bits)
    assert len(set(best)) > 1
    assert contexts._assign(costs).tolist() == list(best)


def test_contexts_cost_what_they_say() -> None:
    """Integers by their entropy, each context, and each change of it."""
    narrow = np.tile(np.arange(2, dtype=np.int32), (10, 496))
    wide = np.tile(np.arange(-8, 8, dtype=np.int32), (10, 62))
    found = find_contexts([narrow, wide[:3], wide[3:]])
    assert found.labels.tolist() == [0] * 10 + [1] * 10 or found.labels.tolist() == [1] * 10 + [0] * 10
    assert found.n_bits == pytest.approx(9920 * (1 + 4) + 2 * CONTEXT_BITS + SWITCH_BITS)
    turns = find_contexts([narrow, wide, narrow])
    assert turns.n_contexts == 2
    assert turns.n_bits == pytest.approx(9920 * (1 + 4 + 1) + 2 * CONTEXT_BITS + 2 * SWITCH_BITS)
    assert find_contexts([narrow]).n_bits == pytest.approx(9920 + CONTEXT_BITS)


def with_ends(*ends: int) -> np.ndarray:
    array = np.zeros((1, 20_000), np.int32)
    array[0, : len(ends)] = ends
    return array


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((-20, 27), (-20, 27)),
        ((-20, 28), (-20, 24)),
        ((-25, 28), (-24, 24)),
        ((0, 4000), (0, 4000)),
        ((-191, 40), (-24, 24)),
        ((-192, 40), (-192, 40)),
        ((1, 4095), (0, 4095)),
        ((1, 4096), (0, 0)),
    ],
)
def test_few_integers_lie_outside_the_common_range(
    ends: tuple[int, int], expected: tuple[int, int]
) -> None:
    """48 bins around zero, else 4096 in all; the integers outside are paid for one by one."""
    array = with_ends(*ends)
    assert contexts._common_range([array, np.zeros((3, 0), np.int32)]) == expected
    low, high = expected
    n_outside = int(((array < low) | (array > high)).sum())
    counts = np.unique(np.clip(array, low, high), return_counts=True)[1]
    n_bits = float((counts * np.log2(20_000 / counts)).sum())
    assert find_contexts([array]).n_bits == pytest.approx(
        n_bits + CONTEXT_BITS + n_outside * OUTLIER_BITS
    )
    assert contexts._common_range([np.zeros((3, 0), np.int32)]) == (0, 0)


SHAPES = [(3, 5), (2, 4), (4, 1), (6, 7), (5, 2)]
LABELS = np.array([0, 0, 1, 1, 0, 2, 0, 0, 2, 2, 1, 2, 2, 2, 0, 1, 1, 0, 0, 0], np.uint8)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8])
def test_tuples_have_the_context_of_the_middle_of_their_block(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOCK", 2)
    rng = np.random.default_rng(length)
    arrays = [rng.integers(-9, 9, shape).astype(np.int32) for shape in SHAPES]
    groups = [(0, 2, 4), (3,), (1,)]
    whole = TupleLayout(arrays, groups, LABELS)
    assert (whole.n_contexts, whole.n_values) == (3, 79)
    n_changes = 1 + np.flatnonzero(np.diff(LABELS))
    assert whole.n_runs.tolist() == np.bincount(LABELS[[0, *n_changes]]).tolist()
    left, flats, firsts = LABELS, [], []
    for g, group in enumerate(groups):
        lengths = np.concatenate([np.full(len(arrays[i]), arrays[i].shape[1]) for i in group])
        of_integers, left = np.repeat(left[: len(lengths)], lengths), left[len(lengths) :]
        flat = np.concatenate([arrays[i].ravel() for i in group])
        padded = np.append(flat, np.full(-len(flat) % (2 * length), 77))
        tuples, labels = whole.tuples(g, length, 77)
        np.testing.assert_array_equal(tuples, padded.reshape(-1, length))
        middles = np.arange(len(tuples)) // 2 * 2 * length + length - 1
        expected = of_integers[np.minimum(middles, len(flat) - 1)]
        np.testing.assert_array_equal(labels, expected)
        assert whole.row_length(g, length) == 0
        n_whole = len(flat) // length
        flats.append(tuples[:n_whole])
        firsts.append(labels[:n_whole])
    sample, labels = whole.sample(length, 1000)
    np.testing.assert_array_equal(sample, np.concatenate(flats))
    np.testing.assert_array_equal(labels, np.concatenate(firsts))


def test_rows_of_large_arrays_are_padded_to_whole_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long rows are, and those that need no padding; small arrays and those together are not."""
    monkeypatch.setattr(layout, "LARGE_ARRAY", 4 * 256)
    array = np.arange(4 * 256, dtype=np.int32).reshape(4, 256)
    short = np.arange(5 * 255, dtype=np.int32).reshape(5, 255)
    labels = np.array([1, 0, 0, 2], np.uint8)
    for rows, length, expected in (
        (array, 3, 258),
        (array, 4, 256),
        (array[:3], 4, 0),
        (short, 4, 0),
        (short, 5, 255),
    ):
        alone = TupleLayout([rows], [(0,)], np.zeros(len(rows), np.uint8))
        assert alone.row_length(0, length) == expected
    both = TupleLayout([array, array], [(0, 1)], np.append(labels, labels))
    assert both.row_length(0, 4) == 0
    tuples, of_tuples = TupleLayout([array], [(0,)], labels).tuples(0, 3, -5)
    assert len(tuples) == 344
    np.testing.assert_array_equal(tuples.reshape(4, 258)[:, :256], array)
    assert (tuples.reshape(4, 258)[:, 256:] == -5).all()
    # the first row ends within the first half of a block, the third between two blocks
    np.testing.assert_array_equal(of_tuples, np.repeat(labels[[0, 1, 3]], [88, 168, 88]))


def test_integers_are_counted_within_two_bytes_around_the_median() -> None:
    zeros = np.zeros(1, np.uint8)
    low, counts = TupleLayout([np.array([[-3, 0, 0, 2]], np.int32)], [(0,)], zeros).histogram()
    assert (low, counts.tolist()) == (-3, [1, 0, 0, 2, 0, 1])
    ends = [-40_000, -32_768, -32_769, 32_767, 32_768, 7, 7]
    array = np.array([ends + [0] * 11], np.int32)
    low, counts = TupleLayout([array], [(0,)], zeros).histogram()
    assert (low, len(counts)) == (-32_768, 1 << 16)
    assert {low + i: int(counts[i]) for i in np.flatnonzero(counts)} == {
        -32_768: 1,
        0: 11,
        7: 2,
        32_767: 1,
    }
    array = np.array([[0, 0, 0, (1 << 16) - 1]], np.int32)
    low, counts = TupleLayout([array], [(0,)], zeros).histogram()
    assert (low, len(counts), counts.sum()) == (0, 1 << 16, 4)
    array[0, 3] += 1
    low, counts = TupleLayout([array], [(0,)], zeros).histogram()
    assert (low, len(counts), counts.sum()) == (0, 1 << 15, 3)
