"""Chains in a model and alone: they answer as the nodes that they stand for, whatever these say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxzip.graph import (
    INPUT,
    Model,
    find_layers,
    find_sites,
    lone_node,
    read_model,
    to_proto,
    with_chains,
)
from onnxzip.records.aliases import RunForm
from onnxzip.records.layer import Layer, Statistics
from onnxzip.transforms.chains import Chain, reason_against, stages, whole
from onnxzip.transforms.factorisation import Kernel, product
from tests.casebook.kit import Draft, value
from tests.graph.running import open_session, run

GEOMETRIES: tuple[Mapping[str, Any], ...] = (
    {},
    {"strides": (2, 3), "pads": (1, 2, 0, 1), "dilations": (2, 1)},
    {"strides": (2, 1), "auto_pad": "SAME_UPPER"},
    {"strides": (1, 2), "auto_pad": "SAME_LOWER"},
    {"strides": (3, 2), "auto_pad": "VALID"},
)
ALL = ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def layer_of(model: Model) -> Layer:
    return next(layer for layer in find_layers(model)[0] if layer.name == "w")


def full_chain(layer: Layer, method: str) -> Chain:
    """A chain of full rank, or of all that there is of both ranks."""
    _, n_out, n_in, taps = layer.sizes
    kernel = Kernel(
        layer.canonical().reshape(n_out, n_in, *taps),
        Statistics(np.eye(layer.n_columns, dtype=np.float32), 99),
    )
    rank, rank_in = kernel.max_rank(method), n_in if method == "tucker" else 0  # type: ignore[arg-type]
    factors = kernel.factors(method, rank, rank_in)  # type: ignore[arg-type]
    settings = {"method": method, "rank": rank, "rank_in": rank_in}
    return Chain(layer, stages(layer, settings), factors)


def assert_alike(before: Model, after: Model, feeds: Mapping[str, Any]) -> None:
    first, second = (run(to_proto(model), feeds) for model in (before, after))
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, atol=1e-4 * np.abs(array).max())


def conv_model(attributes: Mapping[str, Any], bias: bool, *shape: int) -> onnx.ModelProto:
    draft = Draft()
    operands = ["x", draft.weight("w", *shape), *([draft.weight("b", shape[0])] if bias else [])]
    draft.add("Conv", operands, "h", **attributes)
    draft.add("Relu", ["h"], "y")
    free = [None] * (len(shape) - 2)
    return draft.model([value("x", ["n", shape[1], *free])], [value("y", None)])


@pytest.mark.parametrize("attributes", GEOMETRIES, ids=str)
@pytest.mark.parametrize("method", ["out", "in", "spatial", "tucker"])
def test_conv_chains_are_exact_for_every_geometry(method: str, attributes: Mapping[str, Any]) -> None:
    model = read_model(conv_model(attributes, True, 12, 10, 3, 2))
    layer = layer_of(model)
    assert reason_against(layer) == ""
    changed = with_chains(model, [full_chain(layer, method)])
    assert Counter(n.op_type for n in changed.proto.graph.node)["Conv"] == (
        3 if method == "tucker" else 2
    )
    assert "w" not in {t.name for t in changed.proto.graph.initializer}
    data = np.random.default_rng(1).standard_normal((2, 10, 11, 10), np.float32)
    assert_alike(model, changed, {"x": data})


@pytest.mark.parametrize("kernel", [(5,), (2, 3, 2)], ids=str)
def test_conv_chains_in_one_and_three_dimensions(kernel: tuple[int, ...]) -> None:
    n = len(kernel)
    attributes = {"strides": (2,) * n, "pads": (1,) * (2 * n)}
    model = read_model(conv_model(attributes, False, 9, 16, *kernel))
    data = np.random.default_rng(1).standard_normal((1, 16, *(9,) * n), np.float32)
    layer = layer_of(model)
    for method in ("out", "in", "tucker", *(("spatial",) if n > 1 else ())):
        assert_alike(model, with_chains(model, [full_chain(layer, method)]), {"x": data})


def gemm_model(trans_a: int, trans_b: int, bias: bool) -> onnx.ModelProto:
    draft = Draft()
    weight = draft.weight("w", *((24, 18) if trans_b else (18, 24)))
    operands = ["x", weight, *([draft.weight("b", 24)] if bias else [])]
    settings = {"transA": trans_a, "transB": trans_b, "alpha": 0.5, "beta": -3.0}
    draft.add("Gemm", operands, "y", **settings)
    return draft.model([value("x", [18, "n"] if trans_a else ["n", 18])], [value("y", ["n", 24])])


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_gemm_chains_keep_every_attribute(trans_a: int, trans_b: int, bias: bool) -> None:
    """The last node makes the graph's output under its own name."""
    model = read_model(gemm_model(trans_a, trans_b, bias))
    shape = (18, 5) if trans_a else (5, 18)
    layer = layer_of(model)
    changed = with_chains(model, [full_chain(layer, "out")])
    assert [n.op_type for n in changed.proto.graph.node] == ["Gemm", "Gemm"]
    assert_alike(model, changed, {"x": np.random.default_rng(1).standard_normal(shape, np.float32)})


