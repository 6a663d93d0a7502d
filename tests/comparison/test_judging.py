"""What a tool's model loses is what onnxzip's own would: the same metric, on the same inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxzip import graph
from onnxzip.comparison.judging import Judge
from onnxzip.errors import ModelError
from onnxzip.measure.examination import examine
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.runtime.apart import Limits
from tests.comparison.dense import inputs, write_dense

LIMITS = Limits(cpu_s=120)


def subject_of(path: Path, **settings: object) -> Subject:
    options = Options(providers=("CPU",), **settings)  # type: ignore[arg-type]
    return examine(graph.read_model(path), options, fits=True)[0]


def test_a_loss_is_the_metrics(tmp_path: Path) -> None:
    plain, larger = (write_dense(tmp_path / f"{s}.onnx", 16, scale=s) for s in (1.0, 1.05))
    subject = subject_of(plain, calibration=inputs(64), metric="rel_l2", tolerance=0.06)
    judge = Judge(subject, subject.samples, LIMITS)
    assert judge.check(plain).value == 0
    check = judge.check(larger)
    assert check.value == pytest.approx(0.05, rel=1e-4)
    assert check.passed
    assert check.n_samples == 16  # those that are held out
    strict = subject_of(plain, calibration=inputs(64), metric="rel_l2", tolerance=0.04)
    assert Judge(strict, strict.samples, LIMITS).check(larger).failed


def test_the_worst_kind_of_inputs_counts(tmp_path: Path) -> None:
    plain, larger = (write_dense(tmp_path / f"{s}.onnx", 16, scale=s) for s in (1.0, 1.5))
    subject = subject_of(plain)
    check = Judge(subject, subject.samples, LIMITS).check(larger)
    assert check.failed
    if len(subject.samples) > 1:
        assert check.value == max(check.by_family.values())


def test_other_outputs_lose_everything_and_what_does_not_load_is_told(tmp_path: Path) -> None:
    plain, other = (write_dense(tmp_path / f"{n}.onnx", n) for n in (16, 32))
    subject = subject_of(plain, calibration=inputs(64))
    judge = Judge(subject, subject.samples, LIMITS)
    assert judge.check(other).value == np.inf
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        judge.check(broken)
