"""Imports and functions as onnxruntime takes them: held against onnxruntime itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxzip
from onnxzip.errors import ModelError
from onnxzip.graph import read_model
from tests.casebook.kit import Draft, value
from tests.graph.running import run

X = {"x": np.random.default_rng(1).standard_normal((8, 1, 64)).astype(np.float32)}


def squeezing(imports: Sequence[tuple[str, int]]) -> onnx.ModelProto:
    """Return a MatMul behind a Squeeze that is valid at the last import only."""
    draft = Draft()
    last = [version for domain, version in imports if domain in ("", "ai.onnx")][-1]
    if last >= 13:
        draft.add("Squeeze", ["x", draft.tensor("axes", np.array([1]))], "s")
    else:
        draft.add("Squeeze", ["x"], "s", axes=[1])
    draft.add("MatMul", ["s", draft.weight("weight", 64, 96)], "y")
    proto = draft.model([value("x", [8, 1, 64])], [value("y", [8, 96])], ir_version=7)
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(*entry) for entry in imports)
    return proto


TWICE = [
    [("", 13), ("ai.onnx", 9)],
    [("ai.onnx", 9), ("", 13)],
    [("", 12), ("", 12)],
    [("", 9), ("com.microsoft", 1), ("", 13), ("com.microsoft", 1)],
]


@pytest.mark.parametrize("imports", TWICE, ids=str)
def test_the_last_import_of_a_domain_counts(imports: list[tuple[str, int]]) -> None:
    proto = squeezing(imports)
    wanted = run(proto, X)["y"]  # onnxruntime runs it
    model = read_model(proto)
    assert model.opset == [v for d, v in imports if d in ("", "ai.onnx")][-1]
    domains = ["" if e.domain == "ai.onnx" else e.domain for e in model.proto.opset_import]
    assert len(domains) == len(set(domains))
    result = onnxzip.compress(proto, calibration=[X, X], tolerance=0.3)
    found = run(result.model, X)["y"]
    assert np.linalg.norm(found - wanted) < 0.4 * np.linalg.norm(wanted)


def contrib(*more: onnx.NodeProto, domains: Sequence[tuple[str, int]]) -> onnx.ModelProto:
    """Return a FusedMatMul, and nodes behind it, with these imports."""
    draft = Draft()
    draft.add("FusedMatMul", ["x", draft.weight("weight", 64, 48)], "h", domain="com.microsoft")
    draft.nodes.extend(more)
    name = more[-1].output[0] if more else "h"
    proto = draft.model([value("x", [8, 64])], [value(name, [8, 48])])
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(*entry) for entry in domains)
    return proto


def test_a_model_without_standard_operators_gets_what_decoding_needs() -> None:
    proto = contrib(domains=[("com.microsoft", 1)])
    result = onnxzip.compress(proto)
    assert {e.domain: e.version for e in result.model.opset_import} == {"com.microsoft": 1, "": 17}
    for side in ("input", "output"):
        assert list(getattr(result.model.graph, side)) == list(getattr(proto.graph, side))
    assert result.report.bytes_after < result.report.bytes_before


def test_standard_operators_that_are_not_imported_are_of_the_newest_version() -> None:
    relu = helper.make_node("Relu", ["h"], ["y"])
    model = read_model(contrib(relu, domains=[("com.microsoft", 1)]))
    assert model.opset == onnx.defs.onnx_opset_version()


def test_no_import_at_all_and_unknown_versions_are_refused() -> None:
    with pytest.raises(ModelError, match="imports no operator set; export"):
        read_model(contrib(domains=[]))
    for version, advice in ((0, "export the model again"), (9999, "upgrade onnx")):
        with pytest.raises(ModelError, match=f"opset {version} is not supported .*{advice}"):
            read_model(contrib(domains=[("", version)]))


def function(name: str, node: onnx.NodeProto, array: np.ndarray | None = None) -> onnx.FunctionProto:
    """Return local.name(a) = node(a, k)."""
    nodes = [node]
    if array is not None:
        nodes.insert(0, helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(array)))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], ["b"], nodes, imports)


def test_functions_that_nobody_calls_are_dropped() -> None:
    """Also those that only such functions call; what is called from a body or a function stays."""
    weight = np.random.default_rng(2).standard_normal((48, 48)).astype(np.float32) / 7
    inner = Draft()
    inner.nodes.append(helper.make_node("Outer", ["h"], ["o"], domain="local"))
    branch = inner.graph([], [value("o", [8, 48])], "branch")
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    draft.add("If", [draft.tensor("c", np.array(True))], "y", then_branch=branch, else_branch=branch)
    proto = draft.model([value("x", [8, 64])], [value("y", [8, 48])], domains={"local": 1})
    call = helper.make_node("Inner", ["a"], ["b"], domain="local")
    multiply = helper.make_node("MatMul", ["a", "k"], ["b"])
    unused_call = helper.make_node("Unused", ["a"], ["b"], domain="local")
    proto.functions.extend(
        [
            function("Unused", multiply, weight),
            function("Outer", call),
            function("Caller", unused_call),
            function("Inner", multiply, weight),
        ]
    )
    assert [f.name for f in read_model(proto).proto.functions] == ["Outer", "Inner"]
    result = onnxzip.compress(proto, tolerance=0.3)
    assert [f.name for f in result.model.functions] == ["Outer", "Inner"]
    assert "Unused/k" not in {layer.name for layer in result.report.layers}
