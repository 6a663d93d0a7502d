"""Weights of a plan, all together: in memory or in a file, they are the same."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip.disk.own_copy import mapping_of
from onnxzip.rewrite import restorer
from tests.rewrite.test_emit import prepare


@pytest.mark.parametrize("name", ["residual_network", "float16_conv"])
def test_weights_that_are_large_together_lie_in_a_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = prepare(name, 6)
    chosen = work.plan.chosen
    here = work.restorer.restore_all(chosen.values())
    monkeypatch.setattr(restorer, "_MIN_DISK_BYTES", 1)
    there = work.restorer.restore_all(chosen.values())
    assert list(here) == list(there) == list(chosen)
    for layer, array in here.items():
        np.testing.assert_array_equal(there[layer], array)
        assert there[layer].dtype == array.dtype
        assert mapping_of(array) is None
        assert mapping_of(there[layer]) is not None
