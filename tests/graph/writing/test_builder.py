"""What the builder writes: decode nodes in front, the original graph behind, nothing else changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxzip.graph import (
    GraphBuilder,
    count_differences,
    find_layers,
    hoist_weights,
    read_model,
    structure,
    to_proto,
)
from onnxzip.graph.reading.model import Model
from onnxzip.records.layer import Layer
from onnxzip.records.payload import Coefficients
from onnxzip.transforms.moves import moved
from tests.cases import CASES, Case
from tests.graph.running import (
    BASIC,
    RUNNABLE,
    assert_close,
    assert_identical,
    emit_plainly,
    open_session,
    run,
)

MIN_DECODE_OPSET = 11
STORABLE = [
    c for c in RUNNABLE if c.finite and c.n_weights and c.name not in ("opset_7", "opset_8", "opset_9")
]
STORABLE = [c for c in STORABLE if c.name not in ("opset_10", "ir3_initializers_are_inputs")]


def quantise(layer: Layer) -> Coefficients:
    """Return a layer's weight as rows of 10-bit integers."""
    rows = layer.canonical().reshape(layer.weight.shape[layer.layout.order[0]], -1)
    steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-30)) / np.float32(500)
    return Coefficients(np.rint(rows / steps).astype(np.int32), steps.astype(np.float32))


def store_all(path: Path) -> tuple[Model, Model, int]:
    """Return a model with all weights stored, the original with the restored weights, decode nodes."""
    model, plain = read_model(path), read_model(path)
    layers, _ = find_layers(model)
    homes = hoist_weights(plain, {layer.name for layer in layers})
    builder = GraphBuilder(model, layers, emit_plainly)
    for layer in layers:
        coefficients = quantise(layer)
        builder.replace_weight(layer, builder.coefficients(coefficients))
        restored = coefficients.values().reshape(layer.canonical_shape)
        plain.arrays[homes[layer.name]] = layer.from_canonical(restored)
    return model, plain, builder.finish()


@pytest.mark.parametrize("case", STORABLE, ids=str)
def test_stored_weights_compute_what_the_restored_ones_do(case: Case, tmp_path: Path) -> None:
    model, plain, _ = store_all(case.write(tmp_path))
    for seed in (0, 1):
        feeds = case.feeds(seed)
        assert_close(run(to_proto(model), feeds), run(to_proto(plain), feeds))
        assert_identical(run(to_proto(model), feeds, BASIC), run(to_proto(plain), feeds, BASIC))


@pytest.mark.parametrize("case", STORABLE, ids=str)
def test_optimised_graph_is_the_original_one(case: Case, tmp_path: Path) -> None:
    """After BASIC optimisation no decode op remains: node for node it is the original's graph."""
    path = case.write(tmp_path)
    model, plain, _ = store_all(path)
    found, wanted = (
        optimised(to_proto(m), tmp_path / f"{i}.onnx") for i, m in enumerate((model, plain))
    )
    assert count_differences(structure(found), structure(wanted)) == 0


def optimised(proto: onnx.ModelProto, path: Path) -> bytes:
    open_session(proto, BASIC, saved=path)
    return path.read_bytes()


