"""nrmse: the loss of all samples together, or half of the median one's, whichever is larger."""

import numpy as np
import pytest

from onnxzip.measure.confidence import interval_of
from onnxzip.measure.metrics import make_metric

RNG = np.random.default_rng(0)


def runs_of(rows: np.ndarray, n_runs: int) -> list[dict[str, np.ndarray]]:
    return [{"y": part} for part in np.array_split(rows, n_runs)]


def loss(before: np.ndarray, after: np.ndarray, n_runs: int = 10, *, apart: bool = True) -> float:
    """Return the loss; `apart` tells samples within a run apart."""
    x, y = runs_of(before, n_runs), runs_of(after, n_runs)
    return make_metric("nrmse").measure(x, y, [len(run["y"]) for run in x] if apart else None).value


def uneven(n: int = 200, n_large: int = 4, factor: float = 300) -> np.ndarray:
    """Return rows of which 2 % are so many times larger, in both directions: the mean stays near 0."""
    rows = RNG.standard_normal((n, 8))
    rows[:n_large] *= factor * np.where(np.arange(n_large) % 2, 1, -1)[:, None]
    rows[1:n_large:2] = -rows[: n_large - 1 : 2]
    return rows


def test_large_rows_do_not_hide_that_all_others_are_lost() -> None:
    rows = uneven()
    kept = np.where(np.arange(len(rows))[:, None] < 4, rows, 0)
    whole = np.sqrt(((rows - kept) ** 2).sum() / ((rows - rows.mean(axis=0)) ** 2).sum())
    assert whole < 0.05, "by the sum alone it would pass"
    assert 0.4 < loss(rows, kept) < 0.6, "half of what the sample in the middle loses"


def test_large_rows_of_one_sign_do_not_hide_the_others() -> None:
    """They make up the mean, from which all others are equally far: a constant would pass for them."""
    n_large = 4
    rows = 1 + 0.1 * RNG.standard_normal((200, 8))
    rows[:n_large] *= 300
    is_large = np.arange(len(rows))[:, None] < n_large
    constant = np.where(is_large, rows, rows[n_large:].mean(axis=0))
    mean = rows.mean(axis=0)
    of_others = np.linalg.norm(rows - constant, axis=1) / np.linalg.norm(rows - mean, axis=1)
    assert np.median(of_others) < 0.1, "by distances from the mean the others would lose little"
    assert loss(rows, constant) > 0.3
    fine = np.where(is_large, rows, rows + 0.005 * RNG.standard_normal(rows.shape))
    assert loss(rows, fine) < 0.1


def test_what_is_lost_of_the_large_rows_counts_as_well() -> None:
    rows = uneven()
    lost = np.where(np.arange(len(rows))[:, None] < 4, 0, rows)
    assert loss(rows, lost) == pytest.approx(1, abs=0.05)


def test_even_losses_are_those_of_all_samples() -> None:
    """The median only counts where it is more than twice as large."""
    rows = RNG.standard_normal((200, 8))
    noisy = rows + 0.1 * RNG.standard_normal(rows.shape)
    whole = np.sqrt(((rows - noisy) ** 2).sum() / ((rows - rows.mean(axis=0)) ** 2).sum())
    assert loss(rows, noisy) == pytest.approx(whole, rel=1e-9)


def test_a_sample_that_is_the_mean_loses_nothing() -> None:
    """Its distance from the mean counts as that of the middle one: no division by about nothing."""
    rows = RNG.standard_normal((200, 8))
    rows[:90] *= 1e-6
    noisy = rows + 0.01 * RNG.standard_normal(rows.shape)
    assert loss(rows, noisy) < 0.03
    metric = make_metric("nrmse")
    (sums,) = metric.measure(runs_of(rows, 10), runs_of(noisy, 10), [20] * 10).sums
    losses = metric.sample_values(sums)  # type: ignore[attr-defined]
    assert losses.shape == (200,)
    assert losses.max() < 0.05


def test_most_samples_may_be_the_mean() -> None:
    """A detector that finds nothing in most of them: their distance counts as the mean one."""
    rows = np.zeros((200, 1))
    rows[:20, 0], rows[20:40, 0] = 1, -1
    assert rows.mean() == 0
    assert loss(rows, 0.98 * rows) < 0.05
    assert 0 < loss(rows, rows + 1e-3) < 0.01
    assert loss(rows, rows + 0.5 * (rows == 0)) > 0.1


def test_few_samples_have_no_median() -> None:
    rows = uneven(7, 1)
    kept = np.where(np.arange(7)[:, None] < 1, rows, 0)
    assert loss(rows, kept, 7) < 0.03


def test_runs_are_what_is_told_apart_where_samples_are_not() -> None:
    rows = uneven(200, 4)  # all in the first of ten runs
    kept = np.where(np.arange(200)[:, None] < 4, rows, 0)
    assert loss(rows, kept, apart=False) > 0.1


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_units_do_not_count(scale: float) -> None:
    rows = uneven()
    noisy = rows + 0.1 * RNG.standard_normal(rows.shape)
    assert loss(scale * rows, scale * noisy) == pytest.approx(loss(rows, noisy), rel=1e-6)


def test_the_interval_is_about_the_same_number() -> None:
    rows = uneven()
    kept = np.where(np.arange(len(rows))[:, None] < 4, rows, 0)
    metric = make_metric("nrmse")
    found = metric.measure(runs_of(rows, 10), runs_of(kept, 10), [20] * 10)
    interval = interval_of(metric, found)
    assert interval is not None
    assert 0.1 < interval[0] <= found.value <= interval[1]


def test_outputs_that_do_not_vary_are_held_to_their_size() -> None:
    rows = np.full((64, 4), 5.0)
    assert loss(rows, rows + 0.5) == pytest.approx(0.1)