@pytest.mark.parametrize("is_left", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matmul_chains_on_both_sides_and_for_all_readers(is_left: bool, dtype: type) -> None:
    draft = Draft()
    weight = draft.weight("w", *((20, 18) if is_left else (18, 20)), dtype=dtype)
    for source, made in (("x", "y"), ("z", "u")):
        draft.add("MatMul", [weight, source] if is_left else [source, weight], made)
    shape = (2, 18, 3) if is_left else (2, 3, 18)
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = [value(name, shape, element) for name in "xz"], [value(n, None, element) for n in "yu"]
    model = read_model(draft.model(*values))
    layer = layer_of(model)
    assert [s.operand.value for s in find_sites(model, [layer])["w"]] == ["x", "z"]
    changed = with_chains(model, [full_chain(layer, "out")])
    assert [n.op_type for n in changed.proto.graph.node] == ["MatMul"] * 4
    assert len(changed.proto.graph.initializer) == 2
    rng = np.random.default_rng(1)
    assert_alike(model, changed, {n: rng.standard_normal(shape).astype(dtype) for n in "xz"})


def test_groups_and_other_readers_have_no_chain() -> None:
    model = read_model(conv_model({"group": 2}, False, 8, 8, 3, 3))
    assert "group 2" in reason_against(layer_of(model))
    draft = Draft()
    weight = draft.weight("w", 18, 24)
    draft.add("Gemm", ["x", weight], "y")
    draft.add("Identity", [weight], "z")
    both = read_model(draft.model([value("x", [3, 18])], [value(n, None) for n in "yz"]))
    assert find_sites(both, [layer_of(both)])["w"] == []


def test_a_weight_on_the_left_of_a_gemm_has_no_site() -> None:
    draft = Draft()
    draft.add("Gemm", [draft.weight("w", 20, 18), "x"], "y", transB=1)
    model = read_model(draft.model([value("x", [5, 18])], [value("y", None)]))
    assert find_sites(model, [layer_of(model)])["w"] == []


def test_a_weight_that_meets_a_constant_has_no_site() -> None:
    draft = Draft()
    draft.add("MatMul", [draft.weight("c", 5, 18), draft.weight("w", 18, 24)], "p")
    draft.add("Add", ["p", "x"], "y")
    model = read_model(draft.model([value("x", [5, 24])], [value("y", None)]))
    assert find_sites(model, [layer_of(model)])["w"] == []


def test_sites_say_what_is_around_a_node() -> None:
    model = read_model(conv_model({}, True, 8, 8, 3, 3))
    (site,) = find_sites(model, [layer_of(model)])["w"]
    assert (site.operand.value, site.has_bias, site.is_rectified) == ("x", True, True)
    model = read_model(gemm_model(0, 1, False))
    (site,) = find_sites(model, [layer_of(model)])["w"]
    assert (site.operand.value, site.has_bias, site.is_rectified) == ("x", False, False)


def ops_of(model: Model, folder: Path) -> list[str]:
    """The operators of a model as a session runs it."""
    path = folder / "optimised.onnx"
    open_session(to_proto(model), ALL, path)
    return [node.op_type for node in onnx.load(path).graph.node]


_LAYOUT = ("Transpose", "ReorderInput", "ReorderOutput")
"""Between the order that kernels want and that of inputs and outputs."""

FUSED: tuple[tuple[str, RunForm, Sequence[str]], ...] = (
    ("Conv", "int8", ["QLinearConv"]),
    ("Gemm", "int8", ["QGemm"]),
    ("Gemm", "float32", ["Gemm"]),
    ("MatMul", "float32", ["MatMul"]),
    ("MatMul", "dynamic int8", ["DynamicQuantizeMatMul"]),
)


@pytest.mark.parametrize(("op_type", "form", "kernels"), FUSED, ids=str)
def test_what_is_timed_alone_is_fused_as_in_a_model(
    op_type: str, form: RunForm, kernels: Sequence[str], tmp_path: Path
) -> None:
    """Every stage of a chain, and the node itself, becomes one kernel of what it computes in."""
    draft = Draft()
    if op_type == "Conv":
        proto, shape = conv_model({"pads": (1, 1, 1, 1)}, True, 16, 12, 3, 3), (1, 12, 9, 9)
    elif op_type == "Gemm":
        draft.add("Gemm", ["x", draft.weight("w", 24, 18), draft.weight("b", 24)], "y", transB=1)
        proto, shape = draft.model([value("x", [5, 18])], [value("y", [5, 24])]), (5, 18)
    else:
        draft.add("MatMul", ["x", draft.weight("w", 18, 24)], "y")
        proto, shape = draft.model([value("x", [5, 18])], [value("y", [5, 24])]), (5, 18)
    model = read_model(proto)
    layer = layer_of(model)
    (site,) = find_sites(model, [layer])["w"]
    fed = np.zeros(shape, np.uint8 if form == "int8" else np.float32)
    n_out, n_in = layer.sizes[1:3]
    own = Chain(layer, (whole(layer),), (layer.canonical().reshape(n_out, n_in, *layer.sizes[3]),))
    for chain in (own, full_chain(layer, "out")):
        alone = lone_node(chain, site, fed, form)
        found = [op for op in ops_of(alone, tmp_path) if op not in _LAYOUT]
        assert found == list(kernels) * len(chain.stages)
    (same,) = run(to_proto(lone_node(None, site, fed, form)), {INPUT: fed}).values()
    np.testing.assert_array_equal(same, fed)


def test_a_node_alone_answers_as_in_its_model() -> None:
    model = read_model(conv_model({"strides": (2, 1), "pads": (1, 0, 1, 0)}, False, 16, 12, 3, 3))
    layer = layer_of(model)
    (site,) = find_sites(model, [layer])["w"]
    data = np.random.default_rng(1).standard_normal((1, 12, 9, 9), np.float32)
    chain = full_chain(layer, "in")
    alone = lone_node(chain, site, data, "float32")
    expected = run(to_proto(model), {"x": data})["y"]
    (found,) = run(to_proto(alone), {INPUT: data}).values()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(product(chain.factors), layer.weight, atol=1e-4)
