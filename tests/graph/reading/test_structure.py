"""Graphs are compared by what they do, not by what things are called."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from onnxzip.graph import count_differences, structure
from tests.cases import CASES, Case


def difference(a: onnx.ModelProto, b: onnx.ModelProto) -> int:
    return count_differences(structure(a.SerializeToString()), structure(b.SerializeToString()))


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_names_do_not_count(case: Case) -> None:
    proto, renamed = case.build(), case.build()
    for i, node in enumerate(renamed.graph.node):
        node.name, node.doc_string = f"other_{i}", "doc"
    assert difference(proto, proto) == 0
    assert difference(proto, renamed) == 0
    del renamed.graph.output[:]
    assert difference(proto, renamed) == len(proto.graph.output)


def test_default_attributes_are_as_good_as_none() -> None:
    proto, explicit = (CASES["gemm_transA0_transB0_alpha1_beta1"].build() for _ in range(2))
    del proto.graph.node[0].attribute[:]
    del explicit.graph.node[0].attribute[:]
    for name, number in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 0)):
        explicit.graph.node[0].attribute.append(helper.make_attribute(name, number))
    assert difference(proto, explicit) == 0


def test_operators_attributes_shapes_and_edges_count() -> None:
    proto = CASES["residual_network"].build()
    for change in ("op", "attribute", "shape", "edge"):
        other = onnx.ModelProto()
        other.CopyFrom(proto)
        relu = next(n for n in other.graph.node if n.op_type == "Relu")
        conv = next(n for n in other.graph.node if n.op_type == "Conv")
        if change == "op":
            relu.op_type = "Sigmoid"
        elif change == "attribute":
            conv.attribute.append(helper.make_attribute("group", 2))
        elif change == "shape":
            next(t for t in other.graph.initializer if t.name == conv.input[1]).dims[0] += 1
        else:
            relu.input[0] = "x"
        assert difference(proto, other) > 0, change


def test_bodies_count() -> None:
    proto, other = CASES["if_captured"].build(), CASES["if_captured"].build()
    branch = other.graph.node[-1].attribute[0].g
    branch.node[0].op_type = "Gemm"
    assert difference(proto, other) > 0
