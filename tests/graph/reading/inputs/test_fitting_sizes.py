"""Sizes at which a network's nodes go together, though it declares them free: found, and run with."""

from __future__ import annotations

import pytest

from onnxzip import graph
from onnxzip.graph import read_model
from onnxzip.inputs.generated.attempts import Helpers
from onnxzip.inputs.generated.runnable import runnable_families
from onnxzip.runtime.session import open_session
from tests.textmodels import model_from_text

FLATTENED = "c = Conv<kernel_shape = [3, 3]>(x, w)  f = Flatten(c)  y = MatMul(f, v)"
WEIGHTS = "float[2, 3, 3, 3] w, float[1352, 5] v"
WINDOW = "u = Unsqueeze(x, axes)  c = Conv<kernel_shape = [7, 1]>(u, w)  y = MatMul(c, v)"
RESHAPED = "c = Conv<kernel_shape = [1]>(x, w)  f = Reshape(c, shape)  y = MatMul(f, v)"
SLICED = "c = Conv<kernel_shape = [9]>(x, w)  s = Slice(c, from, to, axis)  y = Relu(s)"
BOUNDS = "int64[1] from = {0}, int64[1] to = {-2}, int64[1] axis = {2}"
CASES = {
    "flatten and product": (FLATTENED, WEIGHTS, "n, 3, h, h", lambda n: (1, 3, n, n), 28),
    "flatten and gemm": (
        *(FLATTENED.replace("MatMul", "Gemm"), WEIGHTS, "n, 3, h, h", lambda n: (1, 3, n, n)),
        28,
    ),
    "reshape": (
        *(RESHAPED, "float[2, 3, 1] w, int64[2] shape = {-1, 210}, float[210, 5] v"),
        *("n, 3, t", lambda n: (1, 3, n), 105),
    ),
    "window": (
        *(WINDOW, "float[2, 1, 7, 1] w, int64[2] axes = {0, 1}, float[41, 5] v"),
        *("t, k", lambda n: (n, 41), 7),
    ),
    "slices behind a window": (
        SLICED,
        f"float[2, 3, 9] w, {BOUNDS}",
        "1, 3, n",
        lambda n: (1, 3, n),
        11,
    ),
}


def model(name: str) -> graph.Model:
    body, weights, shape, *_ = CASES[name]
    head = f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x)'
    made = model_from_text(f"{head} => (float y) <{weights}> {{{body}}}")
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return read_model(made)


@pytest.mark.parametrize("name", CASES)
def test_shapes_go_together_from_the_first_size_that_runs_on(name: str) -> None:
    """Below its kernel, where the size of a Conv is inferred to be below 0, a Slice would end onnx."""
    *_, shape_of, expected = CASES[name]
    fitting = graph.FittingSizes(model(name))
    fits = [fitting.fit({"x": shape_of(n)}) for n in range(1, expected + 8)]
    assert fits.index(max(fits)) == expected - 1


def test_a_model_is_fed_such_sizes() -> None:
    """Both axes have to be found; the window is wider than it has to be, for more than one answer."""
    made = model("window")
    helpers = Helpers(fit_of=graph.FittingSizes(made).fit, n_searched=64)
    with open_session(graph.loadable(made)) as session:
        families = runnable_families(session, seed=0, n_samples=4, helpers=helpers)
    assert {run["x"].shape for feeds in families for run in feeds} == {(7 + 16, 41)}
