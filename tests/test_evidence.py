"""Verdicts end to end: what proves nothing is said to, and its weights stay within a harmless error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxzip
from onnxzip.choose.blind import HARMLESS_ERROR
from onnxzip.cli.main import main
from onnxzip.errors import ToleranceError
from onnxzip.records.check import Check
from onnxzip.report.json import from_json
from onnxzip.report.record import Report
from tests.textmodels import model_from_text

QUICK = {"passes": "scalar", "level": 2}
HEAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 32] embedding)'
SILENT = f"""{HEAD} => (float[n, 8] y) <float[32, 64] w1, float[64, 8] w2> {{
    h = MatMul(embedding, w1)
    r = Relu(h)
    z = MatMul(r, w2)
    low = Constant<value_float = -1000.0>()
    s = Add(z, low)
    y = Sigmoid(s)
}}"""
TWO_HEADS = f"""{HEAD} => (float[n, 8] y, float[n, 8] silent) <
    float[32, 64] shared, float[64, 8] left, float[64, 8] right> {{
    h = MatMul(embedding, shared)
    r = Relu(h)
    y = MatMul(r, left)
    z = MatMul(r, right)
    low = Constant<value_float = -1000.0>()
    s = Add(z, low)
    silent = Sigmoid(s)
}}"""
UNREACHED = f"""{HEAD} => (float[n, 32] y) <float[32, 32] seen, float[32, 32] far> {{
    a = MatMul(embedding, seen)
    high = Constant<value_float = 100.0>()
    beyond = Sub(embedding, high)
    cut = Relu(beyond)
    b = MatMul(cut, far)
    y = Add(a, b)
}}"""
PLAIN = f"""{HEAD} => (float[n, 8] y) <float[32, 64] w1, float[64, 8] w2> {{
    h = MatMul(embedding, w1)
    r = Relu(h)
    y = MatMul(r, w2)
}}"""
DATA = {"embedding": np.random.default_rng(5).standard_normal((128, 32)).astype(np.float32)}


def compress(text: str, **settings: object) -> Report:
    return onnxzip.compress(model_from_text(text), **{**QUICK, **settings}).report


def errors(report: Report) -> dict[str, float]:
    assert report.layers
    return {layer.name: layer.error for layer in report.layers}


def drift_of(report: Report) -> Check:
    (found,) = [check for check in report.checks if (check.kind, check.provider) == ("drift", "CPU")]
    return found


def write(text: str, tmp_path: Path) -> tuple[Path, Path, Path]:
    path = tmp_path / "model.onnx"
    onnx.save(model_from_text(text), path)
    return path, tmp_path / "small.onnx", tmp_path / "report.json"


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_constant_output_proves_nothing(
    quiet: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0, as the file is written and harmless; but nobody is told "passed"."""
    path, out, report_path = write(SILENT, tmp_path)
    line = [*quiet, "-2", "--passes", "scalar", "--report", str(report_path), str(path), str(out)]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "not proven" in printed.err
    assert "output 'y' is 0 everywhere" in printed.err
    assert "passed" not in printed.out
    assert out.stat().st_size < path.stat().st_size / 1.5
    report = from_json(report_path.read_text())
    check = drift_of(report)
    assert (check.passed, check.failed) == (False, False)
    assert "output 'y' is 0 everywhere" in check.unproven
    assert set(errors(report)) == {"w1", "w2"}
    assert max(errors(report).values()) <= HARMLESS_ERROR


def test_a_test_of_such_a_file_proves_nothing_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, _ = write(SILENT, tmp_path)
    onnxzip.compress(path, out, **QUICK)
    assert main(["-t", str(out), "--against", str(path)]) == 0
    assert "not proven" in capsys.readouterr().err


def test_weights_behind_a_silent_output_are_harmless() -> None:
    """Those of the trunk are judged by the other head; what they do to this one is not proven."""
    for settings in ({}, {"calibration": DATA}):
        report = compress(TWO_HEADS, **settings)
        assert drift_of(report).unproven == "output 'silent' is 0 everywhere"
        found = errors(report)
        assert found["right"] <= HARMLESS_ERROR
        assert min(found["left"], found["shared"]) > 5 * HARMLESS_ERROR
        told = {skip.layer for skip in report.skips if "keeps 12 bits or more" in skip.reason}
        assert told == {"right"}


