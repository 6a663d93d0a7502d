"""Weights that passes refuse: small ones, and numbers that float32 lacks, or whose squares it lacks."""

import numpy as np
import pytest
from onnxzip.passes._shared import refusal, refusal_of_transforms

from onnxzip.records.layer import Layer, Layout


def layer(peak: float, dtype: str = "float64", shape: tuple[int, int] = (16, 16)) -> Layer:
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, shape)
    weight[0, 0] = -1
    return Layer("w", "MatMul", (peak * weight).astype(dtype), Layout((), (0,), (1,), ()))


@pytest.mark.parametrize("peak", [1e-300, 1e-40])
def test_float64_below_the_range_of_float32_is_refused(peak: float) -> None:
    """Decoders make float32, whose numbers end at 1e-38: the weight would be 0, or lose most digits."""
    found = refusal(layer(peak), "scalar")
    assert found is not None
    assert (found.layer, found.pass_name) == ("w", "scalar")
    assert found.reason == f"magnitudes up to {peak:.2g}; decoders make float32"


@pytest.mark.parametrize(
    "given", [layer(2e-38), layer(1.0), layer(0.0), layer(1e30), layer(1e-40, "float32")]
)
def test_what_float32_has_is_taken(given: Layer) -> None:
    """0 as well, and float32's own subnormal numbers, which are as exact as they come."""
    assert refusal(given, "scalar") is None


def test_small_weights_are_refused_first() -> None:
    found = refusal(layer(1e-300, shape=(3, 5)), "dct")
    assert found is not None
    assert found.reason == "15 elements; needs at least 256"
    assert refusal(layer(1.0, shape=(1, 255)), "dct") is not None
    assert refusal(layer(1.0, shape=(1, 256)), "dct") is None


@pytest.mark.parametrize(
    ("peak", "is_refused"), [(1e-20, True), (1e20, True), (1e-10, False), (0, False)]
)
def test_transforms_refuse_what_has_no_squares(peak: float, is_refused: bool) -> None:
    found = refusal_of_transforms(layer(peak, "float32"), "dct")
    assert (found is not None) == is_refused
    assert found is None or found.reason == f"magnitudes up to {peak:.2g}; their squares leave float32"
    tiny = refusal_of_transforms(layer(1e-300), "dct")
    assert tiny is not None
    assert tiny.reason.endswith("decoders make float32")
