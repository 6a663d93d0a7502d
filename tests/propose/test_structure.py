"""What the file alone shows is refused before the model runs; folding that breaks a model is undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxzip
from onnxzip import pipeline
from onnxzip.errors import ModelError, OnnxzipError, ToleranceError, UsageError, VerificationError
from onnxzip.propose import structure
from onnxzip.rewrite.emit import Emitted, Emitter
from tests.casebook.kit import Draft, value
from tests.cases import CASES


def old_with_scaler() -> onnx.ModelProto:
    """Return a model of opset 9 with an operator that the opset converter does not know."""
    draft = Draft()
    hidden = draft.add("Conv", ["x", draft.weight("weight", 8, 4, 3, 3)], "h")
    draft.add("Scaler", [hidden], "y", domain="ai.onnx.ml", scale=[1.0], offset=[0.0])
    model = draft.model([value("x", [1, 4, 8, 8])], [value("y", None)], opset=6)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


def overridable() -> onnx.ModelProto:
    """Return a model whose weights are all graph inputs as well, at IR version 8."""
    model = CASES["two_layer_perceptron"].build()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    return model


def compressed() -> onnx.ModelProto:
    """Return a model that was compressed already."""
    found = onnxzip.compress(CASES["matmul_right"].build(), passes="scalar", level=1).model
    assert found is not None
    return found


def of_one_sample() -> onnx.ModelProto:
    """Return a model whose batch is fixed to 1."""
    model = CASES["matmul_right"].build()
    for put in (*model.graph.input, *model.graph.output):
        put.type.tensor_type.shape.dim[0].dim_value = 1
    return model


HOPELESS: dict[str, tuple[Any, dict[str, Any], type[OnnxzipError], str]] = {
    "operators of others": (old_with_scaler, {}, ModelError, "opset 6"),
    "overridable": (overridable, {}, ToleranceError, "overridable graph input"),
    "not finite": (CASES["nan_weight"].build, {}, ModelError, "NaN or Inf"),
    "nothing": (CASES["no_weights"].build, {}, ToleranceError, "no weight can be made smaller"),
    "tiny": (CASES["tiny_weights"].build, {}, ToleranceError, "no weight can be made smaller"),
    "kept": (CASES["matmul_right"].build, {"keep": ["*"]}, ToleranceError, "kept on request"),
    "no such weight": (CASES["matmul_right"].build, {"keep": ["zzz"]}, UsageError, "matches no weight"),
    "no pass for it": (
        CASES["matmul_right"].build,
        {"passes": ["fold"]},
        ToleranceError,
        "no selected pass takes float weights",
    ),
    "random integers": (
        lambda: one_tensor(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)),
        {},
        ToleranceError,
        "bytes when coded, 4096 as they are",
    ),
    "target": (CASES["matmul_right"].build, {"target_size": 40}, ToleranceError, "graph alone"),
    "samples": (
        of_one_sample,
        {"objective": "speed", "batch": 16},
        UsageError,
        "free batch axis",
    ),
    "compressed": (compressed, {}, ModelError, "compressed by onnxzip already"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_the_file_shows_is_refused_before_a_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, options, kind, message = HOPELESS[name]
    model = build()

    def run(*_: object, **__: object) -> None:
        raise AssertionError("the model was run")

    monkeypatch.setattr(pipeline, "examine", run)
    with pytest.raises(kind, match=message):
        onnxzip.compress(model, **options)


def one_tensor(array: np.ndarray, data_type: int | None = None) -> onnx.ModelProto:
    """Return y = x, with one tensor that a Shape reads."""
    tensor = numpy_helper.from_array(array, "t")
    if data_type is not None:
        tensor = helper.make_tensor("t", data_type, array.shape, array.reshape(-1).tolist())
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Shape", ["t"], ["s"])]
    graph = helper.make_graph(
        nodes, "g", [value("x", [2])], [value("y", [2]), value("s", None, TensorProto.INT64)], [tensor]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (one_tensor(np.ones(40, np.float32)), r"'t' \(float \(40,\)\), has 40 elements, and 256 are"),
        (
            one_tensor(np.ones(300, np.int8)),
            r"'t' \(int8 \(300,\)\), takes 300 bytes, and integers need",
        ),
        (
            one_tensor(np.ones(300), TensorProto.UINT4),
            r"'t' \(uint4 \(300,\)\), takes 150 bytes, and integers need 1024",
        ),
        (one_tensor(np.array(["a"] * 300, object)), r"'t' \(string \(300,\)\), is of a type that stays"),
    ],
    ids=["small", "integers", "four bits", "strings"],
)
def test_why_nothing_can_be_made_smaller(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ToleranceError, match=message):
        onnxzip.compress(model)


def test_a_fold_that_breaks_the_model_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = structure.fold_structure

    def broken(*arguments: Any) -> Any:
        folded, rewrites, skips = whole(*arguments)
        assert rewrites
        folded.proto.graph.node[0].op_type = "NoSuchOperator"
        return folded, rewrites, skips

    monkeypatch.setattr(structure, "fold_structure", broken)
    report = onnxzip.compress(CASES["conv_batch_norm"].build(), passes=("fold", "scalar")).report
    assert not report.rewrites
    (skip,) = [skip for skip in report.skips if skip.layer == "graph"]
    assert skip.reason.startswith("folding breaks the model: ")
    assert "NoSuchOperator" in skip.reason
    assert skip.reason.endswith("undone")


def test_what_we_wrote_and_fails_is_our_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    emit = Emitter.emit

    def broken(self: Emitter, plan: Any) -> Emitted:
        emitted = emit(self, plan)
        emitted.model.proto.graph.node[-1].input[0] = "nowhere"
        return emitted

    monkeypatch.setattr(Emitter, "emit", broken)
    source = CASES["two_layer_perceptron"].write(tmp_path)
    with pytest.raises(VerificationError) as caught:
        onnxzip.compress(source, tmp_path / "out.onnx", passes="scalar")
    assert str(caught.value).startswith(f"{source}: the model as onnxzip writes it fails")
    assert "nowhere" in str(caught.value)
    assert str(caught.value).endswith("please report this model")
    assert not (tmp_path / "out.onnx").exists()


def test_a_weight_that_becomes_an_index_is_no_fault_of_the_model() -> None:
    """Rounded, its largest values point beyond the table: trials with them fail, others are taken."""
    rng = np.random.default_rng(5)
    index = rng.integers(0, 64, (1, 300)).astype(np.float32)
    index[0, :3] = 63
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 64)], "h")
    draft.add("Cast", [draft.tensor("index", index)], "i", to=TensorProto.INT64)
    draft.add("Gather", ["h", "i"], "y", axis=1)
    model = draft.model([value("x", ["n", 64])], [value("y", None)])
    report = onnxzip.compress(model, passes="scalar").report
    assert report.bytes_after < report.bytes_before
