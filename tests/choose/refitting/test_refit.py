"""Refits: least squares as defined, less loss on inputs that nothing was fitted to, always the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxzip
from onnxzip.choose.refitting import frontier, refit, regression
from onnxzip.choose.refitting.regression import REFIT_DAMPING
from onnxzip.measure.moments.sampled_columns import OuterSum, is_finite
from tests.textmodels import model_from_text

RNG = np.random.default_rng(0)

DEEP = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 3, 8, 8] x) => (float[n, 10] y)
<float[24, 3, 3, 3] w0, float[24] c0, float[24, 24, 3, 3] w1, float[24] c1, float[24, 24, 3, 3] w2,
 float[24] c2, float[24, 24, 3, 3] w3, float[24] c3, float[24, 10] w4, float[10] c4>
{
    h0 = Conv <pads = [1, 1, 1, 1]> (x, w0, c0)
    r0 = Relu(h0)
    h1 = Conv <pads = [1, 1, 1, 1]> (r0, w1, c1)
    r1 = Relu(h1)
    h2 = Conv <pads = [1, 1, 1, 1]> (r1, w2, c2)
    s2 = Add(h2, r0)
    r2 = Relu(s2)
    h3 = Conv <pads = [1, 1, 1, 1]> (r2, w3, c3)
    r3 = Relu(h3)
    p = GlobalAveragePool(r3)
    f = Flatten(p)
    y = Gemm(f, w4, c4)
}
"""


def make_deep(text: str = DEEP) -> onnx.ModelProto:
    return model_from_text(text, seed=3)


def pictures(n: int, seed: int) -> np.ndarray:
    """Smooth random pictures: neighbours are alike, as they are in what networks see."""
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal((n, 3, 8, 8)).cumsum(axis=2).cumsum(axis=3)
    return (rough / np.abs(rough).max()).astype(np.float32) * 3