@pytest.mark.parametrize("case", STORABLE, ids=str)
def test_what_the_user_sees_survives(case: Case, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    original = case.build()
    model, _, n_decode = store_all(path)
    proto = to_proto(model)
    names = {t.name for t in original.graph.initializer}
    kept = [v for v in original.graph.input if v.name not in names or original.ir_version >= 4]
    assert list(proto.graph.input) == kept
    assert list(proto.graph.output) == list(original.graph.output)
    assert list(proto.opset_import) == list(original.opset_import)
    assert list(proto.metadata_props) == list(original.metadata_props)
    assert proto.doc_string == original.doc_string
    assert proto.graph.doc_string == original.graph.doc_string
    assert proto.graph.name == original.graph.name
    hoisted = {t for n in original.graph.node if n.op_type == "Constant" for t in n.output}
    rest = [n.name for n in original.graph.node if not set(n.output) & hoisted]
    assert [n.name for n in proto.graph.node[n_decode:] if n.op_type != "Constant"] == rest
    described = {v.name for v in proto.graph.value_info}
    assert all(output in described for n in proto.graph.node[:n_decode] for output in n.output)
    assert len(described) == len(proto.graph.value_info)


def test_unknown_domains_are_left_alone(tmp_path: Path) -> None:
    path = CASES["custom_domain"].write(tmp_path)
    model, _, n_decode = store_all(path)
    assert list(model.proto.graph.node[n_decode:]) == list(onnx.load(path).graph.node)


def test_shared_weight_is_changed_once(tmp_path: Path) -> None:
    model, _, n_decode = store_all(CASES["shared_weight"].write(tmp_path))
    made = [o for n in model.proto.graph.node[:n_decode] for o in n.output]
    assert made.count("weight") == 1
    readers = [n for n in model.proto.graph.node[n_decode:] if "weight" in n.input]
    assert len(readers) == 2


def builder_of(name: str, emit: Any = emit_plainly) -> tuple[Model, Layer, GraphBuilder]:
    model = read_model(CASES[name].build())
    layer = find_layers(model)[0][0]
    return model, layer, GraphBuilder(model, [layer], emit)


def test_weight_and_another_node_may_read_one_stored_value() -> None:
    model, layer, builder = builder_of("matmul_right")
    value = builder.coefficients(Coefficients(np.ones((48, 64), np.int32), np.ones((48, 1), np.float32)))
    turned = builder.node("Transpose", [value], (64, 48), np.float32, perm=(1, 0))
    back = builder.node("Transpose", [turned], (48, 64), np.float32, perm=(1, 0))
    builder.replace_weight(layer, builder.node("Mul", [value, back], (48, 64), np.float32))
    builder.finish()
    feeds = CASES["matmul_right"].feeds()
    (found,) = run(to_proto(model), feeds).values()
    np.testing.assert_allclose(found, np.repeat(feeds["x"].sum(-1, keepdims=True), 48, -1), rtol=1e-5)


@pytest.mark.parametrize("name", ["gemm_transA0_transB1_alpha1_beta1", "matmul_left"])
def test_weight_may_be_a_plain_constant_and_read_elsewhere(name: str) -> None:
    """Canonical layouts need no Reshape or Transpose, so the value itself takes the weight's name."""
    model, layer, builder = builder_of(name)
    assert layer.layout.is_canonical
    builder.replace_weight(layer, builder.constant(layer.canonical().reshape(layer.weight.shape)))
    builder.finish()
    feeds = CASES[name].feeds()
    assert_identical(run(to_proto(model), feeds), run(CASES[name].build(), feeds))


def test_two_weights_may_be_one_value() -> None:
    case = CASES["two_layer_perceptron"]
    model = read_model(CASES["duplicate_weights"].build())
    layers, _ = find_layers(model)
    builder = GraphBuilder(model, layers, emit_plainly)
    shape = tuple(layers[0].weight.shape[a] for a in layers[0].layout.order)
    value = builder.constant(layers[0].canonical().reshape(shape))
    value = builder.reshape(value, shape)
    for layer in layers:
        builder.replace_weight(layer, value)
    builder.finish()
    case = CASES["duplicate_weights"]
    feeds = case.feeds()
    assert_identical(run(to_proto(model), feeds), run(case.build(), feeds))


def test_stored_value_may_be_decoded_by_a_constant_alone() -> None:
    """A decoder that stores floats as they are returns the name of a constant."""

    def emit(items: Any, builder: Any, moves: Any) -> list[str]:
        pairs = zip(items, moves, strict=True)
        return [builder.constant(moved(item.values(), own)) for item, own in pairs]

    model, layer, builder = builder_of("gemm_transA0_transB1_alpha1_beta1", emit)
    rows = layer.canonical()[0]
    coefficients = Coefficients(np.ones(rows.shape, np.int32), np.asarray(rows))
    builder.replace_weight(layer, builder.coefficients(coefficients))
    builder.finish()
    case = CASES["gemm_transA0_transB1_alpha1_beta1"]
    assert_identical(run(to_proto(model), case.feeds()), run(case.build(), case.feeds()))


def test_split_at_opsets_before_and_after_13() -> None:
    for name in ("opset_11", "opset_13"):
        model, layer, builder = builder_of(name)
        flat = builder.constant(layer.canonical().reshape(1, 16, -1))
        parts = builder.split(flat, [(1, 4, 72), (1, 12, 72)], np.float32, axis=1)
        builder.replace_weight(layer, builder.node("Concat", parts, (1, 16, 72), np.float32, axis=1))
        builder.finish()
        feeds = CASES[name].feeds()
        assert_identical(run(to_proto(model), feeds), run(CASES[name].build(), feeds))
