"""The mark of a compressed model: what it says, in both versions, and what becomes of a damaged one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxzip
from onnxzip.codec.level import level
from onnxzip.errors import ModelError
from onnxzip.graph import (
    Model,
    RoundedValues,
    StoredValue,
    decoded_names,
    decoder_bytes,
    find_layers,
    find_small_layers,
    is_intact,
    is_marked,
    read_mark,
    read_model,
    shorten_names,
    to_proto,
    write_mark,
)
from onnxzip.graph.reading.shapes import decoder_types, needed_value_info
from onnxzip.graph.writing.mark_text import FORMAT_VERSION
from onnxzip.options import Options
from onnxzip.passbase import Codec
from onnxzip.propose.registry import make_passes
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Candidate, Plan, Rounding
from onnxzip.rewrite.emit import Emitted, Emitter
from onnxzip.rewrite.restorer import Restorer
from tests.casebook.kit import Draft, value
from tests.graph.running import OFF, open_session
from tests.textmodels import model_from_text

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 32] x) => (float[n, 12] y)
<float[32, 96] w1, float[96] b1, float[96, 80] w2, float[1, 80] b2, float[80, 96] w3, float[96] b3,
 float[96, 12] w4, float[12] b4>
{
    h1 = Gemm(x, w1, b1)
    r1 = Relu(h1)
    m2 = MatMul(r1, w2)
    h2 = Add(m2, b2)
    r2 = Relu(h2)
    h3 = Gemm(r2, w3, b3)
    r3 = Relu(h3)
    y = Gemm(r3, w4, b4)
}
"""
PASSES, _ = make_passes(Options())
STORED = {"w1": "scalar", "w2": "dct", "w4": "scalar"}
METHODS = {**STORED, "w3": "lowrank"}
ROUNDED = ("b1", "b2", "b3")


Parts = tuple[Model, dict[str, Layer], dict[str, Codec]]


@cache
def prepare(number: int, opset: int) -> Parts:
    """Return the model, its layers, and their codecs at a level."""
    model = read_model(model_from_text(TEXT.replace("17", str(opset))))
    layers = {la.name: la for la in find_layers(model)[0]}
    return model, layers, level(number).codecs(list(layers.values()))