def loss_of(result: onnxzip.Result, proto: onnx.ModelProto, x: np.ndarray) -> float:
    assert result.model is not None
    before, after = (
        ort.InferenceSession(p.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for p in (proto, result.model)
    )
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


@cache
def compress_deep(*, is_refitted: bool) -> onnxzip.Result:
    """Compress the deep network for 256 pictures, with refits or as if nothing could be refitted."""
    with pytest.MonkeyPatch.context() as patch:
        if not is_refitted:
            patch.setattr(refit.Refitter, "is_able", property(lambda self: False))
        return onnxzip.compress(make_deep(), calibration={"x": pictures(256, 1)}, tolerance=0.15)


def test_refits_make_smaller_files_that_keep_the_tolerance() -> None:
    """How much smaller is up to the search; that they are is what refits are for."""
    fitted, plain = (compress_deep(is_refitted=is_refitted) for is_refitted in (True, False))
    assert fitted.report.bytes_after < plain.report.bytes_after
    assert loss_of(fitted, make_deep(), pictures(256, 1)) <= 0.15
    assert loss_of(fitted, make_deep(), pictures(256, 2)) < 0.25
    assert any(layer.settings.get("refit") for layer in fitted.report.layers)
    assert not any(layer.settings.get("refit") for layer in plain.report.layers)
    assert all(check.passed for check in (*fitted.report.checks, *plain.report.checks))


@pytest.mark.parametrize("is_shared", [False, True])
def test_biases_are_set_anew_where_nothing_else_reads_them(is_shared: bool) -> None:
    proto = make_deep(DEEP.replace("w2, c2)", "w2, c1)") if is_shared else DEEP)
    options = {"calibration": {"x": pictures(256, 1)}, "tolerance": 0.2, "keep_names": True}
    result = onnxzip.compress(proto, passes="scalar", **options)
    assert result.model is not None
    plain = onnxzip.decompress(result.model)
    assert plain is not None
    before, after = (
        onnx.numpy_helper.to_array(next(t for t in p.graph.initializer if t.name == "c1"))
        for p in (proto, plain)
    )
    a_step = np.abs(before).max() / 127  # biases are stored in 8 bits
    assert (np.abs(before - after).max() < a_step) == is_shared


def test_what_lives_between_stages_may_lie_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = compress_deep(is_refitted=True)
    monkeypatch.setattr(frontier, "_MAX_BYTES_IN_MEMORY", 0)
    on_disk = onnxzip.compress(make_deep(), calibration={"x": pictures(256, 1)}, tolerance=0.15)
    assert in_memory.report.output_sha256 == on_disk.report.output_sha256


def test_refits_that_begin_in_the_middle_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []
    resume = refit.Refitter._resumed

    def resumed(self: refit.Refitter, job: regression.PlanRefit) -> tuple[int, frontier.Frontier]:
        found = resume(self, job)
        starts.append(found[0])
        return (0, frontier.Frontier(self._feeds))

    monkeypatch.setattr(refit.Refitter, "_resumed", resumed)
    whole = onnxzip.compress(make_deep(), calibration={"x": pictures(256, 1)}, tolerance=0.15)
    assert any(starts)
    assert whole.report.output_sha256 == compress_deep(is_refitted=True).report.output_sha256


def test_kept_weights_are_left_alone() -> None:
    proto, x = make_deep(), pictures(256, 1)
    options = {"keep": ("w2",), "passes": ("lowrank", "scalar")}
    result = onnxzip.compress(proto, calibration={"x": x}, tolerance=0.2, **options)
    assert "w2" not in {layer.name for layer in result.report.layers}
    assert loss_of(result, proto, x) <= 0.2


def test_targets_are_met_with_refits(tmp_path: Path) -> None:
    proto, x = make_deep(), pictures(96, 1)
    n_bytes = len(proto.SerializeToString()) // 8
    out = tmp_path / "out.onnx"
    result = onnxzip.compress(proto, out, calibration={"x": x}, target_size=n_bytes, passes="scalar")
    assert out.stat().st_size <= n_bytes
    assert any(layer.settings.get("refit") for layer in result.report.layers)


def test_half_precision_is_refitted_too() -> None:
    """Weights and biases in float16 stay in float16."""
    proto = make_deep(DEEP.replace("float[", "float16["))
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    x = pictures(96, 1).astype(np.float16)
    result = onnxzip.compress(proto, calibration={"x": x}, tolerance=0.2, passes="scalar")
    assert all(check.passed for check in result.report.checks)
    assert any(layer.settings.get("refit") for layer in result.report.layers)
    assert loss_of(result, proto, x) <= 0.2


def test_least_squares_with_damping() -> None:
    x = RNG.standard_normal((200, 12)).astype(np.float32)
    r = (x @ RNG.standard_normal((12, 5)) + RNG.standard_normal((200, 5))).astype(np.float32)
    second, cross = x.T @ x / 200, (r.T @ x / 200).astype(np.float64)
    level = REFIT_DAMPING * np.trace(second) / 12
    padded = np.concatenate([x, np.sqrt(200 * level) * np.eye(12)])
    expected = np.linalg.lstsq(padded, np.concatenate([r, np.zeros((12, 5))]), rcond=None)[0].T
    np.testing.assert_allclose(regression._least_squares(second, cross), expected, rtol=1e-3, atol=1e-4)
    singular = regression._least_squares(np.zeros((3, 3), np.float32), np.ones((2, 3)))
    assert np.array_equal(singular, np.zeros((2, 3)))


@pytest.mark.parametrize("widths", [(7, None), (7, 3), (1, None), (1, 4)])
def test_sums_of_products(widths: tuple[int, int | None]) -> None:
    total = OuterSum(*widths)
    xs = [RNG.standard_normal((n, widths[0])).astype(np.float32) for n in (5, 0, 11)]
    ys = [RNG.standard_normal((len(x), widths[1] or 1)).astype(np.float32) for x in xs]
    for x, y in zip(xs, ys, strict=True):
        total.add(x, None if widths[1] is None else y)
    others = xs if widths[1] is None else ys
    expected = sum(x.T @ y for x, y in zip(xs, others, strict=True))
    np.testing.assert_allclose(total.total(), expected, rtol=1e-4, atol=1e-5)


def test_what_is_finite() -> None:
    assert is_finite(np.zeros((0, 3), np.float32))
    assert is_finite(np.ones((4, 3), np.float32))
    for value in (np.nan, np.inf, -np.inf):
        array = np.ones((4, 3), np.float32)
        array[2, 1] = value
        assert not is_finite(array)
