"""Weights in, or captured by, the bodies of If, Loop and Scan, and in model-local functions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.casebook.kit import BATCH, Draft, case, random_array, value

DOMAIN = "onnxzip.test"
CONDITION = value("condition", [], TensorProto.BOOL)
X = value("x", [BATCH, 64])
Y = value("y", [BATCH, 64])
ITERATIONS = 3


def _branch(name: str, seed: int, constant: bool) -> onnx.GraphProto:
    """Return a branch that multiplies the outer `x` by a weight of its own, always called `w`."""
    draft = Draft(seed)
    weight = draft.constant("w", 64, 64) if constant else draft.weight("w", 64, 64)
    draft.add("MatMul", ["x", weight], f"{name}_y")
    return draft.graph([], [value(f"{name}_y", [BATCH, 64])], name)


def _captured(name: str, weight: str, op_type: str = "MatMul") -> onnx.GraphProto:
    """Return a branch that multiplies the outer `x` by an outer weight."""
    draft = Draft()
    draft.add(op_type, ["x", weight], f"{name}_y")
    return draft.graph([], [value(f"{name}_y", [BATCH, 64])], name)


def _choose(draft: Draft, then_branch: onnx.GraphProto, else_branch: onnx.GraphProto) -> onnx.ModelProto:
    draft.add("If", ["condition"], "y", then_branch=then_branch, else_branch=else_branch)
    return draft.model([CONDITION, X], [Y])


@case(n_weights=2)
def if_initializers() -> onnx.ModelProto:
    """Each branch has an initializer; both are called `w` and differ."""
    return _choose(Draft(), _branch("then", 1, False), _branch("else", 2, False))


@case(n_weights=2)
def if_constants() -> onnx.ModelProto:
    """Each branch has a Constant node; both outputs are called `w` and differ."""
    return _choose(Draft(), _branch("then", 1, True), _branch("else", 2, True))


@case(n_weights=1)
def if_captured() -> onnx.ModelProto:
    """Both branches read the same main-graph weight."""
    draft = Draft()
    weight = draft.weight("weight", 64, 64)
    return _choose(draft, _captured("then", weight), _captured("else", weight))


@case(n_weights=2)
def if_captured_and_outside() -> onnx.ModelProto:
    """A main-graph weight is read in the main graph and in one branch; the other has its own."""
    draft = Draft()
    weight = draft.weight("weight", 64, 64)
    branches = {"then_branch": _captured("then", weight), "else_branch": _branch("else", 2, False)}
    inner = draft.add("If", ["condition"], "inner", **branches)
    draft.add("MatMul", [inner, weight], "y")
    return draft.model([CONDITION, X], [Y])


@case(n_weights=3)
def if_nested() -> onnx.ModelProto:
    """An If inside the then branch of an If; one weight at each depth and one in the main graph."""
    outer = Draft(3)
    weight = outer.weight("outer_weight", 64, 64)
    middle = Draft(4)
    inner = {"then_branch": _branch("a", 1, False), "else_branch": _captured("b", weight)}
    chosen = middle.add("If", ["condition"], "chosen", **inner)
    middle.add("MatMul", [chosen, middle.constant("middle_weight", 64, 64)], "then_y")
    then_branch = middle.graph([], [value("then_y", [BATCH, 64])], "then")
    return _choose(outer, then_branch, _captured("else", weight))


@case(n_weights=1)
def if_branch_returns_weight() -> onnx.ModelProto:
    """A branch whose output is its own initializer, with no node at all."""
    then_branch = Draft(1)
    then_branch.weight("then_y", 64, 64)
    returned = then_branch.graph([], [value("then_y", [64, 64])], "then")
    otherwise = Draft()
    otherwise.add("Add", ["x", "x"], "else_y")
    draft = Draft()
    branches = {
        "then_branch": returned,
        "else_branch": otherwise.graph([], [value("else_y", [64, 64])], "else"),
    }
    draft.add("If", ["condition"], "y", **branches)
    return draft.model([CONDITION, value("x", [64, 64])], [value("y", [64, 64])])


def _loop_body(weight: str, own: bool) -> onnx.GraphProto:
    body = Draft(5)
    if own:
        body.weight(weight, 64, 64)
    body.add("Tanh", [body.add("MatMul", ["state", weight], "product")], "next")
    body.add("Identity", ["going"], "still_going")
    inputs = [
        value("step", [], TensorProto.INT64),
        value("going", [], TensorProto.BOOL),
        value("state", [BATCH, 64]),
    ]
    outputs = [value("still_going", [], TensorProto.BOOL), value("next", [BATCH, 64])]
    return body.graph(inputs, outputs, "body")


def _loop(own: bool) -> onnx.ModelProto:
    draft = Draft()
    if not own:
        draft.weight("weight", 64, 64)
    count = draft.tensor("count", np.array(ITERATIONS, np.int64))
    going = draft.tensor("yes", np.array(True))
    draft.add("Loop", [count, going, "x"], "y", body=_loop_body("weight", own))
    return draft.model([X], [Y])


@case(n_weights=1)
def loop_captured() -> onnx.ModelProto:
    """A Loop whose body reads a main-graph weight."""
    return _loop(own=False)


@case(n_weights=1)
def loop_initializer() -> onnx.ModelProto:
    """A Loop whose body has the weight."""
    return _loop(own=True)


@case(n_weights=2)
def scan_body() -> onnx.ModelProto:
    """A Scan over the sequence: the body has one weight and captures another."""
    body = Draft(6)
    mixed = body.add("MatMul", ["item", body.weight("own", 64, 64)], "mixed")
    kept = body.add("MatMul", ["state", "captured"], "kept")
    body.add("Tanh", [body.add("Add", [mixed, kept], "both")], "next")
    body.add("Identity", ["next"], "emitted")
    inputs = [value("state", [BATCH, 64]), value("item", [BATCH, 64])]
    outputs = [value("next", [BATCH, 64]), value("emitted", [BATCH, 64])]
    graph = body.graph(inputs, outputs, "body")
    draft = Draft()
    draft.weight("captured", 64, 64)
    draft.add("Scan", ["start", "x"], ["last", "y"], body=graph, num_scan_inputs=1)
    graph_inputs = [value("start", [BATCH, 64]), value("x", ["sequence", BATCH, 64])]
    return draft.model(graph_inputs, [value("last", [BATCH, 64]), value("y", ["sequence", BATCH, 64])])


def _function(name: str, nodes: list[onnx.NodeProto], inputs: list[str]) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(DOMAIN, name, inputs, ["result"], nodes, opsets)


def _weighted_function(name: str, seed: int) -> onnx.FunctionProto:
    """Return result = tanh(data @ Constant)."""
    array = random_array(np.random.default_rng(seed), (64, 64))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(array, "w")),
        helper.make_node("MatMul", ["data", "w"], ["product"]),
        helper.make_node("Tanh", ["product"], ["result"]),
    ]
    return _function(name, nodes, ["data"])


@case(n_weights=1)
def function_constant() -> onnx.ModelProto:
    """A model-local function that holds a Constant weight, called once."""
    draft = Draft()
    draft.add("Weighted", ["x"], "y", domain=DOMAIN)
    return draft.model([X], [Y], domains={DOMAIN: 1}, functions=[_weighted_function("Weighted", 1)])


@case(n_weights=1)
def function_called_twice() -> onnx.ModelProto:
    """One function with a Constant weight, two calls: one weight."""
    draft = Draft()
    draft.add("Weighted", [draft.add("Weighted", ["x"], "h", domain=DOMAIN)], "y", domain=DOMAIN)
    return draft.model([X], [Y], domains={DOMAIN: 1}, functions=[_weighted_function("Weighted", 1)])


@case(n_weights=2)
def function_calls_function() -> onnx.ModelProto:
    """A function that calls a function; each has a Constant weight."""
    array = random_array(np.random.default_rng(2), (64, 64))
    nodes = [
        helper.make_node("Weighted", ["data"], ["inner"], domain=DOMAIN),
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(array, "w")),
        helper.make_node("MatMul", ["inner", "w"], ["result"]),
    ]
    functions = [_weighted_function("Weighted", 1), _function("Outer", nodes, ["data"])]
    draft = Draft()
    draft.add("Outer", ["x"], "y", domain=DOMAIN)
    return draft.model([X], [Y], domains={DOMAIN: 1}, functions=functions)


@case(n_weights=2)
def function_weight_argument() -> onnx.ModelProto:
    """A function whose weight is an argument: two calls with two main-graph initializers."""
    function = _function(
        "Linear", [helper.make_node("MatMul", ["data", "w"], ["result"])], ["data", "w"]
    )
    draft = Draft()
    hidden = draft.add("Linear", ["x", draft.weight("w1", 64, 64)], "h", domain=DOMAIN)
    draft.add("Linear", [hidden, draft.weight("w2", 64, 64)], "y", domain=DOMAIN)
    return draft.model([X], [Y], domains={DOMAIN: 1}, functions=[function])


@case(n_weights=1)
def function_in_if() -> onnx.ModelProto:
    """A function with a Constant weight that is called from a branch only."""
    then_branch = Draft()
    then_branch.add("Weighted", ["x"], "then_y", domain=DOMAIN)
    otherwise = Draft()
    otherwise.add("Neg", ["x"], "else_y")
    branches = {
        "then_branch": then_branch.graph([], [value("then_y", [BATCH, 64])], "then"),
        "else_branch": otherwise.graph([], [value("else_y", [BATCH, 64])], "else"),
    }
    draft = Draft()
    draft.add("If", ["condition"], "y", **branches)
    functions = [_weighted_function("Weighted", 1)]
    return draft.model([CONDITION, X], [Y], domains={DOMAIN: 1}, functions=functions)