@cache
def choose(name: str, method: str, number: int, opset: int) -> Candidate:
    """Return a candidate of middling size."""
    _, layers, codecs = prepare(number, opset)
    offers = list(PASSES[method].candidates(layers[name], codecs[name]))
    candidates = [offer for offer in offers if isinstance(offer, Candidate)]
    return candidates[len(candidates) // 2]


def emit(
    methods: Mapping[str, str],
    rounded: tuple[str, ...] = ROUNDED,
    rate: int = 127,
    number: int = 1,
    opset: int = 17,
    keeps_names: bool = True,
) -> tuple[Emitted, Plan]:
    """Compress the weights with the methods given, and round some biases."""
    model, _, codecs = prepare(number, opset)
    chosen = {name: choose(name, method, number, opset) for name, method in methods.items()}
    small = tuple(la for la in find_small_layers(model) if la.name in rounded)
    plan = Plan(chosen, 0, 0, 0, {la.name: la.weight for la in small}, Rounding(small, rate))
    restorer = Restorer(PASSES, codecs)
    emit_stored = level(number).emit
    return Emitter(model, PASSES, restorer, emit_stored, keeps_names).emit(plan), plan


def mark_of(proto: onnx.ModelProto) -> dict[str, Any]:
    (entry,) = [e for e in proto.metadata_props if e.key == "onnxzip"]
    record = json.loads(entry.value)
    assert isinstance(record, dict)
    return record


def with_mark(proto: onnx.ModelProto, record: object) -> onnx.ModelProto:
    """Return the model with another mark; a text is written as it is."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    (entry,) = [e for e in changed.metadata_props if e.key == "onnxzip"]
    entry.value = record if isinstance(record, str) else json.dumps(record)
    return changed


def weights_of(proto: onnx.ModelProto | None) -> dict[str, bytes]:
    assert proto is not None
    return {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in proto.graph.initializer}


# ---------------------------------------------------------------- version 2


@pytest.mark.parametrize("keeps_names", [True, False])
@pytest.mark.parametrize("rate", [127, 32767])
def test_what_is_stamped_is_read(rate: int, keeps_names: bool) -> None:
    """Stored and rounded values, each with what the plan says of it."""
    emitted, plan = emit(METHODS, rate=rate, keeps_names=keeps_names)
    model, homes = emitted.model, emitted.homes
    n_nodes, values = read_mark(model)
    assert n_nodes == emitted.n_nodes
    assert [v.name for v in values] == decoded_names(model, n_nodes)
    by_name = {v.name: v for v in values}
    for name, method in METHODS.items():
        chosen, found = plan.chosen[name], by_name.pop(homes[name])
        assert (found.pass_name, found.form) == (method, "stored")
        assert found.n_bytes == emitted.sizes[name] > 0
        assert found.shape == chosen.layer.weight.shape
        assert found.error == float(f"{chosen.error:.2g}")
    n_small_bytes = 0
    for layer in plan.rounding.layers:
        found = by_name.pop(homes[layer.name])
        wanted = StoredValue(found.name, "rounding", "stored", layer.weight.shape, found.n_bytes, None)
        assert found == wanted
        n_small_bytes += found.n_bytes
    assert n_small_bytes == emitted.n_rest_bytes > 0
    assert not by_name
    assert sum(v.n_bytes for v in values) == decoder_bytes(model, n_nodes)
    listed = {w.name: w.pass_name for w in onnxzip.inspect(to_proto(model)).weights}
    assert {homes[name] for name in ROUNDED} == {n for n, p in listed.items() if p == "rounding"}


def test_the_mark_is_of_version_2() -> None:
    record = mark_of(emit(STORED)[0].model.proto)
    assert record["v"] == FORMAT_VERSION == 2
    assert record["r"] == [3, 8]
    assert sorted(record["p"]) == [["dct", "s"], ["scalar", "s"]]
    assert len(record["w"]) == 9
    assert "r" not in mark_of(emit(STORED, ())[0].model.proto)


def test_a_checksum_goes_with_the_mark() -> None:
    emitted, _ = emit(STORED)
    assert is_intact(emitted.model)
    proto = to_proto(emitted.model)
    record = mark_of(proto)
    other = with_mark(proto, {**record, "c": record["c"] ^ 1})
    assert not is_intact(read_model(other))
    with pytest.raises(ModelError, match="checksum"):
        onnxzip.decompress(other)


def test_models_without_a_mark() -> None:
    model = read_model(model_from_text(TEXT))
    assert not is_marked(model)
    with pytest.raises(ModelError, match="not written by onnxzip"):
        read_mark(model)


def make_stamped(origin: Mapping[str, tuple[str, int, float]], rounded: RoundedValues) -> Model:
    """Return a marked model that decodes w (Cast), f (Mul), s1 and s2 (Split) in its first 3 nodes."""
    draft = Draft()
    draft.tensor("sizes", np.array([8, 12, 4]))
    half = draft.tensor("half", np.arange(12, dtype=np.float16))
    draft.add("Cast", [half], "w", to=TensorProto.FLOAT)
    draft.add("Mul", [draft.weight("a", 3, 4), draft.weight("b", 4)], "f")
    draft.add("Split", [draft.weight("c", 24), "sizes"], ["s1", "s2", "rest"], axis=0)
    for i, name in enumerate(("s2", "w", "f", "s1")):
        draft.add("ReduceSum", [name], f"t{i}", keepdims=0)
        draft.add("Mul", ["x" if i == 0 else f"x{i - 1}", f"t{i}"], f"x{i}")
    model = read_model(draft.model([value("x", [2])], [value("x3", [2])]))
    write_mark(model, 3, origin, rounded)
    return model


def test_stamps_of_all_kinds() -> None:
    """Values come in the order of the nodes that make them, whatever reads them first."""
    origin = {"w": ("scalar", 24, 0.012345), "f": ("dct", 30, 0.0), "s1": ("dct", 9, 0.5)}
    model = make_stamped(origin, RoundedValues(2, 8))
    rest = decoder_bytes(model, 3) - 24 - 30
    n_nodes, values = read_mark(model)
    assert n_nodes == 3
    assert values[:2] == [
        StoredValue("w", "scalar", "stored", (12,), 24, 0.012),
        StoredValue("f", "dct", "stored", (3, 4), 30, 0.0),
    ]
    assert [(v.name, v.pass_name, v.shape, v.error) for v in values[2:]] == [
        ("s1", "rounding", (8,), None),
        ("s2", "rounding", (12,), None),
    ]
    assert sum(value.n_bytes for value in values[2:]) == rest
    assert abs(values[2].n_bytes - 0.4 * rest) < 1
    _, values = read_mark(make_stamped(origin, RoundedValues(1, 16)))
    assert values[2:] == [
        StoredValue("s1", "dct", "stored", (8,), 9, 0.5),
        StoredValue("s2", "rounding", "stored", (12,), rest - 9, None),
    ]


# ---------------------------------------------------------------- version 1


def as_version_1(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the mark that version 1 wrote: [pass name, form, bytes, error] each."""
    record = mark_of(proto)
    flat, methods = record["w"], record["p"]
    rows = [[*methods[flat[i]], flat[i + 1], flat[i + 2]] for i in range(0, len(flat), 3)]
    return with_mark(proto, {"v": 1, "n": record["n"], "c": record["c"], "w": rows})


@pytest.mark.parametrize("number", [1, 6])
def test_version_1_is_still_read(number: int) -> None:
    proto = to_proto(emit(METHODS, (), number=number)[0].model)
    old = as_version_1(proto)
    assert {form for _, form, _, _ in mark_of(old)["w"]} == {"s"}
    assert read_mark(read_model(old)) == read_mark(read_model(proto))
    assert onnxzip.inspect(old).weights == onnxzip.inspect(proto).weights
    assert weights_of(onnxzip.decompress(old)) == weights_of(onnxzip.decompress(proto))
    assert all(check.passed for check in onnxzip.verify(old))


def test_version_1_has_no_rounded_tensors() -> None:
    """A mark that leaves them out does not fit the graph."""
    old = as_version_1(to_proto(emit(STORED)[0].model))
    with pytest.raises(ModelError, match="names 3 weights but the graph decodes 6"):
        read_mark(read_model(old))


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def marked() -> onnx.ModelProto:
    return to_proto(emit({**STORED, "w3": "scalar"})[0].model)


W = (0, 500, 0.1)
DAMAGES: dict[str, dict[str, Any]] = {
    "negative method": {"w": [-1, 500, 0.1, *W * 3]},
    "last method from behind": {"w": [*W * 3, -2, 500, 0.1]},
    "method out of range": {"w": [2, 500, 0.1, *W * 3]},
    "method far out of range": {"w": [*W * 3, 10**9, 500, 0.1]},
    "method is a name": {"w": ["scalar", 500, 0.1, *W * 3]},
    "method is null": {"w": [None, 500, 0.1, *W * 3]},
    "method is a fraction": {"w": [0.5, 500, 0.1, *W * 3]},
    "one number more": {"w": [*W * 4, 0]},
    "two numbers more": {"w": [*W * 4, 0, 1]},
    "one number less": {"w": [*W * 3, 0, 500]},
    "one weight more": {"w": [*W * 5]},
    "one weight less": {"w": [*W * 3]},
    "rows of version 1": {"w": [["scalar", "s", 500, 0.1]] * 4},
    "bytes are words": {"w": [0, "many", 0.1, *W * 3]},
    "bytes are negative": {"w": [0, -500, 0.1, *W * 3]},
    "error is null": {"w": [0, 500, None, *W * 3]},
    "weights are null": {"w": None},
    "weights are a number": {"w": 7},
    "no methods": {"p": []},
    "methods are null": {"p": None},
    "methods are a number": {"p": 3},
    "methods are a dict": {"p": {"scalar": "s"}},
    "methods are names": {"p": ["scalar", "dct"]},
    "methods without a form": {"p": [["scalar"], ["dct"]]},
    "methods with too much": {"p": [["scalar", "s", 1], ["dct", "s", 2]]},
    "judged is null": {"m": None},
    "judged is short": {"m": ["rel_l2"]},
    "judged has no metric": {"m": [3, 0.1, 0]},
    "judged has a word": {"m": ["rel_l2", "much", 0]},
    "judged is negative": {"m": ["rel_l2", -0.1, 0]},
    "rounded is null": {"r": None},
    "rounded is a number": {"r": 3},
    "rounded is empty": {"r": []},
    "rounded has no bits": {"r": [3]},
    "rounded has too much": {"r": [3, 8, 1]},
    "rounded is words": {"r": ["three", "eight"]},
    "rounded is a word": {"r": "38x"},
    "rounded has a null": {"r": [3, None]},
    "one rounded more": {"r": [4, 8]},
    "one rounded less": {"r": [2, 8]},
    "none rounded": {"r": [0, 8]},
    "negative rounded": {"r": [-3, 8]},
    "of version 1": {"v": 1},
    "newer": {"v": 3},
    "version is null": {"v": None},
    "nodes are null": {"n": None},
    "no nodes": {"n": 0},
}
MISSING = ("v", "n", "p", "w", "r")


def refuse(proto: onnx.ModelProto) -> None:
    model = read_model(proto)
    for command in (onnxzip.inspect, onnxzip.verify, onnxzip.decompress):
        with pytest.raises(ModelError) as caught:
            command(proto)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"mark of onnxzip|newer than this onnxzip"):
        read_mark(model)


