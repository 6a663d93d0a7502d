"""Kernels that look at which inputs are constant: their rounding is no fault, their zeros are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.errors import VerificationError
from onnxzip.graph.changing import hoisting
from onnxzip.graph.reading import layouts
from onnxzip.graph.writing import builder
from onnxzip.prove import exact
from tests.casebook.kit import Draft, value
from tests.graph.running import run

WIDTH, BLOCK = 192, 32


def large_mean() -> onnx.ModelProto:
    """Return a MatMul with a mean of 300, which LayerNormalization takes off."""
    draft = Draft()
    weight = 3 + draft.rng.standard_normal((192, 512)).astype(np.float32) / 16
    draft.add("Sigmoid", ["x"], "p")
    draft.add("MatMul", ["p", draft.tensor("weight", weight)], "a")
    draft.add("LayerNormalization", ["a", draft.tensor("gamma", np.ones(512, np.float32))], "y")
    return draft.model([value("x", [64, 192])], [value("y", [64, 512])])


def packed(bits: int, level: int = 4) -> onnx.ModelProto:
    """Return two MatMulNBits with a Tanh between them, symmetric, in blocks."""
    draft, last = Draft(), "x"
    middle = 2 ** (bits - 1)
    for layer in range(2):
        weight = draft.rng.standard_normal((WIDTH, WIDTH // BLOCK, BLOCK)) / WIDTH**0.5
        steps = (np.abs(weight).max(-1) / (middle - 1)).astype(np.float32)
        whole = np.clip(np.round(weight / steps[..., None]) + middle, 0, 2 * middle - 1).astype(np.uint8)
        if bits == 4:
            whole = whole[..., 0::2] | (whole[..., 1::2] << 4)
        inputs = [last, draft.tensor(f"b{layer}", whole), draft.tensor(f"s{layer}", steps.reshape(-1))]
        sizes = {"K": WIDTH, "N": WIDTH, "bits": bits, "block_size": BLOCK, "accuracy_level": level}
        draft.add("MatMulNBits", inputs, f"h{layer}", domain="com.microsoft", **sizes)
        last = draft.add("Tanh", [f"h{layer}"], "y" if layer else "t")
    x = value("x", ["n", WIDTH])
    return draft.model([x], [value("y", ["n", WIDTH])], domains={"com.microsoft": 1})


def test_rounding_of_another_kernel_is_no_fault() -> None:
    checks = {check.kind: check for check in onnxzip.compress(large_mean(), level=1).report.checks}
    assert checks["exact"].value <= 1e-5, "the reference runs the same kernels"
    assert checks["exact"].limit > 2e-5, "what the kernels themselves differ by"
    assert "repeats its outputs no better" in checks["exact"].note


@pytest.mark.parametrize(("bits", "level"), [(4, 4), (8, 4), (4, 0)])
def test_quantised_blocks_at_every_accuracy_level(bits: int, level: int) -> None:
    proto = packed(bits, level)
    x = np.random.default_rng(5).standard_normal((32, WIDTH)).astype(np.float32)
    result = onnxzip.compress(proto, tolerance=0.2)
    assert result.report.bytes_after < result.report.bytes_before
    wanted = run(proto, {"x": x})["y"]
    found = run(result.model, {"x": x})["y"]  # not optimised: all that is decoded is no constant
    assert np.linalg.norm(found - wanted) < 0.3 * np.linalg.norm(wanted)
    names = {node.input[2] for node in result.model.graph.node if node.op_type == "MatMulNBits"}
    made = {output for node in result.model.graph.node for output in node.output}
    integers = {node.input[1] for node in result.model.graph.node if node.op_type == "MatMulNBits"}
    if level == 4 and names & made:
        assert integers <= made, "scales that are decoded go with integers that are no constants"


def test_a_file_that_answers_zeros_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the companion of the scales; the trials then see zeros too, whatever the tolerance."""
    for module in (hoisting, builder, exact):
        monkeypatch.setattr(module, "companions", lambda *_: set())
    assert layouts.companion_of is hoisting.companion_of
    with pytest.raises(VerificationError, match=r"on CPU .*change the outputs by 1.*`?keep"):
        onnxzip.compress(packed(8), tolerance=5, skip=("lossless",), level=1)


def test_the_limit_has_a_floor_and_a_ceiling() -> None:
    """What is found to compute the same is only held to what the plain model differs from itself by."""
    one = [{"y": np.ones(4, np.float32)}]
    for factor, limit, of_same in (
        (1.0, 1e-5, 1e-5),
        (1.001, 1e-3, 1e-3),
        (1.05, 1e-2, 0.1),
        (2, 1e-2, 0.5),
    ):
        noise = exact._noise_of([[{"y": np.full(4, factor, np.float32)}]], one)
        assert exact._limit_of(noise, is_same=False) == pytest.approx(limit, rel=0.02)
        assert exact._limit_of(noise, is_same=True) == pytest.approx(of_same, rel=0.06)
