"""Confidence intervals: they hold what 95 % promises, and only stand where samples can be told apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnxzip.measure.confidence import interval_of, n_to_settle
from onnxzip.measure.metrics import make_metric
from onnxzip.runtime.outputs import Outputs

Interval = tuple[float, float] | None


def measure(
    name: str, before: list[Outputs], after: list[Outputs], labels: np.ndarray | None = None
) -> tuple[float, Interval]:
    metric = make_metric(name, 0.1, labels)
    found = metric.measure(before, after, [len(next(iter(run.values()))) for run in before])
    return found.value, interval_of(metric, found)


def runs_of(values: np.ndarray, n_runs: int) -> list[Outputs]:
    return [{"y": part} for part in np.array_split(values.astype(np.float32), n_runs)]


def noisy(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and scores with errors, whose size varies from sample to sample."""
    scores = rng.standard_normal((n, 10))
    return scores, scores + 0.3 * rng.gamma(1.0, size=(n, 1)) * rng.standard_normal((n, 10))


@pytest.mark.parametrize("name", ["rel_l2", "cosine", "psnr", "top1"])
def test_interval_holds_the_true_value(name: str) -> None:
    """In about 95 of 100 draws; the true value is that of very many samples."""
    rng = np.random.default_rng(0)
    truth, _ = measure(name, *(runs_of(part, 8) for part in noisy(rng, 100_000)))
    n_held = 0
    for _ in range(100):
        value, interval = measure(name, *(runs_of(part, 5) for part in noisy(rng, 100)))
        assert interval is not None
        assert interval[0] < value < interval[1]
        # The peak of psnr grows with the number of samples.
        slack = 2.5 if name == "psnr" else 0.0
        n_held += interval[0] - slack <= truth <= interval[1] + slack
    assert n_held >= 85
    assert n_held < 100 or name == "psnr"


def test_more_samples_narrow_it() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for n in (100, 6400):
        _, interval = measure("rel_l2", *(runs_of(part, 4) for part in noisy(rng, n)))
        assert interval is not None
        widths.append(interval[1] - interval[0])
    assert 5 < widths[0] / widths[1] < 13


def test_drop_in_accuracy() -> None:
    """10 of 400 answers become wrong: as from counting, 2.5 points and 0.78 of deviation."""
    labels = np.arange(400) % 10
    before = np.eye(10)[labels]
    after = before.copy()
    after[:10] = np.roll(after[:10], 1, axis=1)
    value, interval = measure("top1", runs_of(before, 7), runs_of(after, 7), labels)
    assert value == pytest.approx(0.025)
    assert interval is not None
    assert interval == pytest.approx((0.025 - 1.96 * 0.0078, 0.025 + 1.96 * 0.0078), abs=0.003)


def test_no_changed_answer_is_no_certainty() -> None:
    """Clopper and Pearson 1934: no event in 128 still allows 2.8 % of them."""
    runs = runs_of(np.eye(8)[np.arange(128) % 8], 4)
    value, interval = measure("top1", runs, runs)
    assert value == 0
    assert interval == pytest.approx((0, 0.0284), abs=1e-4)
    value, interval = measure("top1", runs, runs, np.arange(128) % 8)
    assert interval == pytest.approx((-0.0284, 0.0284), abs=1e-4)


def test_the_worst_output_counts() -> None:
    rng = np.random.default_rng(2)
    y = rng.standard_normal((40, 3)).astype(np.float32)
    before = [{"good": part, "bad": part} for part in np.split(y, 4)]
    after = [{"good": run["good"], "bad": run["bad"] * np.float32(1.5)} for run in before]
    value, interval = measure("rel_l2", before, after)
    assert value == pytest.approx(0.5)
    assert interval == pytest.approx((0.5, 0.5), abs=1e-6)


@pytest.mark.parametrize(
    "shape_of", [lambda n: (2, n, 8), lambda n: ()], ids=["recurrent state", "scalar"]
)
def test_rows_that_are_no_samples(shape_of: Callable[[int], tuple[int, ...]]) -> None:
    """Each run is one sample then: an interval needs eight of them."""
    for n_runs in (4, 12):
        before = [{"x": np.ones((3, 1)), "s": np.ones(shape_of(3))} for _ in range(n_runs)]
        after = [{"x": run["x"], "s": run["s"] * (1 + 0.01 * i)} for i, run in enumerate(before)]
        _, interval = measure("rel_l2", before, after)
        assert (interval is None) == (n_runs == 4)


