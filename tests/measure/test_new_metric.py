"""A new metric is one new file: discovery, command line, search, interval and report follow from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

ROOT = Path(__file__).parents[2]
CENTRED = '''"""Error relative to how much an output varies: |y - y'| / |y - mean over samples|."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from onnxzip.measure.metric import SumMetric
from onnxzip.measure.outputs.running_sums import Numbers, OutputSums, Pair, Runs
from onnxzip.records.aliases import Array


@dataclass(frozen=True, eq=False)
class Centred(SumMetric):
    """|y - y'| / |y - mean over samples|."""

    name: ClassVar[str] = "centred"
    summary: ClassVar[str] = "100 % is what the mean answer loses"
    default_limit: ClassVar[float] = 0.2
    is_proportional: ClassVar[bool] = True
    unit: ClassVar[str] = "%"
    scale: ClassVar[float] = 100.0
    n_decimals: ClassVar[int | None] = 1
    means: Mapping[str, Numbers] = field(default_factory=dict)

    def prepare(self, reference: Runs) -> Self:
        runs = list(reference)
        joined = {key: np.concatenate([run[key] for run in runs]) for key in runs[0]}
        return replace(self, means={key: array.mean(axis=0) for key, array in joined.items()})

    def terms(self, pair: Pair) -> tuple[Array, Array]:
        return (pair.before - pair.after) ** 2, (pair.before - self.means[pair.output]) ** 2

    def value_at(self, ratio: Numbers, sums: OutputSums) -> Numbers:
        return np.sqrt(ratio)
'''


def answers(model: Path, images: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(model))
    return session.run(None, {session.get_inputs()[0].name: images})[0].astype(np.float64)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with one more file."""
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "onnxzip", tmp_path / "onnxzip", ignore=skipped)
    shutil.copytree(ROOT / "passes", tmp_path / "onnxzip" / "passes", ignore=skipped)
    (tmp_path / "onnxzip" / "measure" / "metrics" / "centred.py").write_text(CENTRED)
    return tmp_path


def test_a_new_metric_is_one_new_file(copy: Path) -> None:
    source, data = ROOT / "models" / "digits_cnn.onnx", ROOT / "models" / "digits_calibration.npz"
    out, report = copy / "small.onnx", copy / "report.json"

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "onnxzip", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = " ".join(run("--help").split())
    assert "centred: 100 % is what the mean answer loses" in told
    assert "centred 0.2" in told
    printed = run("-3", "-c", data, "--metric", "centred", "--report", report, source, out)
    check = next(c for c in json.loads(report.read_text())["checks"] if c["kind"] == "drift")
    assert (check["metric"], check["limit"], check["passed"]) == ("centred", 0.2, True)
    assert 0.1 < check["value"] <= 0.2
    assert check["interval"][0] < check["value"] < check["interval"][1]
    assert f"{100 * check['value']:.1f} %" in printed
    assert "20.0 %" in printed
    assert out.stat().st_size < source.stat().st_size / 4
    assert "centred" in onnx.load(out).metadata_props[-1].value

    images = np.load(ROOT / "models" / "digits_test.npz")
    y, z = (answers(model, images[images.files[0]]) for model in (source, out))
    assert np.linalg.norm(y - z) / np.linalg.norm(y - y.mean(0)) < 0.25


def test_a_file_that_is_no_metric_is_an_error(copy: Path) -> None:
    path = copy / "onnxzip" / "measure" / "metrics" / "centred.py"
    path.write_text(CENTRED.replace('"centred"', '"other"'))
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-c", "from onnxzip.measure.metrics import metrics; metrics()"]
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert "measure/metrics/centred.py has to define one metric, named 'centred'" in done.stderr
