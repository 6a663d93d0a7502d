"""Files of versions that put nodes with factors in the place of others: still read, tested, unpacked.

No version writes such a file any more: tests/golden/computed.onnx, in which a Conv, a Gemm and a MatMul
are two each, was made by the last one that did, and computed.npz holds an input and what it answered.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxzip
from onnxzip.graph import is_intact, read_mark, read_model
from tests.graph.running import open_session

GOLDEN = Path(__file__).parents[2] / "golden" / "computed.onnx"
SHAPES = {(16, 8, 1, 1), (8, 1, 3, 3), (3, 256), (3, 40), (40, 3), (3, 24)}


def as_version_1(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the mark that version 1 wrote: [pass name, form, bytes, error] each."""
    (entry,) = [e for e in proto.metadata_props if e.key == "onnxzip"]
    record = json.loads(entry.value)
    rows = [["", "computed", n_bytes, 0.0] for n_bytes in record["w"][1::3]]
    entry.value = json.dumps({"v": 1, "n": record["n"], "c": record["c"], "w": rows})
    return proto


@pytest.mark.parametrize("version", [1, 2])
def test_factors_are_listed(version: int) -> None:
    proto = onnx.load(GOLDEN)
    model = read_model(as_version_1(proto) if version == 1 else proto)
    assert is_intact(model)
    _, values = read_mark(model)
    assert {(v.pass_name, v.form, v.error) for v in values} == {("", "computed", 0.0)}
    assert {v.shape for v in values} == SHAPES
    listed = onnxzip.inspect(model.proto).weights
    assert {w.shape for w in listed if "(computed)" in w.pass_name} == SHAPES


def test_factors_become_plain_initializers(tmp_path: Path) -> None:
    """The thinner nodes stay."""
    plain = tmp_path / "plain.onnx"
    onnxzip.decompress(GOLDEN, plain)
    ops = [node.op_type for node in onnx.load(plain).graph.node]
    assert ops == ["Conv", "Conv", "Relu", "Flatten", "Gemm", "Gemm", "Relu", "MatMul", "MatMul"]
    golden = np.load(GOLDEN.with_suffix(".npz"))
    for path in (GOLDEN, plain):
        (found,) = open_session(onnx.load(path)).run(None, {"x": golden["x"]})
        np.testing.assert_allclose(found, golden["y"], atol=1e-5 * np.abs(golden["y"]).max())


def test_a_test_passes_and_reports_the_form(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    checks = onnxzip.verify(GOLDEN, report=report)
    assert checks
    assert all(check.passed for check in checks)
    layers = onnxzip.read_report(report).layers
    assert {layer.form for layer in layers} == {"computed"}
    assert {layer.shape for layer in layers} == SHAPES
