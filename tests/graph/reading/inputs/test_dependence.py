"""What outputs depend on: values of inputs, weights in nested graphs and functions; what squashes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxzip.graph import read_model
from onnxzip.graph.reading.inputs.dependence import squashed_outputs, varying_outputs, weights_behind
from tests.casebook.kit import Draft, value
from tests.textmodels import model_from_text


def model(body: str, outputs: str, weights: str = "") -> onnx.ModelProto:
    typed = ", ".join(f"float[n] {name}" for name in outputs.split())
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 16] x)'
    return model_from_text(f"{head} => ({typed}) <{weights}> {{{body}}}")


def varying(body: str, outputs: str, weights: str = "float[16, 16] w") -> set[str]:
    return set(varying_outputs(read_model(model(body, outputs, weights))))


def test_outputs_vary_with_the_values_of_inputs() -> None:
    body = """
        y = MatMul(x, w)
        size = Shape(x)
        anchors = ConstantOfShape(size)
        moved = Add(anchors, w)
        both = Add(anchors, x)
    """
    assert varying(body, "y anchors moved both size") == {"y", "both"}
    assert varying("y = Identity(w)", "y x") == {"x"}, "an input may be an output"


def test_random_numbers_vary() -> None:
    assert varying("y = RandomNormal<shape = [4, 4]>()  z = Add(y, w)", "y z") == {"y", "z"}


def test_what_a_branch_captures_counts() -> None:
    draft, then, other = Draft(), Draft(), Draft()
    then.add("Relu", ["x"], "t")
    other.add("Neg", ["w"], "e")
    draft.weight("w", 16, 16)
    draft.tensor("yes", np.array(True))
    branches = {
        "then_branch": then.graph([], [value("t", None)]),
        "else_branch": other.graph([], [value("e", None)]),
    }
    draft.add("If", ["yes"], "y", **branches)
    branches["then_branch"] = branches["else_branch"]
    draft.add("If", ["yes"], "z", **branches)
    proto = draft.model([value("x", [4, 16])], [value("y", None), value("z", None)])
    assert varying_outputs(read_model(proto)) == {"y"}


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Softmax", "HardSigmoid", "Erf"])
def test_what_is_squashed_and_moved_is_squashed(op: str) -> None:
    proto = model(
        f"""
        s = {op}(x)
        moved = Transpose(s)
        gone = Mul(s, x)
        shifted = Add(moved, w)
        """,
        "s moved gone shifted",
        "float[16, 16] w",
    )
    assert squashed_outputs(read_model(proto)) == {"s", "moved"}


def test_nothing_else_is_squashed() -> None:
    assert squashed_outputs(read_model(model("y = Relu(x)  z = Identity(y)", "y z"))) == frozenset()


def test_weights_of_the_way_to_an_output() -> None:
    body = """
        h = MatMul(x, shared)
        a = MatMul(h, left)
        b = MatMul(h, right)
        p = MatMul(b, far)
    """
    weights = ", ".join(f"float[16, 16] {name}" for name in ("shared", "left", "right", "far", "unused"))
    read = read_model(model(body, "a p", weights))
    assert weights_behind(read, ["a"]) == {"shared", "left"}
    assert weights_behind(read, ["p"]) == {"shared", "right", "far"}
    assert weights_behind(read, []) == frozenset()


def nested() -> onnx.ModelProto:
    """A weight in a branch of an If in a branch of an If, one in another branch, one beside them."""
    inner, then, other, draft = Draft(), Draft(), Draft(), Draft()
    inner.add("MatMul", ["x", inner.weight("deep", 16, 16)], "d")
    then.add(
        "If",
        ["yes"],
        "t",
        then_branch=inner.graph([], [value("d", None)]),
        else_branch=inner.graph([], [value("d", None)]),
    )
    other.add("MatMul", ["x", other.weight("other", 16, 16)], "e")
    draft.tensor("yes", np.array(True))
    draft.add(
        "If",
        ["yes"],
        "y",
        then_branch=then.graph([], [value("t", None)]),
        else_branch=other.graph([], [value("e", None)]),
    )
    draft.add("MatMul", ["x", draft.weight("beside", 16, 16)], "z")
    return draft.model([value("x", [4, 16])], [value("y", None), value("z", None)])


def test_weights_of_nested_graphs() -> None:
    read = read_model(nested())
    found = weights_behind(read, ["y"])
    assert {name.rpartition("/")[2] for name in found} == {"deep", "other"}
    assert weights_behind(read, ["z"]) == {"beside"}


def with_function(call: str) -> onnx.ModelProto:
    """A function with a weight of its own, called by a node of the main graph or of a branch."""
    array = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    constant = helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(array))
    product = helper.make_node("MatMul", ["v", "w"], ["u"])
    opset = helper.make_opsetid("", 17)
    function = helper.make_function("own", "Layer", ["v"], ["u"], [constant, product], [opset])
    draft = Draft()
    node = helper.make_node("Layer", ["x"], ["y" if call == "main" else "t"], domain="own", name="call")
    if call == "main":
        draft.nodes.append(node)
    else:
        body = Draft()
        body.nodes.append(node)
        branch = body.graph([], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
        draft.tensor("yes", np.array(True))
        draft.add("If", ["yes"], "y", then_branch=branch, else_branch=branch)
    draft.add("MatMul", ["x", draft.weight("beside", 16, 16)], "z")
    ports = [value("x", [4, 16])], [value("y", None), value("z", None)]
    return draft.model(*ports, domains={"own": 1}, functions=[function])


@pytest.mark.parametrize("call", ["main", "branch"])
def test_weights_of_functions(call: str) -> None:
    read = read_model(with_function(call))
    (found,) = weights_behind(read, ["y"])
    assert found.startswith("Layer/")
    assert weights_behind(read, ["z"]) == {"beside"}