@pytest.mark.parametrize("name", ["cosine", "top1"])
def test_rows_of_tokens_are_no_samples(name: str) -> None:
    """Six tokens of each of two samples stand in one axis: four runs say nothing about the samples."""
    rng = np.random.default_rng(3)
    before, after = (runs_of(part, 4) for part in noisy(rng, 48))
    for runs in (before, after):
        runs[:] = [{"x": np.ones((2, 1)), **run} for run in runs]
    assert measure(name, before, after)[1] is None


def test_a_draw_without_any_error_is_unbounded_decibels() -> None:
    y = np.random.default_rng(4).standard_normal((8, 5))
    z = y.copy()
    z[0] += 0.1  # 34 of 100 draws of eight samples leave this one out
    value, interval = measure("psnr", runs_of(y, 2), runs_of(z, 2))
    assert interval is not None
    assert interval[0] < value
    assert interval[1] == math.inf


def test_where_there_is_none() -> None:
    few = runs_of(np.ones((7, 2)), 1)
    assert measure("rel_l2", few, few) == (0.0, None)
    many = runs_of(np.ones((16, 2)), 2)
    assert measure("rel_l2", many, many) == (0.0, (0.0, 0.0))
    assert measure("psnr", many, many) == (math.inf, None)
    changed = [{"y": run["y"][:, :1]} for run in many]
    assert measure("rel_l2", many, changed) == (math.inf, None)


def test_integers_and_text() -> None:
    for before, after in (
        (np.arange(40), np.where(np.arange(40) < 10, -1, np.arange(40))),
        (np.array(["a"] * 40), np.array(["b"] * 10 + ["a"] * 30)),
    ):
        value, interval = measure("rel_l2", [{"y": before}], [{"y": after}])
        assert value == 0.25
        assert interval is not None
        assert 0.1 < interval[0] < 0.25 < interval[1] < 0.5


@pytest.mark.parametrize(
    ("value", "interval", "limit", "expected"),
    [
        (0.08, (0.06, 0.12), 0.1, 400),  # 0.04 reaches beyond 0.02: twice as near takes 4 times as many
        (0.12, (0.08, 0.15), 0.1, 400),  # the side that counts is the one towards the limit
        (0.099, (0.09, 0.109), 0.1, 10000),
        (0.08, (0.06, 0.09), 0.1, None),
        (0.2, (0.15, 0.3), 0.1, None),
        (0.1, (0.05, 0.15), 0.1, None),
        (0.08, None, 0.1, None),
        (0.08, (0.06, 0.12), math.inf, None),
    ],
)
def test_how_many_samples_would_settle_it(
    value: float, interval: Interval, limit: float, expected: int | None
) -> None:
    found = n_to_settle(make_metric("nrmse", limit), value, interval, 100)
    assert found == expected or (
        found is not None and expected is not None and abs(found - expected) < 2
    )


def test_so_many_samples_do_settle_it() -> None:
    """Of the same kind: most intervals then end on the side of the limit that the value is on."""
    rng = np.random.default_rng(0)
    metric = make_metric("rel_l2", 0.42)
    before, after = noisy(rng, 100)
    value, interval = measure("rel_l2", runs_of(before, 5), runs_of(after, 5))
    n = n_to_settle(metric, value, interval, 100)
    assert n is not None
    truth, _ = measure("rel_l2", *(runs_of(part, 8) for part in noisy(rng, 100_000)))
    wider = replace(metric, limit=value + 1.3 * (0.42 - value))
    assert (n_to_settle(wider, value, interval, 100) or 0) < n
    far = [measure("rel_l2", *(runs_of(p, 5) for p in noisy(rng, n)))[1] for _ in range(10)]
    widths = [found[1] - found[0] for found in far if found is not None]
    assert interval is not None
    assert np.median(widths) == pytest.approx((interval[1] - interval[0]) * (100 / n) ** 0.5, rel=0.3)
    assert truth > 0
