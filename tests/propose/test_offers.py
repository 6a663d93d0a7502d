"""What passes offer for a weight: nothing that decodes to infinity, with the errors that it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxzip.codec.level import level
from onnxzip.measure.moments.distortion import OutputDistortion
from onnxzip.options import Options
from onnxzip.propose.offers import collect_offers
from onnxzip.propose.registry import make_passes
from onnxzip.records.layer import Layer, Layout, Statistics

LARGEST = float(np.finfo(np.float32).max)
PLAIN = Layout(batch=(), out=(0,), inner=(1,), spatial=())


def weight_with(largest: float, dtype: type[np.generic] = np.float32) -> np.ndarray:
    """Return (64, 64) small numbers with some of the largest magnitude among them."""
    weight = np.random.default_rng(7).normal(size=(64, 64))
    weight[3, 5:9] = largest
    weight[9, ::8] = -largest * 0.999
    return weight.astype(dtype)


@pytest.mark.parametrize("number", [1, 6, 9])
def test_no_offer_for_a_weight_at_the_end_of_float32_is_infinite(number: int) -> None:
    passes, _ = make_passes(Options())
    layer = Layer("w", "MatMul", weight_with(LARGEST), PLAIN)
    codec = level(number).codecs([layer])["w"]
    offers, _ = collect_offers(layer, passes, codec)
    for offer in offers:
        method = passes[offer.pass_name]
        encoded = method.encode(layer, offer.settings, codec)
        restored = method.restore(replace(offer, layer=layer, encoded=encoded))
        assert np.isfinite(offer.error)
        assert np.isfinite(restored).all()


@pytest.mark.parametrize("shape", [(24, 6, 3, 3), (24, 50)])
def test_errors_are_those_of_the_layers_output(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    weight = rng.standard_normal(shape).astype(np.float32)
    n_columns = weight.size // len(weight)
    root = rng.standard_normal((n_columns, 2 * n_columns)).astype(np.float32)
    statistics = Statistics((root @ root.T / n_columns).astype(np.float32), 2 * n_columns)
    layout = Layout((), (0,), (1,), tuple(range(2, len(shape))))
    layer = Layer("w", "Conv", weight, layout, statistics=statistics)
    passes, _ = make_passes(Options())
    codec = level(6).codecs([layer])["w"]
    offers, _ = collect_offers(layer, passes, codec)
    known, measure = set(), OutputDistortion(layer.canonical(), statistics)
    for offer in offers:
        method = passes[offer.pass_name]
        encoded = method.encode(layer, offer.settings, codec)
        known |= {offer.pass_name} if encoded.lost is not None else set()
        restored = method.restore(replace(offer, layer=layer, encoded=encoded))
        assert offer.error == pytest.approx(measure(restored), rel=2e-3)
    assert known >= {"scalar"}  # rounding knew it


@pytest.mark.parametrize(
    ("dtype", "largest", "expected"),
    [
        (np.float32, LARGEST, True),
        (np.float32, -LARGEST, True),
        (np.float32, LARGEST / 4, False),
        (np.float64, LARGEST, True),
        (np.float16, 65504, False),  # it is decoded in float32, and rounded to float16 as numpy does
        (np.int32, 2**31 - 1, False),
    ],
)
def test_weights_near_infinity_are_known(
    dtype: type[np.generic], largest: float, expected: bool
) -> None:
    values = np.array([[0, 1], [0, largest]], dtype)
    assert Layer("w", "MatMul", values, PLAIN).is_near_infinity is expected
