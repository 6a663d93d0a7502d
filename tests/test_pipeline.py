"""The whole chain on every case: it compresses, honestly, or it refuses for the right reason."""

from __future__ import annotations

from pathlib import Path

import pytest

import onnxzip
from onnxzip.errors import CalibrationError, ModelError, OnnxzipError, ProviderError, ToleranceError
from onnxzip.types import Report
from tests.cases import CASES, Case
from tests.judge import judge

LEVELS = (6, 2)
NOTHING = (ToleranceError, "no weight can be made smaller")
REFUSED: dict[str, tuple[type[OnnxzipError], str]] = {
    "custom_domain": (ProviderError, "com.example:Mystery.*--custom-ops"),
    "nan_weight": (ModelError, "'weight' of MatMul holds NaN or Inf"),
    "unknown_rank": (CalibrationError, "none of the generated inputs runs.*--calibration"),
    "weight_is_output": (ToleranceError, "itself a graph output"),
    "if_branch_returns_weight": (ToleranceError, "itself a graph output"),
    "ir8_overridable_initializers": (ToleranceError, "overridable graph input"),
    "initializers_under_inputs": (ToleranceError, "overridable graph input"),
    "no_weights": NOTHING,
    "tiny_weights": NOTHING,
    "sparse_initializer": NOTHING,
}
INTEGERS = [
    "qdq_int8",
    "behind_dequantize",
    "matmul_integer",
    "qlinear_conv",
    "int4_blocks",
    "table_uint8",
    "table_int16",
    "table_int32",
    "table_int64",
    "boolean_mask",
]
"""Models of integers only: nothing for the scalar pass, and nothing may be lost."""


def n_accounted(report: Report) -> int:
    """Return how many weights the report says something about."""
    names = {layer.name for layer in report.layers}
    return len(names | {skip.layer for skip in report.skips if skip.pass_name in ("graph", "keep")})


def refuse(case: Case, path: Path, out: Path, **settings: object) -> None:
    error, message = REFUSED.get(case.name, NOTHING)
    with pytest.raises(error, match=message) as caught:
        onnxzip.compress(path, out, **settings)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert [p.name for p in out.parent.iterdir()] == []


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_scalar_pass_on_own_data(case: Case, tmp_path: Path) -> None:
    """With calibration data the drift is what we measure ourselves, and within the tolerance."""
    (tmp_path / "out").mkdir()
    path, out = case.write(tmp_path), tmp_path / "out" / "out.onnx"
    feeds = [case.feeds(seed) for seed in (0, 1)]
    settings = {
        "passes": ("scalar",),
        "calibration": feeds,
        "tolerance": 0.08,
        "keep_names": True,
        "level": 1,
    }
    if case.name in {*REFUSED, *INTEGERS} - {"unknown_rank"}:
        refuse(case, path, out, **settings)
        return
    report = onnxzip.compress(path, out, **settings).report
    drift = judge(path, out, report, feeds, strict=case.strict, keeps_names=True)
    (stated,) = [check for check in report.checks if check.kind == "drift"]
    assert stated.limit == 0.08
    assert drift <= 0.08
    assert drift == pytest.approx(stated.value, rel=1e-3, abs=1e-6)
    assert {layer.pass_name for layer in report.layers} == {"scalar"}
    assert n_accounted(report) >= case.n_weights


@pytest.mark.parametrize(
    ("case", "level"), [(c, LEVELS[i % 2]) for i, c in enumerate(CASES.values())], ids=str
)
def test_default_options(case: Case, level: int, tmp_path: Path) -> None:
    """Without any option: the tolerance holds on generated inputs, and about holds on others.

    Every other case is packed (level 2), which takes a third of the time.
    """
    (tmp_path / "out").mkdir()
    path, out = case.write(tmp_path), tmp_path / "out" / "out.onnx"
    if case.name in REFUSED:
        refuse(case, path, out, level=level)
        return
    try:
        result = onnxzip.compress(path, out, level=level)
    except ToleranceError:
        assert case.name in INTEGERS
        return
    feeds = [case.feeds(seed) for seed in range(2, 14)]
    drift = judge(path, out, result.report, feeds, strict=case.strict)
    (stated,) = [check for check in result.report.checks if check.kind == "drift"]
    assert stated.value <= stated.limit == 0.1
    assert stated.seed == 0
    assert "generated" in stated.note
    assert drift <= (0 if case.name in INTEGERS else 0.2), "far worse than on the generated inputs"
    assert result.model is not None
    assert result.model.SerializeToString(deterministic=True) == out.read_bytes()
