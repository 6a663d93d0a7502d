"""Models that onnxruntime runs and that were refused or broken once, each through to its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxzip
from onnxzip.cli.main import main
from onnxzip.errors import ModelError, ToleranceError
from onnxzip.graph import find_layers, read_model
from tests.casebook.kit import Draft, value
from tests.graph.running import run

QUICK: dict[str, Any] = {"passes": ("scalar",), "level": 1}
X = np.random.default_rng(6).standard_normal((8, 65)).astype(np.float32)


GENERATORS: dict[str, tuple[list[np.ndarray], dict[str, float]]] = {
    "GreedySearch": ([], {}),
    "Sampling": ([np.array([1], np.int32), np.ones(1, np.float32)], {"temperature": 1.0, "top_p": 0.9}),
    "BeamSearch": ([*np.array([[1], [2], [1]], np.int32), *np.ones((2, 1), np.float32)], {}),
}
"""What each takes behind the prompt and the greatest length: the least length and a penalty; or that,
the numbers of beams and of answers, and two penalties."""


def generator(op_type: str) -> onnx.ModelProto:
    """Return an operator that generates, whose decoder's inputs onnxruntime finds by name."""
    draft = Draft()
    draft.tensor("split", np.array([0, 0, 2, 16]))
    draft.add("Gather", [draft.weight("table", 100, 32), "input_ids"], "e")
    draft.add("Tanh", [draft.add("MatMul", ["e", draft.weight("w", 32, 32)], "f")], "t")
    draft.add("MatMul", ["t", draft.weight("head", 32, 100)], "logits")
    draft.add("Reshape", ["t", "split"], "q")
    draft.add("Transpose", ["q"], "k", perm=[0, 2, 1, 3])
    draft.add("Unsqueeze", ["k", draft.tensor("first", np.array([0]))], "one")
    draft.add("Concat", ["one", "one"], "pair", axis=0)
    draft.add("Concat", ["past_0", "pair"], "present_0", axis=3)
    ids = [value(name, ["b", "s"], 6) for name in ("input_ids", "position_ids", "attention_mask")]
    states = [value(f"{name}_0", [2, "b", 2, name, 16]) for name in ("past", "present")]
    body = draft.graph([*ids, states[0]], [value("logits", ["b", "s", 100]), states[1]], "decoder")
    outer = Draft()
    more, settings = GENERATORS[op_type]
    settings = {"decoder": body, "eos_token_id": 99, "pad_token_id": 99, "model_type": 0, **settings}
    search = ["input_ids", outer.tensor("most", np.array([8], np.int32))]
    search += [outer.tensor(f"more_{i}", array) for i, array in enumerate(more)]
    outer.add(op_type, search, "sequences", domain="com.microsoft", **settings)
    inputs, outputs = (
        [value("input_ids", ["b", "s"], 6)],
        [value("sequences", ["b", "n", "m"][:: 2 - (op_type == "BeamSearch")], 6)],
    )
    return outer.model(inputs, outputs, opset=14, domains={"com.microsoft": 1})


@pytest.mark.parametrize("op_type", GENERATORS)
def test_names_that_an_operator_looks_for_stay(op_type: str) -> None:
    prompts = np.random.default_rng(1).integers(0, 99, (64, 4)).astype(np.int32)
    result = onnxzip.compress(generator(op_type), calibration={"input_ids": prompts}, passes=("scalar",))
    (node,) = [n for n in result.model.graph.node if n.op_type == op_type]
    body = next(a.g for a in node.attribute if a.name == "decoder")
    assert [v.name for v in body.input] == ["input_ids", "position_ids", "attention_mask", "past_0"]
    assert [v.name for v in body.output] == ["logits", "present_0"]
    assert run(result.model, {"input_ids": prompts})["sequences"].size == 64 * 8


MASK = np.triu(np.ones((96, 96), np.float32), 1)
LOW = float(np.finfo(np.float32).min)
TABLES = {
    "Inf": np.where(MASK > 0, np.float32(-np.inf), np.float32(0)),
    "lowest": np.where(MASK > 0, np.float32(LOW), np.float32(0)),
    "both": np.where(MASK > 0, np.float32(-np.inf), MASK.T / 7),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("reader", ["Gather", "Add"])
def test_masks_stay_exact(name: str, reader: str) -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 65, 96)], "s")
    table, rows = draft.tensor("table", TABLES[name]), "table"
    if reader == "Gather":
        rows = draft.add("Gather", [table, "position"], "rows")
    draft.add("Softmax", [draft.add("Add", ["s", rows], "masked")], "y", axis=-1)
    inputs = [value("x", [96, 65])]
    inputs += [value("position", [96], TensorProto.INT64)] if reader == "Gather" else []
    proto = draft.model(inputs, [value("y", [96, 96])])
    layers, skips = find_layers(read_model(proto))
    assert [layer.name for layer in layers] == ["weight"]
    assert "a mask" in next(skip.reason for skip in skips if skip.layer == "table")
    result = onnxzip.compress(proto, tolerance=0.5, **QUICK)
    arrays = [numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer]
    assert any(np.array_equal(array, TABLES[name]) for array in arrays)


@pytest.mark.parametrize(
    ("op_type", "number", "message"),
    [("MatMul", np.inf, "NaN or Inf"), ("Gather", np.nan, "NaN or Inf")],
)
def test_damage_is_no_mask(op_type: str, number: float, message: str) -> None:
    draft = Draft()
    array = draft.rng.standard_normal((65, 48)).astype(np.float32)
    array[3, 4] = number
    reads = [draft.tensor("weight", array), "ids"] if op_type == "Gather" else ["x", "weight"]
    if op_type == "MatMul":
        draft.tensor("weight", array)
    draft.add(op_type, reads, "y")
    proto = draft.model([value("x", [8, 65]), value("ids", [8], 7)], [value("y", [8, 48])])
    with pytest.raises(ModelError, match=f"weight 'weight' of {op_type} holds {message}"):
        find_layers(read_model(proto))


