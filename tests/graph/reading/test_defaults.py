"""Attributes that say no more than their absence: told apart, dropped, and left out of comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxzip.graph import count_differences, read_model, shorten_names, structure, to_proto
from onnxzip.graph.reading.opsets.defaults import Defaults, opsets_of, plain_bytes
from tests.casebook.kit import Draft, value
from tests.graph.running import assert_identical, run


def has(op_type: str, name: str, content: Any, opset: int = 17, domain: str = "") -> bool:
    node = helper.make_node(op_type, ["x"], ["y"], domain=domain, **{name: content})
    return Defaults({"": opset}).has(node, node.attribute[0])


DEFAULT = [
    *[(op, "strides", [1, 1]) for op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")],
    *[("Conv", "strides", [1] * rank) for rank in (1, 3)],
    *[(op, "dilations", [1, 1]) for op in ("Conv", "ConvTranspose", "MaxPool")],
    *[(op, "pads", [0] * 4) for op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")],
    *[("Conv", "group", 1), ("Conv", "auto_pad", "NOTSET"), ("MaxPool", "ceil_mode", 0)],
    *[("Gemm", "alpha", 1.0), ("Gemm", "beta", 1.0), ("Gemm", "transA", 0), ("Gemm", "transB", 0)],
    *[("LeakyRelu", "alpha", 0.01), ("BatchNormalization", "epsilon", 1e-5), ("Flatten", "axis", 1)],
    *[("LayerNormalization", "axis", -1), ("Gather", "axis", 0), ("ReduceMean", "keepdims", 1)],
    *[("LSTM", "direction", "forward"), ("GRU", "linear_before_reset", 0), ("Reshape", "allowzero", 0)],
]
TELLING = [
    *[("Conv", "strides", [2, 2]), ("Conv", "strides", [1, 2]), ("Conv", "dilations", [2, 1])],
    *[("Conv", "pads", [0, 0, 0, 1]), ("Conv", "group", 2), ("Conv", "auto_pad", "SAME_UPPER")],
    *[("Conv", "auto_pad", "VALID"), ("Conv", "kernel_shape", [3, 3]), ("Conv", "kernel_shape", [1, 1])],
    *[("MaxPool", "kernel_shape", [1, 1]), ("MaxPool", "strides", [2, 1]), ("MaxPool", "ceil_mode", 1)],
    *[("ConvTranspose", "output_padding", [0, 0]), ("ConvTranspose", "output_shape", [1, 1])],
    *[("Gemm", "alpha", 0.5), ("Gemm", "beta", 0.0), ("Gemm", "transB", 1), ("Gemm", "beta", 1.0000001)],
    *[("Concat", "axis", 0), ("Concat", "axis", 1), ("Cast", "to", 1), ("Transpose", "perm", [0, 1])],
    *[("LSTM", "hidden_size", 8), ("LSTM", "direction", "reverse"), ("Gather", "axis", 1)],
]


@pytest.mark.parametrize(("op_type", "name", "content"), DEFAULT)
def test_what_says_no_more_than_its_absence(op_type: str, name: str, content: Any) -> None:
    assert has(op_type, name, content)
    assert has(op_type, name, content, domain="ai.onnx")
    assert not has(op_type, name, content, domain="com.example")


@pytest.mark.parametrize(("op_type", "name", "content"), TELLING)
def test_what_says_more(op_type: str, name: str, content: Any) -> None:
    assert not has(op_type, name, content)


def test_unknown_operators_and_attributes_have_no_defaults() -> None:
    for name, content in (("strides", [1, 1]), ("group", 1), ("alpha", 1.0), ("axis", 0)):
        assert not has("Mystery", name, content)
        assert not has("Relu", name, content)
    for domain in ("com.example", "com.microsoft"):
        assert not has("Conv", "group", 1, domain=domain)
        assert not has("Conv", "pads", [0, 0], domain=domain)


def test_defaults_are_those_of_the_opset() -> None:
    for opset, default in ((11, 1), (12, 1), (13, -1), (17, -1)):
        for axis in (0, 1, -1):
            assert has("Softmax", "axis", axis, opset) == (axis == default)
    assert has("Split", "axis", 0, 11)
    assert not has("Split", "split", [1, 1], 11)
    assert not has("Reshape", "allowzero", 0, 13), "unknown before opset 14"


def test_numbers_of_another_type_are_no_defaults() -> None:
    """Such a node is broken, and must not be mended by dropping what breaks it."""
    for op_type, name, content in (("Conv", "group", 1.0), ("Gemm", "alpha", 1), ("Conv", "strides", 1)):
        assert not has(op_type, name, content)
    assert not has("Conv", "strides", [1.0, 1.0])
    assert not has("Conv", "pads", 0)


def test_attributes_by_reference_are_no_defaults() -> None:
    """In a function's body the caller says what they are."""
    defaults = Defaults({"": 17})
    for name, kind in (("group", "INT"), ("strides", "INTS"), ("pads", "INTS"), ("auto_pad", "STRING")):
        node = helper.make_node("Conv", ["x", "w"], ["y"])
        attribute = node.attribute.add(name=name, type=onnx.AttributeProto.AttributeType.Value(kind))
        attribute.ref_attr_name = "outer"
        assert not defaults.has(node, attribute)