@pytest.mark.parametrize("changes", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_marks_are_refused(changes: dict[str, Any], marked: onnx.ModelProto) -> None:
    refuse(with_mark(marked, {**mark_of(marked), **changes}))


def test_a_mark_of_brackets_is_refused(marked: onnx.ModelProto) -> None:
    deep = onnx.ModelProto()
    deep.CopyFrom(marked)
    deep.metadata_props[-1].value = "[" * 100_000
    refuse(deep)


@pytest.mark.parametrize("key", MISSING)
def test_incomplete_marks_are_refused(key: str, marked: onnx.ModelProto) -> None:
    record = mark_of(marked)
    del record[key]
    refuse(with_mark(marked, record))


def test_the_undamaged_mark_is_not_refused(marked: onnx.ModelProto) -> None:
    record = mark_of(marked)
    assert (len(record["w"]), record["r"], len(record["p"])) == (12, [3, 8], 2)
    same = with_mark(marked, record)
    assert len(read_mark(read_model(same))[1]) == 7
    assert all(check.passed for check in onnxzip.verify(same))


@pytest.mark.parametrize("text", ["", "{", "[2]", "2", "null", '"v"', '{"v": 2}'])
def test_marks_that_are_no_record(text: str, marked: onnx.ModelProto) -> None:
    refuse(with_mark(marked, text))


# ---------------------------------------------------------------- types of decoded values


OTHERS = {"w1": "wavelet", "w2": "codebook", "w3": "dct"}


@pytest.mark.parametrize(
    ("methods", "number", "opset"),
    [(METHODS, 1, 11), (METHODS, 6, 17), (OTHERS, 1, 17), (OTHERS, 6, 11)],
)
def test_types_of_all_that_decode_nodes_make(methods: dict[str, str], number: int, opset: int) -> None:
    """Shape and type of every output as a session finds them, without any value_info."""
    emitted, _ = emit(methods, number=number, opset=opset)
    model = emitted.model.copy()
    del model.proto.graph.value_info[:]
    types = decoder_types(model, emitted.n_nodes)
    made = [o for node in model.proto.graph.node[: emitted.n_nodes] for o in node.output if o]
    assert set(made) == set(types)
    proto = to_proto(model)
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in made)
    del proto.graph.node[emitted.n_nodes :]
    del proto.graph.input[:]
    for name, array in zip(made, open_session(proto, OFF).run(made, {}), strict=True):
        tensor = types[name].type.tensor_type
        assert helper.tensor_dtype_to_np_dtype(tensor.elem_type) == array.dtype
        assert all(d.HasField("dim_value") for d in tensor.shape.dim)
        assert tuple(d.dim_value for d in tensor.shape.dim) == array.shape
    assert not set(made) & needed_value_info(emitted.model, emitted.n_nodes)