def test_weights_beyond_float32_are_left_alone() -> None:
    for scale in (1e300, 1e-300):
        draft = Draft()
        draft.tensor("weight", draft.rng.standard_normal((65, 48)) * scale)
        draft.add("MatMul", ["x", "weight"], "y")
        proto = draft.model([value("x", [8, 65], 11)], [value("y", [8, 48], 11)])
        with pytest.raises(ToleranceError, match=r"'weight': its values, up to .*, leave float32"):
            onnxzip.compress(proto, **QUICK)


def network(
    opset: int, *middle: onnx.NodeProto, domains: dict[str, int] | None = None
) -> onnx.ModelProto:
    """Return two MatMuls and what stands between them, from h to r."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("first", 65, 97)], "h")
    draft.nodes.extend(middle)
    draft.add("MatMul", ["r", draft.weight("second", 97, 33)], "y")
    x, y = value("x", [8, 65]), value("y", [8, 33])
    return draft.model([x], [y], opset=opset, ir_version=6, domains=domains or {})


def clipping() -> onnx.NodeProto:
    """Return an If with a Clip in both branches, whose limits became inputs at opset 11."""
    branches = []
    for low in (-1.0, -2.0):
        inner = Draft()
        inner.add("Clip", ["h"], f"o{low}", min=low, max=1.0)
        branches.append(inner.graph([], [value(f"o{low}", [8, 97])], f"branch{low}"))
    return helper.make_node("If", ["c"], ["r"], then_branch=branches[0], else_branch=branches[1])


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
@pytest.mark.parametrize("number", [1, 6])
def test_an_opset_that_cannot_be_raised_is_packed_as_it_is(opset: int, number: int) -> None:
    proto = network(opset, clipping())
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    result = onnxzip.compress(proto, level=number)
    assert next(e.version for e in result.model.opset_import if not e.domain) == opset
    assert any("not raised" in skip.reason and "Clip" in skip.reason for skip in result.report.skips)
    wanted, found = (run(model, {"x": X})["y"] for model in (proto, result.model))
    assert np.linalg.norm(found - wanted) < 0.15 * np.linalg.norm(wanted)


def test_before_opset_7_what_cannot_be_raised_is_refused() -> None:
    fused = helper.make_node("FusedMatMul", ["h", "k"], ["r"], domain="com.microsoft")
    proto = network(6, fused, domains={"com.microsoft": 1})
    proto.graph.initializer.append(numpy_helper.from_array(np.eye(97, dtype=np.float32), "k"))
    with pytest.raises(ModelError, match=r"opset 6 has to be raised .*com.microsoft.*; export at"):
        onnxzip.compress(proto, **QUICK)
    assert onnxzip.compress(network(5, helper.make_node("Identity", ["h"], ["r"])), **QUICK).model


def test_overridable_initializers_are_frozen_on_request(tmp_path: Path) -> None:
    proto = network(17, helper.make_node("Relu", ["h"], ["r"]))
    for tensor in proto.graph.initializer:
        proto.graph.input.append(value(tensor.name, list(tensor.dims)))
    with pytest.raises(
        ToleranceError, match=r"overridable graph input .*freeze_inputs makes a constant"
    ):
        onnxzip.compress(proto, **QUICK)
    source, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(proto, source)
    assert main(["-1", str(source), str(out)]) == 3
    assert main(["-1", "--freeze-inputs", str(source), str(out)]) == 0
    small = onnx.load(out)
    assert [v.name for v in small.graph.input] == ["x"]
    wanted, found = (run(model, {"x": X})["y"] for model in (proto, small))
    assert np.linalg.norm(found - wanted) < 0.15 * np.linalg.norm(wanted)


def test_a_size_that_the_clean_up_meets() -> None:
    """The file decodes nothing, and is a plain model, without a mark."""
    proto = network(17, helper.make_node("Relu", ["h"], ["r"]))
    dead = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(dead, "dead"))
    result = onnxzip.compress(proto, target_size=60_000, level=1)
    assert result.model.ByteSize() <= 60_000
    assert not result.model.metadata_props
    np.testing.assert_array_equal(run(proto, {"x": X})["y"], run(result.model, {"x": X})["y"])


@pytest.mark.parametrize("metric", ["nrmse", "rel_l2", "cosine"])
def test_a_tolerance_that_allows_everything(metric: str) -> None:
    proto = network(17, helper.make_node("Relu", ["h"], ["r"]))
    rows = np.random.default_rng(2).standard_normal((64, 65)).astype(np.float32)
    for data in (None, {"x": rows}):
        result = onnxzip.compress(proto, calibration=data, metric=metric, tolerance=1e300, level=2)
        assert result.report.bytes_after < result.report.bytes_before / 4


def test_reports_name_files_that_are_no_utf8(tmp_path: Path) -> None:
    source = tmp_path / "in\udcff.onnx"
    onnx.save(network(17, helper.make_node("Relu", ["h"], ["r"])), str(tmp_path / "plain.onnx"))
    (tmp_path / "plain.onnx").rename(source)
    for suffix in ("json", "md", "html"):
        report = tmp_path / f"report.{suffix}"
        line = ["-1", "-f", "--report", str(report), str(source), str(tmp_path / "out.onnx")]
        assert main(line) == 0
        assert "in\\udcff.onnx" in report.read_text(encoding="utf-8")