def test_opsets_by_domain() -> None:
    opsets = [helper.make_opsetid("ai.onnx", 13), helper.make_opsetid("com.example", 2)]
    graph = helper.make_graph([], "g", [], [])
    assert opsets_of(helper.make_model(graph, opset_imports=opsets)) == {"": 13, "com.example": 2}
    assert opsets_of(helper.make_model(graph, opset_imports=opsets[1:])) == {"com.example": 2}


def test_bytes_of_an_attribute_without_its_doc_string() -> None:
    bare, documented = (helper.make_attribute("alpha", 0.5) for _ in range(2))
    documented.doc_string = "half"
    assert plain_bytes(bare) == plain_bytes(documented) == bare.SerializeToString()
    assert documented.doc_string == "half"
    assert plain_bytes(bare) != plain_bytes(helper.make_attribute("alpha", 0.25))
    assert has("Gemm", "alpha", 1.0)
    node = helper.make_node("Gemm", ["a", "b"], ["y"], alpha=1.0)
    node.attribute[0].doc_string = "one"
    assert Defaults({"": 17}).has(node, node.attribute[0])


# ---------------------------------------------------------------- shortened, and compared

NO_WINDOW = {"strides": [1, 1], "pads": [0] * 4}
SPELLED_OUT: Mapping[str, Mapping[str, Any]] = {
    "conv": {**NO_WINDOW, "dilations": [1, 1], "group": 1, "auto_pad": "NOTSET"},
    "pool": {**NO_WINDOW, "dilations": [1, 1], "ceil_mode": 0, "storage_order": 0},
    "mean": {**NO_WINDOW, "count_include_pad": 0},
    "deconv": {**NO_WINDOW, "dilations": [1, 1], "group": 1},
    "gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
}
KERNEL = {"kernel_shape": [2, 2]}


def make_model(opset: int = 17, spelled: bool = True, **changes: Mapping[str, Any]) -> onnx.ModelProto:
    """Return a model of all windowed operators with default attributes, spelled out or not."""
    extra = {
        name: {**(said if spelled else {}), **changes.get(name, {})}
        for name, said in SPELLED_OUT.items()
    }
    draft = Draft()
    draft.add(
        "Conv", ["x", draft.weight("w1", 4, 2, 3, 3)], "a", **{"kernel_shape": [3, 3], **extra["conv"]}
    )
    draft.add("MaxPool", ["a"], "b", **KERNEL, **extra["pool"])
    draft.add("AveragePool", ["b"], "c", **KERNEL, **extra["mean"])
    draft.add("ConvTranspose", ["c", draft.weight("w2", 4, 2, 2, 2)], "d", **extra["deconv"])
    inner = Draft(1)
    inner.add("Conv", ["d", inner.weight("w3", 2, 2, 1, 1)], "u", **extra["conv"])
    other = Draft()
    other.add("Neg", ["d"], "v")
    bodies = {
        "then_branch": inner.graph([], [value("u", [None] * 4)], "then"),
        "else_branch": other.graph([], [value("v", [None] * 4)], "else"),
    }
    draft.add("If", [draft.tensor("k", np.array(True))], "e", **bodies)
    draft.add("Flatten", ["e"], "f", **({"axis": 1} if spelled else {}))
    draft.add("Gemm", ["f", draft.weight("w4", 50, 6), draft.weight("b4", 6)], "y", **extra["gemm"])
    return draft.model([value("x", [3, 2, 8, 8])], [value("y", [3, 6])], opset=opset)


