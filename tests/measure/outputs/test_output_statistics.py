"""Statistics of outputs against plain numpy on all rows at once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.measure.outputs.output_statistics import (
    OutputStatistics,
    output_statistics,
)


def of(*runs: np.ndarray) -> OutputStatistics:
    return output_statistics([{"y": run} for run in runs])["y"]


def make_runs(sizes: list[int], width: int, scale: float, offset: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [scale * (rng.standard_normal((size, width)) + offset) for size in sizes]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([1e-160, 1e-30, 1e-6, 1.0, 1e8, 1e30, 1e160]),
    st.sampled_from([0.0, 1.0, 100.0]),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 999),
)
def test_as_numpy_has_it(
    sizes: list[int], width: int, scale: float, offset: float, share: float, seed: int
) -> None:
    """Of any size, with NaN and Inf among them."""
    runs = make_runs(sizes, width, scale, offset, seed)
    rng = np.random.default_rng([seed, 1])
    for run in runs:
        run[rng.random(run.shape) < share] = rng.choice([np.nan, np.inf, -np.inf])
    found, whole = of(*runs), np.concatenate(runs)
    numbers = np.where(np.isfinite(whole), whole, np.nan)
    n_finite = int(np.isfinite(whole).sum())
    assert (found.kind, found.n_elements, found.n_finite) == ("f", whole.size, n_finite)
    assert found.n_rows == len(whole)
    if not n_finite:
        assert (found.low, found.high, found.rms) == (math.inf, -math.inf, 0)
        return
    assert (found.low, found.high) == (np.nanmin(numbers), np.nanmax(numbers))
    if len(whole) >= 8:
        count = np.isfinite(whole).sum(axis=0)
        mean = np.nansum(numbers, axis=0) / np.maximum(count, 1)
    else:
        mean = np.asarray(np.nanmean(numbers))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-12 * scale)
    size = np.nanmax(np.abs(numbers))
    rms = size * math.sqrt(np.nanmean((numbers / size) ** 2))
    deviation = size * math.sqrt(np.nanmean(((numbers - mean) / size) ** 2))
    assert found.rms == pytest.approx(rms, rel=1e-9)
    assert found.deviation == pytest.approx(deviation, rel=1e-7, abs=1e-9 * rms)


@pytest.mark.parametrize("n_rows", [7, 8])
def test_few_rows_have_one_mean_for_all_elements(n_rows: int) -> None:
    rows = np.tile(np.array([[0.0, 10.0]]), (n_rows, 1))
    rows[0] += 1
    found = of(rows)
    assert found.mean.shape == (() if n_rows < 8 else (2,))
    assert (found.deviation > 4) == (n_rows < 8)


def test_rows_of_different_shapes_have_one_mean() -> None:
    found = of(np.ones((8, 3)), np.full((8, 2), 3.0))
    assert found.mean == pytest.approx((24 * 1 + 16 * 3) / 40)
    assert found.varies
    assert found.n_rows == 16


@pytest.mark.parametrize("is_one_run", [True, False])
def test_whether_rows_vary(is_one_run: bool) -> None:
    same, other = np.ones((8, 2)), np.ones((8, 2))
    other[7, 1] = 2
    pairs = ((same, same, False), (same, other, True), (other, same, True))
    for first, second, varies in pairs:
        runs = [np.concatenate([first, second])] if is_one_run else [first, second]
        assert of(*runs).varies == varies


def test_nan_is_like_nan() -> None:
    rows = np.full((8, 2), np.nan)
    assert not of(rows).varies
    assert (of(rows).n_finite, of(rows).rms, of(rows).deviation) == (0, 0, 0)
    rows[3, 0] = 1
    assert of(rows).varies


@pytest.mark.parametrize("dtype", ["int64", "bool", "<U3"])
def test_what_is_no_number_only_varies_or_not(dtype: str) -> None:
    same, other = np.array(["1", "1"]).astype(dtype), np.array(["1", "0"])
    other = (other == "1") if dtype == "bool" else other.astype(dtype)
    assert (of(same, same).varies, of(same, other).varies) == (False, True)
    found = of(same, other)
    assert (found.kind, found.n_elements, found.n_finite) == (np.dtype(dtype).kind, 4, 4)
    assert (found.rms, found.deviation) == (0, 0)


def test_scalars_are_rows() -> None:
    found = of(*(np.float32(i) for i in range(9)))
    assert (found.n_rows, found.mean.shape) == (9, ())
    assert found.mean == 4
    assert found.deviation == pytest.approx(np.std(np.arange(9)))


def test_nothing_at_all() -> None:
    empty = of(np.zeros((0, 3)))
    assert (empty.n_elements, empty.n_finite, empty.n_rows, empty.varies) == (0, 0, 0, False)
    late = of(np.zeros((0, 3)), np.ones((8, 3)), np.zeros((0, 3)))
    assert (late.n_rows, late.rms, late.varies) == (8, 1, False)
    assert output_statistics([]) == {}


def test_float16_is_summed_in_float64() -> None:
    rows = np.full((4000, 2), 60000, np.float16)
    rows[::2] = 40000
    assert of(rows).mean == pytest.approx(50000)
    assert of(rows).deviation == pytest.approx(10000)


def test_the_median_row_is_the_mean_where_a_few_rows_make_it_up() -> None:
    """2 % of them are 300 times larger, all of one sign: the mean would be 6 from all others."""
    rng = np.random.default_rng(0)
    rows = 1 + 0.1 * rng.standard_normal((400, 3))
    rows[::50] *= 300
    found = of(*np.array_split(rows, 8))
    np.testing.assert_array_equal(found.mean, np.median(rows, axis=0))
    distance = rows - np.median(rows, axis=0)
    assert found.deviation == pytest.approx(math.sqrt((distance**2).mean()))


def test_what_is_uneven_otherwise_keeps_its_mean() -> None:
    """Skewed rows, two kinds of them, large ones of either sign, and one of few that is far."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((400, 3))
    either_sign = noise * np.where(np.arange(400) % 50, 1, 300)[:, None]
    either_sign -= either_sign.mean(axis=0)
    two_kinds = noise + np.where(np.arange(400) % 3, 0, 5)[:, None]
    for rows in (np.exp(noise), two_kinds, either_sign, np.exp(noise[:8])):
        np.testing.assert_allclose(of(rows).mean, rows.mean(axis=0), atol=1e-12)


def test_rows_that_are_not_all_finite_keep_their_mean() -> None:
    rows = np.ones((400, 1))
    rows[::50] = 300
    assert of(rows).mean == 1
    rows[1] = np.nan
    assert of(rows).mean == pytest.approx((8 * 300 + 391) / 399)