RANDOM_HEAD = f"""{HEAD} => (float[n, 8] y, int32[n, 1] pick) <
    float[32, 64] shared, float[64, 8] left, float[64, 8] right> {{
    h = MatMul(embedding, shared)
    r = Relu(h)
    y = MatMul(r, left)
    z = MatMul(r, right)
    pick = Multinomial(z)
}}"""


def test_a_random_output_is_kept_and_proves_nothing(tmp_path: Path) -> None:
    path, out, _ = write(RANDOM_HEAD, tmp_path)
    report = onnxzip.compress(path, out, **QUICK).report
    assert drift_of(report).unproven.startswith(
        "output 'pick' is random at inference: the node that makes 'pick' (Multinomial)"
    )
    assert "no input reached" not in drift_of(report).unproven
    assert all(check.passed for check in report.checks if check.kind == "exact")
    found = errors(report)
    assert found["right"] <= HARMLESS_ERROR
    assert min(found["left"], found["shared"]) > 5 * HARMLESS_ERROR
    session = ort.InferenceSession(out)
    assert [output.name for output in session.get_outputs()] == ["y", "pick"]
    (drift,) = [check for check in onnxzip.verify(out, path) if check.kind == "drift"]
    assert "'pick' is random" in drift.unproven


@pytest.mark.parametrize(
    ("body", "node"),
    [
        ("r = Dropout(h, ratio, yes)", "Dropout in training mode"),
        ("r = Dropout<seed = 3>(h, ratio, yes)", "Dropout in training mode"),
        ("e = RandomNormalLike(h) r = Add(h, e)", "RandomNormalLike"),
        ("e = RandomUniform<shape = [64]>() r = Add(h, e)", "RandomUniform"),
        ("p = Sigmoid(h) r = Bernoulli(p)", "Bernoulli"),
    ],
)
def test_a_model_that_is_random_altogether_is_refused_by_its_node(body: str, node: str) -> None:
    with pytest.raises(onnxzip.ModelError, match="is random at inference") as caught:
        compress(random_model(body))
    assert f"the node that makes '{'e' if ' e =' in f' {body}' else 'r'}' ({node})" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    ["r = Dropout(h, zero, yes)", "r = Dropout(h, ratio)", "r = Relu(h) e = RandomNormalLike(h)"],
)
def test_what_draws_nothing_that_counts_is_no_matter(body: str) -> None:
    assert drift_of(compress(random_model(body))).passed


def random_model(body: str) -> str:
    return f"""{HEAD} => (float[n, 8] y) <float[32, 64] w1, float[64, 8] w2> {{
        ratio = Constant<value_float = 0.3>()
        zero = Constant<value_float = 0.0>()
        one = Constant<value_int = 1>()
        yes = Cast<to = 9>(one)
        h = MatMul(embedding, w1)
        {body}
        y = MatMul(r, w2)
    }}"""


def test_weights_that_no_input_reaches_are_harmless() -> None:
    report = compress(UNREACHED)
    assert drift_of(report).unproven == "no input reached weight 'far'"
    found = errors(report)
    assert found["far"] <= HARMLESS_ERROR
    assert found["seen"] > 5 * HARMLESS_ERROR


def test_what_own_data_do_not_reach_stays_harmless_and_is_no_doubt() -> None:
    report = compress(UNREACHED, calibration=DATA)
    assert drift_of(report).passed
    assert errors(report)["far"] <= HARMLESS_ERROR
    assert [f.text.partition(",")[0] for f in report.warnings if f.kind == "unreached"] == [
        "no input reached weight 'far'"
    ]


def test_what_is_reached_and_varies_is_passed() -> None:
    report = compress(PLAIN)
    check = drift_of(report)
    assert check.passed
    assert check.unproven == ""
    assert min(errors(report).values()) > 5 * HARMLESS_ERROR
    assert check.constant == pytest.approx(1, abs=1e-6)
    assert set(check.by_family) == {"noise", "noise of many levels", "noise around a point"}
    assert check.value == max(check.by_family.values()) <= 0.1


