"""Inputs that are masks by what the graph does with them, whatever they are called."""

from __future__ import annotations

import numpy as np
import pytest

from onnxzip import graph
from onnxzip.graph import read_model
from onnxzip.measure.inputs.feeding import make_up
from onnxzip.options import Options
from onnxzip.runtime.session import open_session
from tests.textmodels import model_from_text

LOW = "low = Constant<value_float = -10000.0>()"
ONE = "one = Constant<value_float = 1.0>()"
ADDED = "s = Add(scores, m)  y = Softmax(s)"
CASES = {
    "bert": (f"{ONE} {LOW} f = Cast<to = 1>(x) i = Sub(one, f) m = Mul(i, low) {ADDED}", "keep"),
    "padding is one": (f"{LOW} f = Cast<to = 1>(x) m = Mul(low, f) {ADDED}", "hide"),
    "less one, times a lot": (
        f"{ONE} high = Constant<value_float = 1e9>() f = Cast<to = 1>(x)"
        f" i = Sub(f, one) m = Mul(i, high) {ADDED}",
        "keep",
    ),
    "where it is zero": (
        f"zero = Constant<value = int64 {{0}}>() {LOW} c = Equal(x, zero)"
        " m = Where(c, low, scores) y = Softmax(m)",
        "keep",
    ),
    "where it is true": (f"{LOW} c = Cast<to = 9>(x) m = Where(c, scores, low) y = Softmax(m)", "keep"),
    "where it is hidden": (
        f"{LOW} c = Cast<to = 9>(x) m = Where(c, low, scores) y = Softmax(m)",
        "hide",
    ),
    "inverted twice": (
        f"{LOW} c = Cast<to = 9>(x) n = Not(c) m = Where(n, scores, low) y = Softmax(m)",
        "hide",
    ),
    "for pairs": (
        f"{ONE} {LOW} f = Cast<to = 1>(x) a = Constant<value_ints = [0]>() row = Unsqueeze(f, a)"
        f" t = Transpose<perm = [0, 2, 1]>(row) p = Mul(row, t) i = Sub(one, p) m = Mul(i, low) {ADDED}",
        "keep",
    ),
    "features": (f"f = Cast<to = 1>(x) m = Mul(f, scores) {ADDED}", None),
    "a scale that is small": (
        f"half = Constant<value_float = -0.5>() f = Cast<to = 1>(x) m = Mul(f, half) {ADDED}",
        None,
    ),
}


def model(body: str, kind: str = "int64") -> graph.Model:
    head = f'<ir_version: 8, opset_import: ["" : 17]> g ({kind}[n, 8] x, float[n, 8] scores)'
    return read_model(model_from_text(f"{head} => (float[n, 8] y) {{{body}}}"))


@pytest.mark.parametrize("name", CASES)
def test_masks_are_told_by_their_use(name: str) -> None:
    body, meaning = CASES[name]
    assert graph.masks(model(body)).get("x") == meaning


@pytest.mark.parametrize(
    "body",
    [
        f"{LOW} m = Mul(x, low) {ADDED}",
        f"zero = Constant<value_float = 0.0>() {LOW} c = Greater(x, zero) m = Where(c, scores, low)"
        " y = Softmax(m)",
    ],
)
def test_numbers_that_are_scaled_or_compared_are_no_masks(body: str) -> None:
    assert graph.masks(model(body, "float")) == {}


def test_such_an_input_is_fed_zeros_and_ones() -> None:
    made = model(CASES["bert"][0])
    with open_session(graph.loadable(made)) as session:
        families = make_up(session, made, Options(), 4)
    fed = np.concatenate([run["x"].ravel() for feeds in families for run in feeds])
    assert set(np.unique(fed)) == {0, 1}
    assert fed.mean() > 0.5, "most of it is kept"
