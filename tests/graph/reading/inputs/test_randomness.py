"""Which outputs depend on numbers that a graph draws, and which node is named."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxzip.graph import random_outputs, read_model
from tests.casebook.kit import Draft, value
from tests.textmodels import model_from_text

HEAD = '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[n, 16] x, bool train)'


def found(body: str, outputs: str = "y", functions: str = "") -> dict[str, str]:
    typed = ", ".join(f"float[n] {name}" for name in outputs.split())
    proto = model_from_text(f"{HEAD} => ({typed}) {{{body}}} {functions}")
    return random_outputs(read_model(proto))


@pytest.mark.parametrize(
    ("body", "node"),
    [
        ("e = RandomNormal<shape = [16]>() y = Add(x, e)", "'e' (RandomNormal)"),
        ("e = RandomNormalLike(x) y = Add(x, e)", "'e' (RandomNormalLike)"),
        ("e = RandomUniformLike(x) y = Add(x, e)", "'e' (RandomUniformLike)"),
        ("p = Sigmoid(x) y = Bernoulli(p)", "'y' (Bernoulli)"),
        ("y = Multinomial(x)", "'y' (Multinomial)"),
        ("y = Dropout(x, , train)", "'y' (Dropout in training mode)"),
        ("t = Identity(train) y = Dropout(x, , t)", "'y' (Dropout in training mode)"),
    ],
)
def test_the_node_that_draws_is_named(body: str, node: str) -> None:
    assert found(body) == {"y": f"the node that makes {node}"}


@pytest.mark.parametrize(
    "body",
    [
        "y = Dropout(x)",
        "r = Constant<value_float = 0.5>() y = Dropout(x, r)",
        "r = Constant<value_float = 0.0>() y = Dropout(x, r, train)",
        "e = RandomNormalLike(x) y = Relu(x)",
        "e = RandomNormalLike(x) s = Shape(e) y = ConstantOfShape(s)",
    ],
)
def test_what_draws_nothing_or_for_nothing_is_none(body: str) -> None:
    assert found(body) == {}


def test_only_outputs_behind_it_are_random() -> None:
    assert set(found("e = RandomNormalLike(x) y = Add(x, e) z = Neg(y) w = Neg(x)", "w y z")) == {
        "y",
        "z",
    }


def test_bodies_of_functions_are_looked_into() -> None:
    head = '<domain: "own", opset_import: ["" : 17]>'
    function = head + "noisy (a) => (b) {e = RandomNormalLike(a) b = Add(a, e)}"
    assert found("y = own.noisy(x)", functions=function) == {
        "y": "the node that makes 'e' (RandomNormalLike)"
    }


def test_branches_and_their_constants_are_looked_into() -> None:
    def model(ratio: float) -> onnx.ModelProto:
        draft, then, other = Draft(), Draft(), Draft()
        then.tensor("share", np.float32(ratio))
        then.tensor("on", np.array(True))
        then.add("Dropout", ["x", "share", "on"], "t")
        other.add("Neg", ["x"], "e")
        draft.tensor("yes", np.array(True))
        branches = {
            "then_branch": then.graph([], [value("t", None)]),
            "else_branch": other.graph([], [value("e", None)]),
        }
        draft.add("If", ["yes"], "y", **branches)
        return draft.model([value("x", [4, 16])], [value("y", None)])

    assert random_outputs(read_model(model(0.5))) == {"y": "node 'node_t' (Dropout in training mode)"}
    assert random_outputs(read_model(model(0.0))) == {}


def test_a_node_is_called_by_its_name() -> None:
    node = helper.make_node("Bernoulli", ["x"], ["y"], name="coin")
    proto = model_from_text(f"{HEAD} => (float[n] y) {{y = Relu(x)}}")
    proto.graph.node[0].CopyFrom(node)
    assert random_outputs(read_model(proto)) == {"y": "node 'coin' (Bernoulli)"}