def test_what_each_weight_was_measured_to_do_is_reported() -> None:
    report = compress(PLAIN)
    assert {found.name for found in report.sensitivities} == {"w1", "w2"}
    for found in report.sensitivities:
        assert 0.02 < found.error < 0.12
        assert 0.3 < found.loss / found.error < 6


def test_a_second_opinion_stands_beside_a_verdict_on_data() -> None:
    report = compress(PLAIN, calibration=DATA)
    (opinion,) = [check for check in report.checks if check.kind == "opinion"]
    assert opinion.metric == "nrmse"
    assert opinion.limit == np.inf
    assert opinion.seed == 0
    assert 0 < opinion.value < 0.5
    assert drift_of(report).seed is None
    assert not [check for check in compress(PLAIN).checks if check.kind == "opinion"]


def test_data_that_leave_most_out_are_warned_of() -> None:
    """All but two numbers are 0: what is fitted to them may be anything elsewhere."""
    narrow = np.zeros((128, 32), np.float32)
    narrow[:, :2] = DATA["embedding"][:, :2]
    report = compress(PLAIN, calibration={"embedding": narrow})
    (opinion,) = [check for check in report.checks if check.kind == "opinion"]
    warned = [finding for finding in report.warnings if finding.kind == "second opinion"]
    assert bool(warned) == (opinion.value > max(3 * drift_of(report).value, 0.1))
    assert warned, "a loss on noise of all inputs has to be far larger"


# What no plan meets

STRICT = ["--tolerance", "1e-5", "-1", "--passes", "scalar"]


def test_exit_3_writes_the_report_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, report_path = write(PLAIN, tmp_path)
    assert main([*STRICT, "-q", "--report", str(report_path), str(path), str(out)]) == 3
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "the tolerance is 1e-05" in message
    assert "most of it costs 'w" in message
    assert not out.exists()
    report = from_json(report_path.read_text())
    assert drift_of(report).failed
    assert report.bytes_after < report.bytes_before
    assert report.output_sha256 == ""
    assert report.layers


def test_best_effort_writes_the_file_and_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, report_path = write(PLAIN, tmp_path)
    line = [*STRICT, "--best-effort", "--report", str(report_path), str(path), str(out)]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "warning: " in printed.err
    assert "not within the tolerance" in printed.err
    report = from_json(report_path.read_text())
    check = drift_of(report)
    assert check.failed
    assert out.stat().st_size == report.bytes_after < path.stat().st_size
    (again,) = [c for c in onnxzip.verify(out, path, tolerance=1) if c.kind == "drift"]
    assert again.value == pytest.approx(check.value, rel=1e-3)


@pytest.mark.parametrize("tolerance", ["1e-7", "1e-12", "1e-30"])
def test_best_effort_writes_the_nearest_file_where_no_budget_has_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tolerance: str
) -> None:
    path, out, report_path = write(PLAIN, tmp_path)
    line = ["--tolerance", tolerance, "--passes", "scalar", "--report", str(report_path), str(path)]
    assert main([*line, str(out)]) == 3
    message = capsys.readouterr().err
    assert "the best of 1 plans changes" in message
    assert not out.exists()
    assert drift_of(from_json(report_path.read_text())).failed
    assert main([*line, "--best-effort", str(out)]) == 0
    assert "not within the tolerance" in capsys.readouterr().err
    check = drift_of(from_json(report_path.read_text()))
    assert check.failed
    assert check.value < 1e-3
    assert out.stat().st_size < path.stat().st_size


def test_best_effort_says_why_there_is_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, _ = write(PLAIN.replace("32, 64", "32, 2").replace("64, 8", "2, 8"), tmp_path)
    assert main(["--best-effort", "--tolerance", "1e-7", str(path), str(out)]) == 3
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "no weight can be made smaller: its largest tensor" in message
    assert not out.exists()


def test_the_error_carries_the_report() -> None:
    with pytest.raises(ToleranceError) as caught:
        compress(PLAIN, tolerance=1e-5, level=1)
    assert isinstance(caught.value.report, Report)
    assert drift_of(caught.value.report).failed


def test_best_effort_is_of_no_matter_where_a_plan_passes() -> None:
    plain, best = (compress(PLAIN, best_effort=flag) for flag in (False, True))
    assert plain.output_sha256 == best.output_sha256
