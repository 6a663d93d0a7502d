"""A run holds no more memory than it may, or is refused in one line, and OUT is as it was."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import onnxzip
from onnxzip.errors import InputError
from onnxzip.passbase import Pass
from onnxzip.propose import room
from onnxzip.records.layer import Layer
from onnxzip.runtime.memory.held import held_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is held")

MODEL = Path(__file__).parents[1] / "models" / "digits_cnn.onnx"
SPARE = 400_000_000


def test_too_little_for_anything_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    command = [sys.executable, "-m", "onnxzip", "--max-memory", "50MB", str(MODEL), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--max-memory 50MB is too little" in done.stderr
    assert not out.exists()


def test_what_takes_more_is_left_alone_and_the_rest_is_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = onnxzip.compress(MODEL, level=1, passes=("scalar",)).report
    largest = max(plain.layers, key=lambda layer: layer.bytes_before).name

    def needed(layer: Layer, method: Pass) -> int:
        return 1 << 40 if layer.name == largest else 1

    monkeypatch.setattr(room, "needed_bytes", needed)
    limit = held_bytes() + SPARE
    settings = {"level": 1, "passes": ("scalar",), "max_memory": limit}
    report = onnxzip.compress(MODEL, tmp_path / "out.onnx", **settings).report
    assert report.peak_memory is not None
    assert 0 < report.peak_memory <= limit
    assert report.bytes_after < report.bytes_before
    reasons = [skip.reason for skip in report.skips if skip.layer == largest]
    assert any("max_memory leaves" in reason for reason in reasons)


def test_a_run_that_comes_to_hold_more_is_ended(tmp_path: Path) -> None:
    def greedy(before: np.ndarray, after: np.ndarray) -> float:
        held = np.ones(2 * SPARE, np.uint8)
        for _ in range(1000):
            time.sleep(0.01)
        return float(held[0])

    out = tmp_path / "out.onnx"
    out.write_bytes(b"old")
    settings = {"metric": greedy, "tolerance": 0.1, "level": 1, "overwrite": True}
    with pytest.raises(InputError, match=r"the run came to hold .* max_memory"):
        onnxzip.compress(MODEL, out, max_memory=held_bytes() + SPARE, **settings)
    assert out.read_bytes() == b"old"
