"""What loading and running costs, measured in processes of their own."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxzip.comparison.costs import cost_of_loading, latency_ratio
from onnxzip.errors import ModelError
from onnxzip.runtime.apart import Limits
from tests.comparison.dense import inputs, write_dense

LIMITS = Limits(cpu_s=120)


def test_memory_is_that_of_the_model(tmp_path: Path) -> None:
    """Nobody else's, and not that of the process that asks: 32 MB of weights, read and copied."""
    small, large = (write_dense(tmp_path / f"{n}.onnx", n) for n in (1 << 7, 1 << 20))
    ballast = np.ones(1 << 25)  # 256 MB, of which a process that is started must know nothing
    costs = [cost_of_loading(path, LIMITS) for path in (small, large)]
    assert ballast[-1] == 1
    assert 0 <= costs[0].cpu_s < costs[1].cpu_s
    if sys.platform == "linux":
        memory = [cost.n_bytes for cost in costs if cost.n_bytes is not None]
        assert memory[0] < 1 << 24
        assert 1 << 25 <= memory[1] < 1 << 27


def test_latency_is_that_of_runs_by_turns(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "dense.onnx", 8)
    assert 0 < latency_ratio(path, path, {"x": inputs(1)}, LIMITS) < math.inf


def test_what_does_not_load_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        cost_of_loading(path, LIMITS)
