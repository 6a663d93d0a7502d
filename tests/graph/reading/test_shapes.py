"""Shapes that are inferred: of values, and of what a decoder makes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxzip.graph import read_model
from onnxzip.graph.reading.shapes import decoder_types, infer_shapes, needed_value_info
from tests.casebook.kit import Draft, value


def sizes_of(proto: onnx.ModelProto, name: str, **shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    return infer_shapes(read_model(proto), shapes).get(name)


def product() -> Draft:
    """Return x @ w for some x of unknown size."""
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("w", 16, 32)], "y")
    return draft


def test_sizes_follow_from_the_inputs_that_are_known() -> None:
    proto = product().model([value("x", [None, 16])], [value("y", None)])
    assert sizes_of(proto, "y", x=(5, 16)) == (5, 32)
    assert sizes_of(proto, "y", x=(0, 16)) == (0, 32)
    assert sizes_of(proto, "y") is None


@pytest.mark.parametrize("place", ["value_info", "output"])
def test_sizes_follow_from_the_inputs_and_not_from_what_the_file_says(place: str) -> None:
    """A file that was exported for one batch and made free by hand says what is no longer so."""
    draft = product()
    draft.add("Relu", ["y"], "z")
    outputs = {"value_info": [value("z", None)], "output": [value("z", None), value("y", [1, 32])]}
    proto = draft.model([value("x", [None, 16])], outputs[place])
    if place == "value_info":
        proto.graph.value_info.append(value("y", [1, 32]))
    assert sizes_of(proto, "y", x=(7, 16)) == (7, 32)


def test_shapes_are_followed_through_arithmetic_on_them() -> None:
    draft = Draft()
    draft.add("Shape", ["x"], "shape")
    draft.add("Gather", ["shape", draft.tensor("first", np.array([0]))], "n")
    draft.add("Concat", ["n", draft.tensor("rest", np.array([16]))], "target", axis=0)
    draft.add("Reshape", ["x", "target"], "flat")
    draft.add("MatMul", ["flat", draft.weight("w", 16, 32)], "y")
    proto = draft.model([value("x", [None, 4, 4])], [value("y", None)])
    assert sizes_of(proto, "y", x=(3, 4, 4)) == (3, 32)


def decoding(*entries: onnx.ValueInfoProto) -> onnx.ModelProto:
    """Return a model that decodes w by a Reshape whose target is computed, and multiplies by it."""
    draft = Draft()
    draft.add("Identity", [draft.tensor("sizes", np.array([8, 4]))], "target")
    draft.add("Reshape", [draft.weight("flat", 32), "target"], "w")
    draft.add("MatMul", ["x", "w"], "y")
    proto = draft.model([value("x", [2, 8])], [value("y", [2, 4])])
    proto.graph.value_info.extend(entries)
    return proto


def shape_of(known: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value for d in known.type.tensor_type.shape.dim]


def test_a_decoder_is_described_by_its_file_where_inference_finds_less() -> None:
    known = decoder_types(read_model(decoding(value("w", [8, 4]))), 2)
    assert shape_of(known["w"]) == [8, 4]
    assert set(known) == {"w", "target"}


def test_a_decoder_is_described_by_inference_where_that_knows_better() -> None:
    known = decoder_types(read_model(decoding(value("target", [7], TensorProto.INT64))), 2)
    assert shape_of(known["target"]) == [2]


def test_entries_that_inference_finds_from_the_decoders_are_spared() -> None:
    draft = Draft()
    draft.add("Identity", [draft.weight("stored", 8, 4)], "w")
    draft.add("MatMul", ["x", "w"], "h")
    draft.add("Mystery", ["h"], "m", domain="com.example")
    draft.add("Relu", ["m"], "y")
    proto = draft.model([value("x", [2, 8])], [value("y", None)], domains={"com.example": 1})
    entries = [value("w", [8, 4]), value("h", [2, 4]), value("m", [2, 4])]
    proto.graph.value_info.extend(entries)
    assert needed_value_info(read_model(proto), 1) == {"m"}
    wrong = helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", 4])
    proto.graph.value_info[1].CopyFrom(wrong)
    assert needed_value_info(read_model(proto), 1) == {"h", "m"}


def test_entries_that_follow_from_arithmetic_on_shapes_are_spared() -> None:
    draft = Draft()
    draft.add("Identity", [draft.weight("stored", 16, 32)], "w")
    draft.add("Shape", ["x"], "shape")
    draft.add("Gather", ["shape", draft.tensor("first", np.array([0]))], "n")
    draft.add("Concat", ["n", draft.tensor("rest", np.array([16]))], "target", axis=0)
    draft.add("Reshape", ["x", "target"], "flat")
    draft.add("MatMul", ["flat", "w"], "y")
    proto = draft.model([value("x", [3, 4, 4])], [value("y", None)])
    proto.graph.value_info.append(value("flat", [3, 16]))
    assert needed_value_info(read_model(proto), 1) == set()