def test_types_that_inference_misses_are_as_written() -> None:
    """A node of an unknown domain among the first ones, and what reads it."""
    draft = Draft()
    draft.add("Mystery", [draft.weight("a", 8)], "m", domain="com.example")
    draft.add("Relu", ["m"], "r")
    draft.add("Abs", ["a"], "b")
    draft.add("Sum", ["x", "r", "b"], "y")
    proto = draft.model([value("x", [8])], [value("y", [8])], domains={"com.example": 1})
    proto.graph.value_info.extend([value("m", [8]), value("b", [9])])
    types = decoder_types(read_model(proto), 3)
    assert {name: v.type for name, v in types.items() if name != "r"} == {
        "m": value("m", [8]).type,
        "b": value("b", [8]).type,
    }
    del proto.graph.value_info[:]
    assert "m" not in decoder_types(read_model(proto), 3)
    assert set(decoder_types(read_model(proto), 0)) == set()


# ---------------------------------------------------------------- value_info


def annotated(*entries: onnx.ValueInfoProto) -> Model:
    """Return y = cast(nonzero(tanh(mystery(relu(x cast(c)))))), with entries for what is on the way."""
    draft = Draft()
    half = draft.tensor("c", np.ones((8, 4), np.float16))
    draft.add("Cast", [half], "w", to=TensorProto.FLOAT)
    draft.add("MatMul", ["x", "w"], "p")
    draft.add("Relu", ["p"], "r")
    draft.add("Mystery", ["r"], "m", domain="com.example")
    draft.add("Tanh", ["m"], "t")
    draft.add("NonZero", ["t"], "z")
    draft.add("Cast", ["z"], "y", to=TensorProto.FLOAT)
    proto = draft.model([value("x", ["n", 8])], [value("y", None)], domains={"com.example": 1})
    proto.graph.value_info.extend(entries)
    return read_model(proto)


