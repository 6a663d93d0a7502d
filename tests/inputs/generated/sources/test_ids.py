"""Ids: legal ones only, as frequent as words, and all over the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.inputs.generated.sources.ids import put_ids, uniform_ids, zipf_ids

RANGES = st.builds(lambda low, n: range(low, low + n), st.integers(-50, 50), st.integers(1, 70000))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(RANGES, st.sampled_from([(), (0, 3), (1,), (4, 32)]), st.integers(0, 99))
def test_ids_are_legal(ids: range, shape: tuple[int, ...], seed: int) -> None:
    for draw in (zipf_ids, uniform_ids):
        found = draw(ids, shape, np.random.default_rng(seed))
        again = draw(ids, shape, np.random.default_rng(seed))
        assert (found.shape, found.dtype) == (shape, np.int64)
        assert set(found.ravel().tolist()) <= set(ids)
        np.testing.assert_array_equal(found, again)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(RANGES, st.integers(20, 300), st.integers(0, 99))
def test_uniform_ids_visit_every_decile_however_few_they_are(ids: range, n: int, seed: int) -> None:
    found = uniform_ids(ids, (n,), np.random.default_rng(seed)) - ids.start
    deciles = np.unique(found * 10 // len(ids))
    assert len(deciles) == min(10, len(ids))
    assert len(np.unique(found)) == min(n, len(ids))


def frequencies(n_rows: int, n_draws: int = 400_000) -> np.ndarray:
    found = zipf_ids(range(n_rows), (n_draws,), np.random.default_rng(0))
    return np.bincount(found, minlength=n_rows) / n_draws


def test_frequencies_fall_like_words() -> None:
    """Twice the law's share of a rank: half of the draws, in each of two orders."""
    n_rows = 30_000
    found = np.sort(frequencies(n_rows))[::-1]
    ranks = np.arange(1, n_rows + 1)
    law = 1 / (ranks + 2.7)
    law /= law.sum()
    assert found[0] == pytest.approx(law[0], rel=0.05)  # the first rank stands first in both orders
    for start in (10, 100, 1000):
        expected = np.repeat(law[: start // 2 + 400] / 2, 2)
        assert found[start : start + 400].mean() == pytest.approx(
            expected[start : start + 400].mean(), rel=0.15
        )


def test_frequent_ids_are_the_same_in_every_run_and_lie_all_over() -> None:
    first, second = (
        np.bincount(zipf_ids(range(5000), (50_000,), np.random.default_rng(s)), minlength=5000)
        for s in (1, 2)
    )
    frequent = np.argsort(first)[-50:]
    assert np.corrcoef(first, second)[0, 1] > 0.95
    assert second[frequent].sum() > 0.5 * first[frequent].sum() > 5000
    assert len(np.unique(frequent * 10 // 5000)) >= 9


def test_negative_ids_are_for_who_asks_for_the_whole_table() -> None:
    ids, rng = range(-100, 100), np.random.default_rng(0)
    assert zipf_ids(ids, (1000,), rng).min() == 0
    assert uniform_ids(ids, (1000,), rng).min() < -95
    assert zipf_ids(range(-5, 0), (100,), rng).max() < 0


def test_the_longest_range_is_no_matter_of_memory() -> None:
    for draw in (zipf_ids, uniform_ids):
        found = draw(range(2**63), (1000,), np.random.default_rng(0))
        assert 0 <= found.min() < found.max() < 2**31


def test_columns_get_ids_of_their_own() -> None:
    whole = np.full((50, 3, 4), 0.5, np.float32)
    parts = {(1, 0): range(7), (1, 2): range(-9, -2)}
    for draw in (zipf_ids, uniform_ids):
        found = put_ids(whole, parts, draw, np.random.default_rng(0))
        assert (found.dtype, found.shape) == (whole.dtype, whole.shape)
        assert set(np.unique(found[:, 0])) == set(range(7))
        assert set(np.unique(found[:, 2])) == set(range(-9, -2))
        assert (found[:, 1] == 0.5).all()
        assert (whole == 0.5).all()
