"""What coding saves against packing with the same error: more of heavier tails, nothing of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.codec.gain import saved_bytes

RNG = np.random.default_rng(0)
SHAPE = (256, 512)


def test_heavier_tails_save_more() -> None:
    weights = [
        RNG.uniform(-1, 1, SHAPE),
        RNG.standard_normal(SHAPE),
        RNG.standard_t(5, SHAPE),
        RNG.standard_t(3, SHAPE),
    ]
    saved = [saved_bytes(weight.astype(np.float32)) for weight in weights]
    assert saved == sorted(saved)
    assert 0.05 < saved[1] < 0.1
    assert saved[2] > 1.4 * saved[1]


def test_the_scale_does_not_count() -> None:
    weight = RNG.standard_normal(SHAPE).astype(np.float32)
    assert saved_bytes(weight * np.float32(1e-3)) == pytest.approx(saved_bytes(weight), rel=0.02)


@pytest.mark.parametrize("fill", [0.0, np.inf, np.nan])
def test_what_is_no_number_or_zero_saves_nothing(fill: float) -> None:
    assert saved_bytes(np.full(SHAPE, fill, np.float32)) == 0.0
    assert saved_bytes(np.zeros((3, 5), np.float32)) == 0.0
