"""Which axes of inputs count samples, and inputs with as many of them as are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.errors import UsageError
from onnxzip.inputs.axes import batch_axes
from onnxzip.inputs.batches import with_batch
from onnxzip.runtime.input_spec import InputSpec


def spec(name: str, *shape: int | str | None, dtype: str = "float32") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


AXES = {
    "picture": ([spec("x", "N", 3, "height", "width")], {"x": 0}),
    "unnamed": ([spec("x", None, 3, None, None)], {"x": 0}),
    "text": ([spec("ids", "batch", "seq"), spec("mask", "batch", "seq")], {"ids": 0, "mask": 0}),
    "state": (
        [spec("x", "batch", 64), spec("state", 2, "batch", 128), spec("sr")],
        {"x": 0, "state": 1},
    ),
    "time first": ([spec("x", "time", "batch", 64)], {"x": 1}),
    "no batch": ([spec("x", "tokens", 64)], {}),
    "fixed": ([spec("x", 1, 3, 224, 224)], {}),
    "past": (
        [spec("ids", "batch", 1), spec("past_key", "batch", 8, "past_len", 64)],
        {"ids": 0, "past_key": 0},
    ),
    "fixed, free past": ([spec("ids", 1, "seq"), spec("past_key", 1, 8, "past_len", 64)], {}),
}


@pytest.mark.parametrize("name", AXES)
def test_axes_that_count_samples(name: str) -> None:
    inputs, wanted = AXES[name]
    assert batch_axes(inputs) == wanted


def test_every_input_is_cut_along_its_own_axis() -> None:
    inputs, _ = AXES["state"]
    x, state = np.arange(3 * 64).reshape(3, 64), np.arange(2 * 3 * 128).reshape(2, 3, 128)
    rate = np.array(16000)
    for batch, rows in ((None, [0]), (2, [0, 1]), (5, [0, 1, 2, 0, 1])):
        (fed,), n_samples = with_batch([{"x": x, "state": state, "sr": rate}], inputs, batch, "m")
        assert n_samples == len(rows)
        np.testing.assert_array_equal(fed["x"], x[rows])
        np.testing.assert_array_equal(fed["state"], state[:, rows])
        assert fed["sr"] is rate


def test_what_is_not_fed_and_what_is_empty_stays() -> None:
    inputs = [spec("x", "batch", 4), spec("mask", "batch", 4), spec("past", "batch", 0)]
    fed = {"x": np.ones((2, 4)), "past": np.ones((0, 0))}
    (found,), _ = with_batch([fed], inputs, 3, "m")
    assert {name: array.shape for name, array in found.items()} == {"x": (3, 4), "past": (0, 0)}


def test_what_is_fixed() -> None:
    inputs = [spec("x", 4, 8)]
    feeds = [{"x": np.ones((4, 8))}]
    assert with_batch(feeds, inputs, None, "m") == (feeds, 4)
    assert with_batch(feeds, inputs, 4, "m") == (feeds, 4)
    with pytest.raises(UsageError, match="^batch 1: m is fixed to 4 samples a run; leave it out"):
        with_batch(feeds, inputs, 1, "m")
    with pytest.raises(UsageError, match="^batch 1: m has no axis that counts samples; leave it out"):
        with_batch([{"x": np.ones((3, 8))}], [spec("x", "tokens", 8)], 1, "m")
