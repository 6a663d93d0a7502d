"""What the mean answer scores, in every kind of metric."""

import numpy as np
import pytest

from onnxzip.measure.metrics import make_metric
from onnxzip.measure.metrics._user_function import FunctionMetric
from onnxzip.measure.outputs.constant_answer import constant_score

RNG = np.random.default_rng(0)


def runs_of(rows: np.ndarray, n_runs: int = 8) -> list[dict[str, np.ndarray]]:
    return [{"y": part} for part in np.split(rows, n_runs)]


@pytest.mark.parametrize("offset", [0, 3, 1000])
@pytest.mark.parametrize("width", [1, 5])
def test_it_scores_1_in_nrmse(offset: float, width: int) -> None:
    rows = offset + RNG.standard_normal((64, width))
    assert constant_score(make_metric("nrmse"), runs_of(rows)) == pytest.approx(1, rel=1e-9)


def test_the_worst_output_scores_1_too() -> None:
    runs = [{"a": RNG.standard_normal((8, 2)), "b": 7 + RNG.standard_normal((8, 3))} for _ in range(8)]
    assert constant_score(make_metric("nrmse"), runs) == pytest.approx(1, rel=1e-9)


def test_it_scores_little_in_rel_l2_where_outputs_hardly_vary() -> None:
    """Which is why a loss of 0.1 of the size is nothing to be proud of there."""
    rows = 10 + RNG.standard_normal((64, 5))
    deviation = np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum() / (rows**2).sum())
    assert constant_score(make_metric("rel_l2"), runs_of(rows)) == pytest.approx(deviation)
    assert deviation < 0.11


def test_it_always_answers_with_one_class() -> None:
    """That of the largest mean: class 2, which 40 of 64 are."""
    rows = np.zeros((64, 4))
    rows[:40, 2] = rows[40:, 1] = 1
    assert constant_score(make_metric("top1"), runs_of(rows)) == pytest.approx(24 / 64)


def test_nan_stays_where_it_is() -> None:
    rows = RNG.standard_normal((64, 5))
    rows[:, 4] = np.nan
    assert constant_score(make_metric("nrmse"), runs_of(rows)) == pytest.approx(1, rel=1e-9)


def test_rows_of_different_shapes_have_a_constant_too() -> None:
    runs = [{"y": RNG.standard_normal((8, 1 + i))} for i in range(4)]
    assert constant_score(make_metric("nrmse"), runs) == pytest.approx(1, rel=1e-9)


def test_nothing_is_said_where_there_is_no_mean() -> None:
    runs = runs_of(RNG.standard_normal((64, 5)))
    function = FunctionMetric(0.1, function=lambda before, after: 0.0, called="own:loss")
    assert constant_score(function, runs) is None
    answers = [{"y": np.arange(8)} for _ in range(4)]
    assert constant_score(make_metric("nrmse"), answers) is None
    assert constant_score(make_metric("top1"), answers) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0, 0.0])
@pytest.mark.parametrize("metric", ["nrmse", "rel_l2", "cosine", "psnr", "top1"])
def test_where_nothing_varies_a_constant_says_nothing(value: float, metric: str) -> None:
    rows = np.full((16, 4), value, np.float32)
    assert constant_score(make_metric(metric), runs_of(rows)) is None
