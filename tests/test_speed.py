"""--objective speed from end to end, with times that are told: what is int8 takes half the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxzip
from onnxzip.cli.main import main
from onnxzip.errors import ToleranceError
from onnxzip.report.record import Report
from tests.cases import CASES
from tests.judge import open_session, run
from tests.speed import tell_times
from tests.test_models import MODELS
from tests.test_pipeline import images
from tests.textmodels import model_from_text

INTEGER_KERNELS = ("QLinearConv", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    tell_times(monkeypatch)


def kernels_of(path: Path, folder: Path) -> list[str]:
    """Return the operators of the graph that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def n_int8(report: Report) -> int:
    return sum(rewrite.pass_name == "int8" for rewrite in report.rewrites)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    "name",
    [
        "residual_network",
        "two_layer_perceptron",
        "matmul_right_3d",
        "constant_node",
        "external_one_file",
    ],
)
def test_nodes_compute_in_int8(name: str, tmp_path: Path) -> None:
    """As many as the report says; answers, signature and the plain file agree."""
    case, out, plain = CASES[name], tmp_path / "out.onnx", tmp_path / "plain.onnx"
    path = case.write(tmp_path)
    report = onnxzip.compress(path, out, objective="speed", tolerance=0.3).report
    found = kernels_of(out, tmp_path)
    assert sum(found.count(kernel) for kernel in INTEGER_KERNELS) == n_int8(report) > 0
    assert report.speed is not None
    assert report.speed.is_faster
    before, after = (onnx.load(p) for p in (path, out))
    assert [v.SerializeToString() for v in after.graph.output] == [
        v.SerializeToString() for v in before.graph.output
    ]
    assert all(check.passed for check in onnxzip.verify(out, path, tolerance=0.3))
    onnxzip.decompress(out, plain)
    feeds = case.feeds(0)
    a, b = (run(open_session(p), feeds) for p in (out, plain))
    assert all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.usefixtures("told")
def test_rounded_values_have_their_share_of_the_loss(tmp_path: Path) -> None:
    """A tolerance below what int8 loses leaves nodes in float32, and says which."""
    data = {"image": images(256)}
    counts = []
    for tolerance in (0.2, 0.02):
        settings = {"objective": "speed", "calibration": data, "tolerance": tolerance}
        report = onnxzip.compress(
            MODELS / "digits_cnn.onnx", tmp_path / f"{tolerance}.onnx", **settings
        ).report
        counts.append(n_int8(report))
        assert all(check.passed for check in report.checks if check.kind != "opinion")
    assert counts[0] > counts[1]
    assert any("alone in int8" in skip.reason for skip in report.skips)


def test_nothing_is_written_that_is_not_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_times(monkeypatch, int8=1.2)
    path, out = CASES["residual_network"].write(tmp_path), tmp_path / "out.onnx"
    assert main([str(path), str(out), "--objective", "speed", "-q"]) == 3
    said = capsys.readouterr().err
    assert "nothing in it is faster" in said
    assert " nodes take as long in int8" in said
    assert not out.exists()


CHAIN = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[N, 32] x) => (float[N, 10] y) <float[32, 64] a, float[64] b, float[64, 10] c, float[10] d>
{
    h = Gemm(x, a, b)
    r = ACTIVATION(h)
    y = Gemm(r, c, d)
}
"""


DENSE = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[N, 32] x) => (float[N, 10] y)
<float[32, 64] a, float[64] b, float[64, 64] c, float[1, 64] d, float[64, 10] e>
{
    h = MatMul(x, a)
    i = Add(h, b)
    j = Relu(i)
    k = MatMul(j, c)
    l = Add(d, k)
    m = Tanh(l)
    y = MatMul(m, e)
}
"""


@pytest.mark.usefixtures("told")
def test_products_of_matrices_add_their_bias_in_int8(tmp_path: Path) -> None:
    """As Keras and scikit-learn export them."""
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model_from_text(DENSE, seed=1), path)
    report = onnxzip.compress(path, out, objective="speed", tolerance=0.8).report
    assert kernels_of(out, tmp_path).count("QGemm") == 2
    assert n_int8(report) == 3


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
def test_activations_behind_a_gemm_do_not_take_it_away(activation: str, tmp_path: Path) -> None:
    """They would be fused with float32 Gemms before onnxruntime looks for int8."""
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model_from_text(CHAIN.replace("ACTIVATION", activation), seed=1), path)
    report = onnxzip.compress(path, out, objective="speed", tolerance=0.3).report
    assert kernels_of(out, tmp_path).count("QGemm") == n_int8(report) > 0


@pytest.mark.usefixtures("told")
def test_a_target_size_is_met_in_int8(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    settings = {"objective": "speed", "target_size": 40_000, "calibration": {"image": images(128)}}
    report = onnxzip.compress(MODELS / "digits_cnn.onnx", out, **settings).report
    assert out.stat().st_size <= 40_000
    assert n_int8(report)


@pytest.mark.usefixtures("told")
def test_what_has_no_int8_says_so() -> None:
    with pytest.raises(ToleranceError, match="no node of the main graph multiplies"):
        onnxzip.compress(CASES["lstm_behind_unsqueeze"].build(), objective="speed")
