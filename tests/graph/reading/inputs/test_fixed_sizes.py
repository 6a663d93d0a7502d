"""Sizes of inputs that are declared free, though a weight allows only one: found, and run with."""

from __future__ import annotations

import onnx
import pytest

from onnxzip import graph
from onnxzip.graph import read_model
from onnxzip.measure.inputs.feeding import make_up
from onnxzip.options import Options
from onnxzip.runtime.session import open_session
from tests.textmodels import model_from_text

CASES = {
    "product": ("y = MatMul(x, w)", "float[5, 7] w", "n, k", {1: 5}),
    "product, behind what moves": (
        "m = Transpose<perm = [0, 2, 1]>(x)  r = Relu(m)  y = MatMul(r, w)",
        *("float[5, 7] w", "n, k, l", {1: 5}),
    ),
    "weight that is turned": (
        "t = Transpose<perm = [1, 0]>(w)  y = MatMul(x, t)",
        *("float[7, 5] w", "n, k", {1: 5}),
    ),
    "gemm": ("y = Gemm<transB = 1>(x, w)", "float[7, 5] w", "n, k", {1: 5}),
    "convolution": ("y = Conv<group = 2>(x, w)", "float[6, 5, 1, 1] w", "n, c, h, w", {1: 10}),
    "recurrence": (
        "u = Unsqueeze(x, one)  y, state = RNN<hidden_size = 4>(u, w, r)",
        *("float[1, 4, 9] w, float[1, 4, 4] r, int64[1] one = {1}", "t, k", {1: 9}),
    ),
    "sum": ("y = Add(x, w)", "float[1, 6, 8] w", "n, t, k", {1: 6, 2: 8}),
    "sum behind a table": (
        "m = Gather(table, i)  y = Add(m, w)",
        *("float[9, 8] table, float[1, 6, 8] w", "n, t", {1: 6}),
    ),
    "norm": ("y = LayerNormalization(x, w)", "float[8] w", "n, t, k", {2: 8}),
    "channels": (
        "y = BatchNormalization(x, w, w, w, w)",
        *("float[3] w", "n, c, h, w", {1: 3}),
    ),
    "reshape": (
        "m = Reshape(x, shape)  y = MatMul(m, w)",
        *("float[5, 7] w, int64[3] shape = {0, 1, 0}", "n, one, k", {2: 5}),
    ),
    "the nearest": (
        "m = Mul(x, narrow)  y = MatMul(m, w)",
        *("float[5, 7] w, float[5] narrow", "n, k", {1: 5}),
    ),
    "number": ("y = Add(x, w)", "float[1] w", "n, k", {}),
    "unknown on the way": (
        "s = Shape(x)  m = Reshape(x, s)  y = MatMul(m, w)",
        *("float[5, 7] w", "n, k", {}),
    ),
}


def model(body: str, weights: str, shape: str) -> onnx.ModelProto:
    given = f"int64[{shape}] i" if "i)" in body.split("  ")[0] else f"float[{shape}] x"
    head = f'<ir_version: 8, opset_import: ["" : 17]> g ({given})'
    return model_from_text(f"{head} => (float y) <{weights}> {{{body}}}")


@pytest.mark.parametrize("name", CASES)
def test_sizes_that_weights_fix_are_found(name: str) -> None:
    *text, expected = CASES[name]
    found = graph.fixed_sizes(read_model(model(*text)), {})
    assert next(iter(found.values()), {}) == expected


@pytest.mark.parametrize("name", ["recurrence", "convolution", "sum behind a table", "norm"])
def test_inputs_have_these_sizes(name: str) -> None:
    *text, expected = CASES[name]
    read = read_model(model(*text))
    del read.proto.graph.output[0].type.tensor_type.shape.dim[:]
    read.proto.graph.output[0].type.tensor_type.ClearField("shape")
    with open_session(graph.loadable(read)) as session:
        families = make_up(session, read, Options(), 4)
    shapes = {array.shape for feeds in families for run in feeds for array in run.values()}
    assert all(shape[axis] == size for shape in shapes for axis, size in expected.items())
