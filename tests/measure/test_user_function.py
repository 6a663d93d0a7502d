"""A metric of the user's own takes two dicts of outputs, or two arrays if its signature says so."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.typing import ArrayLike, NDArray

from onnxzip.errors import CalibrationError
from onnxzip.measure.metrics import make_metric
from onnxzip.runtime.outputs import Outputs

RNG = np.random.default_rng(0)
BEFORE = RNG.standard_normal((12, 5)).astype(np.float32)
AFTER = BEFORE + RNG.standard_normal(BEFORE.shape).astype(np.float32)
LOSS = float(np.square(AFTER - BEFORE).mean())


def runs(array: np.ndarray, *names: str) -> list[Outputs]:
    return [dict.fromkeys(names or ("y",), part) for part in np.split(array, 3)]


def mean_square(a: Any, b: Any) -> float:
    return float(np.square(np.asarray(a) - np.asarray(b)).mean())


def an_ndarray(a: np.ndarray, b: np.ndarray) -> float:
    return mean_square(a, b)


def an_nd_array(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return mean_square(a, b)


def an_array_like(a: npt.ArrayLike, b: ArrayLike) -> float:
    return mean_square(a, b)


def an_optional(a: np.ndarray | None, b: np.ndarray | None = None) -> float:
    return mean_square(a, b)


def y_true(y_true, y_pred, *, sample_weight=None):
    return mean_square(y_true, y_pred)


class Measure:
    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        return mean_square(a, b)

    def method(self, a: np.ndarray, b: np.ndarray) -> float:
        return mean_square(a, b)


def a_dict(y_true: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    return mean_square(y_true["y"], b["y"])


def a_mapping(a: Mapping[str, NDArray[np.float32]], b: Any) -> float:
    return mean_square(a["y"], b["y"])


def unknown(a, b):
    return mean_square(a["y"], b["y"])


def other_annotation(y_true: Outputs, b: Outputs) -> float:
    return mean_square(y_true["y"], b["y"])


@pytest.mark.parametrize(
    "function",
    [
        *(an_ndarray, an_nd_array, an_array_like, an_optional, y_true, Measure(), Measure().method),
        functools.partial(y_true, sample_weight=None),
        *(a_dict, a_mapping, unknown, other_annotation),
    ],
)
def test_the_signature_says_what_it_is_given(function: Callable[..., float]) -> None:
    metric = make_metric(function, 1.0)
    assert metric.measure(runs(BEFORE), runs(AFTER)).value == pytest.approx(LOSS)


def test_annotations_need_not_be_text() -> None:
    def annotated(a, b):
        return mean_square(a, b)

    for kind in (np.ndarray, NDArray[np.float32], ArrayLike):
        annotated.__annotations__ = {"a": kind}
        found = make_metric(annotated, 1.0).measure(runs(BEFORE), runs(AFTER))
        assert found.value == pytest.approx(LOSS)


def test_a_function_of_scikit_learn_is_named_as_it_is() -> None:
    metric = make_metric("sklearn.metrics:mean_squared_error", 1.0)
    assert metric.measure(runs(BEFORE), runs(AFTER)).value == pytest.approx(LOSS)


def test_arrays_need_a_single_output() -> None:
    metric = make_metric(an_ndarray, 1.0)
    two = runs(BEFORE, "y", "z")
    with pytest.raises(CalibrationError, match=r"takes arrays, but the model has 2 outputs \(y, z\)"):
        metric.measure(two, two)


def test_what_fails_is_told_what_it_was_given() -> None:
    def guesses(a, b):
        return np.abs(a - b).max()

    for function, given in ((guesses, "dicts of outputs, or the arrays of"), (y_true, "two arrays")):
        metric = make_metric(function, 1.0)
        before = runs(BEFORE) if function is guesses else [{"y": np.array(["word"])}]
        with pytest.raises(CalibrationError, match=given) as caught:
            metric.measure(before, before)
        assert "\n" not in str(caught.value)
