"""The cases themselves: every good model is valid and runs, every bad file is bad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from tests.cases import BAD_FILES, CASES, BadFile, Case

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
LARGE = 1024


def open_session(path: Path) -> ort.InferenceSession:
    """Open a model on the CPU, without onnxruntime's own messages."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(path: Path, strict: bool) -> None:
    """Assert that onnx.checker with shape inference accepts a file, or refuses it if not `strict`."""
    if strict:
        onnx.checker.check_model(path, full_check=True)
        return
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        onnx.checker.check_model(path, full_check=True)


def node_tensors(nodes: Iterator[onnx.NodeProto]) -> Iterator[tuple[int, int]]:
    """Yield (data type, number of elements) of the tensors in nodes and in their bodies."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graph_tensors(attribute.g)
            elif attribute.HasField("t"):
                yield attribute.t.data_type, int(np.prod(attribute.t.dims))
            elif attribute.floats:
                yield TensorProto.FLOAT, len(attribute.floats)


def graph_tensors(graph: onnx.GraphProto) -> Iterator[tuple[int, int]]:
    """Yield (data type, number of elements) of every tensor of a graph, bodies included."""
    for tensor in graph.initializer:
        yield tensor.data_type, int(np.prod(tensor.dims))
    yield from node_tensors(iter(graph.node))


def count_large_floats(model: onnx.ModelProto) -> int:
    """Count the float tensors of at least 1,024 numbers in a model and its functions."""
    found = list(graph_tensors(model.graph))
    for function in model.functions:
        found += node_tensors(iter(function.node))
    return sum(kind in FLOATS and size >= LARGE for kind, size in found)


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_case_is_valid_and_runs(case: Case, tmp_path: Path) -> None:
    """A case builds the same bytes twice, has the weights it says, and onnxruntime runs it."""
    model = case.build()
    assert model.SerializeToString() == case.build().SerializeToString()
    assert count_large_floats(model) == case.n_weights
    path = case.write(tmp_path)
    check(path, case.strict)
    if not case.runnable:
        with pytest.raises(Exception, match="Mystery"):
            open_session(path)
        return
    session = open_session(path)
    for seed in (0, 1):
        for output in session.run(None, case.feeds(seed)):
            numeric = isinstance(output, np.ndarray) and output.dtype.kind == "f"
            assert not numeric or output.size > 0
            assert not numeric or bool(np.isfinite(output).all()) == case.finite


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.name.startswith("external_")], ids=str)
def test_external_cases_leave_the_weights_out_of_the_model_file(case: Case, tmp_path: Path) -> None:
    """The weights lie beside the .onnx file."""
    path = case.write(tmp_path)
    assert path.stat().st_size < 4096
    assert sum(p.stat().st_size for p in tmp_path.iterdir() if p != path) > 4 * LARGE


def test_branches_with_equal_names_differ() -> None:
    """Two branches may use one name for two weights."""
    model = CASES["if_initializers"].build()
    then_w, else_w = (a.g.initializer[0] for a in model.graph.node[0].attribute)
    assert then_w.name == else_w.name
    assert then_w.raw_data != else_w.raw_data


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=str)
def test_bad_file_is_bad(bad: BadFile, tmp_path: Path) -> None:
    """Onnxruntime refuses the file, unless it is known to accept it."""
    path = bad.write(tmp_path)
    if bad.runtime_accepts:
        open_session(path)
        return
    with pytest.raises(Exception):  # noqa: B017, PT011 - the runtime's errors have no common class
        open_session(path)


def test_collections_are_complete() -> None:
    """An import that is lost, or a note that is missing, is noticed."""
    assert len(CASES) >= 100
    assert len(BAD_FILES) >= 30
    assert all(case.notes for case in CASES.values())
    assert all(bad.notes for bad in BAD_FILES.values())
