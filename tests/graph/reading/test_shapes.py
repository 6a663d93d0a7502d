"""Shapes that are inferred: what nodes cost, and what a decoder makes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxzip.graph import annotate_layers, find_layers, read_model
from onnxzip.graph.reading.shapes import decoder_types, needed_value_info
from tests.casebook.kit import Draft, value


def macs_of(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> list[int | None]:
    model = read_model(proto)
    return [layer.macs for layer in annotate_layers(model, find_layers(model)[0], shapes)]


def product(*, n_readers: int = 1) -> Draft:
    """Return x @ w for each of some x of unknown size."""
    draft = Draft()
    weight = draft.weight("w", 16, 32)
    for i in range(n_readers):
        draft.add("MatMul", [f"x{i}", weight], f"y{i}")
    return draft


def test_every_reader_of_a_weight_costs() -> None:
    inputs = [value(f"x{i}", [None, 16]) for i in range(2)]
    proto = product(n_readers=2).model(inputs, [value(f"y{i}", None) for i in range(2)])
    assert macs_of(proto, x0=(2, 16), x1=(3, 16)) == [(2 + 3) * 16 * 32]
    assert macs_of(proto, x0=(2, 16)) == [None], "one of them is not known"


def test_nothing_is_known_of_nothing() -> None:
    proto = product().model([value("x0", [None, 16])], [value("y0", None)])
    assert macs_of(proto, x0=(0, 16)) == [None]


def test_batches_of_weights_are_not_shared_out_twice() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("w", 5, 16, 32)], "y")
    proto = draft.model([value("x", [5, 2, 16])], [value("y", None)])
    assert macs_of(proto, x=(5, 2, 16)) == [5 * 2 * 16 * 32]


def test_a_weight_that_is_only_stored_costs_nothing_to_count() -> None:
    draft = Draft()
    draft.add("Gather", [draft.weight("w", 64, 16), "x"], "y")
    assert macs_of(draft.model([value("x", [3], TensorProto.INT64)], [value("y", None)]), x=(3,)) == [
        None
    ]


@pytest.mark.parametrize("place", ["value_info", "output"])
def test_sizes_follow_from_the_inputs_and_not_from_what_the_file_says(place: str) -> None:
    """A file that was exported for one batch and made free by hand says what is no longer so."""
    draft = product()
    draft.add("Relu", ["y0"], "z")
    outputs = {"value_info": [value("z", None)], "output": [value("z", None), value("y0", [1, 32])]}
    proto = draft.model([value("x0", [None, 16])], outputs[place])
    if place == "value_info":
        proto.graph.value_info.append(value("y0", [1, 32]))
    assert macs_of(proto, x0=(7, 16)) == [7 * 16 * 32]


def test_shapes_are_followed_through_arithmetic_on_them() -> None:
    draft = Draft()
    draft.add("Shape", ["x"], "shape")
    draft.add("Gather", ["shape", draft.tensor("first", np.array([0]))], "n")
    draft.add("Concat", ["n", draft.tensor("rest", np.array([16]))], "target", axis=0)
    draft.add("Reshape", ["x", "target"], "flat")
    draft.add("MatMul", ["flat", draft.weight("w", 16, 32)], "y")
    proto = draft.model([value("x", [None, 4, 4])], [value("y", None)])
    assert macs_of(proto, x=(3, 4, 4)) == [3 * 16 * 32]


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