NEEDED = {
    "unknown operator": value("m", ["n", 4]),
    "behind an unknown operator": value("t", ["n", 4]),
    "depends on data": value("z", [2, 40], TensorProto.INT64),
    "another symbol": value("p", ["batch", 4]),
    "a number for a symbol": value("r", [3, 4]),
    "a symbol for a number": value("r", ["n", "k"]),
    "another type": value("r", ["n", 4], TensorProto.FLOAT16),
    "nothing makes it": value("elsewhere", [1]),
    "a decode node's, wrong": value("w", [8, 5]),
}
SPARED = {
    "found": value("p", ["n", 4]),
    "found behind another": value("r", ["n", 4]),
    "a decode node's": value("w", [8, 4]),
}


@pytest.mark.parametrize("entry", NEEDED.values(), ids=NEEDED.keys())
def test_entries_that_inference_misses_are_needed(entry: onnx.ValueInfoProto) -> None:
    others = [e for e in SPARED.values() if e.name != entry.name]
    model = annotated(*others, entry)
    assert needed_value_info(model, 1) == {entry.name}
    names = shorten_names(model, 1)
    (kept,) = model.proto.graph.value_info
    assert (kept.name, kept.type) == (names[entry.name], entry.type)


@pytest.mark.parametrize("entry", SPARED.values(), ids=SPARED.keys())
@pytest.mark.parametrize("n_decode_nodes", [0, 1])
def test_entries_that_inference_finds_are_spared(
    entry: onnx.ValueInfoProto, n_decode_nodes: int
) -> None:
    model = annotated(entry, NEEDED["unknown operator"])
    assert needed_value_info(model, n_decode_nodes) == {"m"}
    shorten_names(model, n_decode_nodes)
    assert len(model.proto.graph.value_info) == 1


def test_entries_are_looked_at_and_left() -> None:
    model = annotated(*SPARED.values(), NEEDED["unknown operator"])
    before = model.proto.SerializeToString()
    assert needed_value_info(model, 1) == {"m"}
    assert model.proto.SerializeToString() == before
