"""Every weight is found wherever it sits, with the right meaning of its axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.graph import find_layers, read_model
from onnxzip.graph.reading.weights import find_weights
from onnxzip.records.elements.exact import is_exact
from onnxzip.records.layer import Layer, Layout
from tests.cases import CASES, Case

# Weights of at least 1,024 numbers that are refused, by case: everything else has to be a layer.
REFUSED = {
    "if_branch_returns_weight": {"node_y/1/then_y": "graph output"},
    "ir8_overridable_initializers": {"weight": "overridable"},
    "initializers_under_inputs": {"weight": "overridable"},
    "weight_is_output": {"weight": "graph output"},
    "unused_weight": {"unused": "no node reads it"},
    "infinite_mask": {"mask": "NaN or Inf"},
}
LAYOUTS = {
    "conv1d": Layout((), (0,), (1,), (2,)),
    "conv2d_groups": Layout((), (0,), (1,), (2, 3)),
    "conv3d": Layout((), (0,), (1,), (2, 3, 4)),
    "conv_transpose2d_groups": Layout((), (1,), (0,), (2, 3)),
    "gemm_transA1_transB0_alpha1_beta1": Layout((), (1,), (0,), ()),
    "gemm_transA0_transB1_alpha1_beta1": Layout((), (0,), (1,), ()),
    "gemm_constant_left": Layout((), (0,), (1,), ()),
    "matmul_right": Layout((), (1,), (0,), ()),
    "matmul_left": Layout((), (0,), (1,), ()),
    "matmul_batched": Layout((0,), (2,), (1,), ()),
    "matmul_batched_broadcast": Layout((0, 1), (3,), (2,), ()),
    "matmul_left_batched": Layout((0,), (1,), (2,), ()),
    "gather_int64": Layout((), (0,), (1,), ()),
    "gather_axis1": Layout((), (1,), (0,), ()),
    "behind_transpose": Layout((), (0,), (1,), ()),
    "behind_cast": Layout((), (1,), (0,), ()),
    "bfloat16_cast": Layout((), (1,), (0,), ()),
    "constant_of_floats": Layout((), (), (0,), ()),
    "lstm_bidirectional": Layout((0,), (1,), (2,), ()),
}


def layers_of(case: Case, folder: Path) -> list[Layer]:
    return find_layers(read_model(case.write(folder)))[0]


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.finite], ids=str)
def test_every_weight_is_found_once(case: Case, tmp_path: Path) -> None:
    found, found_skips = find_layers(read_model(case.write(tmp_path)))
    layers = [layer for layer in found if not is_exact(layer.weight.dtype)]
    integers = {layer.name for layer in found} - {layer.name for layer in layers}
    skips = [s for s in found_skips if s.layer not in integers and "shape" not in s.reason]
    large = [layer for layer in layers if layer.weight.size >= 1024]
    refused = {skip.layer: skip.reason for skip in skips}
    assert set(refused) == set(REFUSED.get(case.name, {}))
    for name, reason in REFUSED.get(case.name, {}).items():
        assert reason in refused[name]
    assert len(large) + len(refused) == case.n_weights
    assert len({layer.name for layer in layers}) == len(layers)
    for layer in layers:
        assert not layer.weight.flags.writeable
        assert sorted(layer.layout.order) == list(range(layer.weight.ndim))
        narrow = layer.weight.astype(np.float32).astype(layer.weight.dtype)
        np.testing.assert_array_equal(layer.from_canonical(layer.canonical()), narrow)


@pytest.mark.parametrize(("name", "layout"), LAYOUTS.items(), ids=str)
def test_layout_says_what_the_axes_mean(name: str, layout: Layout, tmp_path: Path) -> None:
    assert layers_of(CASES[name], tmp_path)[0].layout == layout


def test_weights_have_the_values_of_the_model() -> None:
    proto = CASES["mixed_float_types"].build()
    layers, _ = find_layers(read_model(proto))
    for layer, tensor in zip(layers, proto.graph.initializer, strict=True):
        assert layer.name == tensor.name
        np.testing.assert_array_equal(layer.weight, numpy_helper.to_array(tensor))


def test_shared_weight_is_one_layer_with_all_its_consumers() -> None:
    model = read_model(CASES["shared_weight"].build())
    (layer,), _ = find_layers(model)
    (weight,) = (weight for weight in find_weights(model) if weight.name == layer.name)
    assert len(weight.uses) == 2
    assert layer.can_factorise


@pytest.mark.parametrize(
    "name",
    [
        *("shared_by_different_operators", "tied_embedding", "loop_captured", "if_captured_and_outside"),
        *("function_constant", "gather_int64", "lstm_forward", "conv_transpose2d", "behind_cast"),
    ],
)
def test_what_other_nodes_read_has_no_factors(name: str, tmp_path: Path) -> None:
    layers = layers_of(CASES[name], tmp_path)
    assert layers
    assert not any(layer.can_factorise for layer in layers)


def test_equal_node_names_give_different_weight_names() -> None:
    """Node names need not be unique, but layer names have to be."""
    proto = CASES["if_initializers"].build()
    second = onnx.NodeProto()
    second.CopyFrom(proto.graph.node[0])
    second.output[0] = "y2"
    proto.graph.node.append(second)
    proto.graph.output.append(helper.make_tensor_value_info("y2", TensorProto.FLOAT, None))
    layers, _ = find_layers(read_model(proto))
    assert len(layers) == 4
    assert len({layer.name for layer in layers}) == 4