def attributes_of(graph: onnx.GraphProto) -> dict[str, set[str]]:
    """Return the attributes' names by operator, bodies included."""
    found: dict[str, set[str]] = {}
    for node in graph.node:
        found.setdefault(node.op_type, set()).update(a.name for a in node.attribute)
        for attribute in node.attribute:
            for op_type, names in attributes_of(attribute.g).items():
                found.setdefault(op_type, set()).update(names)
    return found


def shortened(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = read_model(proto)
    shorten_names(model, 0)
    return to_proto(model)


@pytest.mark.parametrize("opset", [11, 17])
def test_shortened_models_say_no_defaults_and_compute_the_same(opset: int) -> None:
    proto = make_model(opset)
    short = shortened(proto)
    onnx.checker.check_model(short, full_check=True)
    assert attributes_of(short.graph) == {
        **{"Conv": {"kernel_shape"}, "MaxPool": {"kernel_shape"}, "AveragePool": {"kernel_shape"}},
        **{"ConvTranspose": set(), "Gemm": set(), "Flatten": set(), "Neg": set()},
        "If": {"then_branch", "else_branch"},
    }
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 2, 8, 8)).astype(np.float32)}
    assert_identical(run(short, feeds), run(proto, feeds))
    assert short.SerializeToString() == shortened(make_model(opset, spelled=False)).SerializeToString()


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "conv strides": {"conv": {"strides": [2, 2]}},
    "conv pads": {"conv": {"pads": [1, 0, 0, 1]}},
    "conv dilations": {"conv": {"dilations": [1, 2]}},
    "conv group": {"conv": {"group": 2}},
    "pool strides": {"pool": {"strides": [1, 2]}},
    "pool ceil mode": {"pool": {"ceil_mode": 1}},
    "mean pads": {"mean": {"pads": [0, 1, 0, 0]}},
    "mean counts pads": {"mean": {"count_include_pad": 1}},
    "deconv strides": {"deconv": {"strides": [2, 1]}},
    "gemm alpha": {"gemm": {"alpha": 2.0}},
    "gemm beta": {"gemm": {"beta": 0.0}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_other_attributes_stay_and_count(changes: Mapping[str, Mapping[str, Any]]) -> None:
    before = make_model(**changes)
    after = shortened(before)
    ((_, said),) = changes.items()
    ((name, content),) = said.items()
    kept = [a for node in after.graph.node for a in node.attribute if a.name == name]
    assert [helper.get_attribute_value(a) for a in kept] == [content]
    for plain in (make_model(), make_model(spelled=False)):
        assert difference(before, plain) > 0
        assert difference(after, plain) > 0
    assert difference(before, after) == difference(after, make_model(spelled=False, **changes)) == 0


def difference(a: onnx.ModelProto, b: onnx.ModelProto) -> int:
    return count_differences(structure(a.SerializeToString()), structure(b.SerializeToString()))


@pytest.mark.parametrize("opset", [11, 17])
def test_structure_is_the_same_with_and_without_defaults(opset: int) -> None:
    spelled, bare = make_model(opset), make_model(opset, spelled=False)
    assert attributes_of(spelled.graph) != attributes_of(bare.graph)
    assert difference(spelled, bare) == difference(bare, shortened(spelled)) == 0


def test_structure_tells_a_default_from_no_default() -> None:
    """Concat's axis has none, so that leaving it out is another graph; so has an unknown operator."""
    for op_type, name, domain in (("Concat", "axis", ""), ("Conv", "group", "com.example")):
        models = []
        for attributes in ({}, {name: 1}):
            draft = Draft()
            draft.add(op_type, ["x", "x"], "y", domain=domain, **attributes)
            models.append(draft.model([value("x", [2, 2])], [value("y", None)]))
        assert difference(*models) > 0


def test_shortened_nodes_of_unknown_domains_and_functions_keep_all() -> None:
    nodes = [helper.make_node("Gemm", ["a", "b"], ["c"], alpha=1.0)]
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "Times", ["a", "b"], ["c"], nodes, imports)
    draft = Draft()
    draft.add("Times", ["x", draft.weight("w", 8, 8)], "h", domain="local")
    draft.add("Mystery", ["h"], "y", domain="com.example", group=1, alpha=1.0)
    proto = draft.model(
        [value("x", [2, 8])],
        [value("y", None)],
        domains={"local": 1, "com.example": 1},
        functions=[function],
    )
    short = shortened(proto)
    assert short.functions == proto.functions
    assert [node.name for node in short.graph.node] == ["node_h", "node_y"]
    assert {a.name for a in short.graph.node[1].attribute} == {"group", "alpha"}
