"""Second moments: patches against onnxruntime's own convolutions, moments against their definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxzip
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.graph import Model, Operand, find_layers, read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.damping import DAMPING, SPATIAL_DAMPING, damped, noise_share
from onnxzip.measure.moments.distortion import RowDistortion
from onnxzip.measure.moments.patches import patches
from onnxzip.measure.moments.sampled_columns import ColumnView, OuterSum
from onnxzip.measure.moments.second_moments import LayerStatistics, _MomentSum, collect_statistics
from onnxzip.passbase import Pass
from onnxzip.propose import registry
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.plan import Candidate
from tests.test_models import MODELS

RNG = np.random.default_rng(0)


def run_node(node: onnx.NodeProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Run one node in onnxruntime."""
    values = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in inputs.items()]
    output = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([node], "g", values, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return np.asarray(
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, inputs
        )[0]
    )


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"),
    [
        ((2, 3, 9, 8), (4, 3, 3, 2), {"strides": (2, 1), "pads": (1, 0, 2, 1)}),
        ((2, 4, 9, 9), (6, 2, 3, 3), {"group": 2, "dilations": (2, 1)}),
        ((1, 3, 7, 8), (2, 3, 3, 3), {"auto_pad": "SAME_LOWER", "strides": (2, 2)}),
        ((1, 3, 7, 8), (2, 3, 2, 2), {"auto_pad": "SAME_UPPER", "strides": (1, 3)}),
        ((3, 2, 20), (5, 2, 4), {"strides": (3,), "auto_pad": "VALID"}),
        ((1, 2, 5, 6, 4), (3, 2, 2, 3, 1), {"pads": (1, 0, 0, 0, 1, 0)}),
    ],
)
def test_patches_are_what_kernels_meet(
    shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, object]
) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    w = RNG.standard_normal(kernel).astype(np.float32)
    y = run_node(helper.make_node("Conv", ["x", "w"], ["y"], **attributes), {"x": x, "w": w})
    found = patches(x, kernel[2:], "Conv", attributes, 10**6, RNG)[0]  # type: ignore[arg-type]
    group = int(attributes.get("group", 1))  # type: ignore[call-overload]
    columns = found.reshape(-1, group, found.shape[1])
    weights = w.reshape(group, kernel[0] // group, -1)
    expected = np.moveaxis(y, 1, -1).reshape(len(columns), group, -1)
    np.testing.assert_allclose(np.einsum("ngk,gok->ngo", columns, weights), expected, atol=1e-4)


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_patches_of_a_transposed_convolution(strides: tuple[int, int]) -> None:
    x = RNG.standard_normal((1, 3, 5, 4)).astype(np.float32)
    w = RNG.standard_normal((3, 2, 3, 3)).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=strides)
    y = run_node(node, {"x": x, "w": w})
    found = patches(x, (3, 3), "ConvTranspose", {"strides": strides}, 10**6, RNG)[0]
    plane = w.transpose(0, 2, 3, 1).reshape(-1, 2)
    np.testing.assert_allclose(found @ plane, np.moveaxis(y, 1, -1).reshape(-1, 2), atol=1e-4)


def test_patches_are_as_many_as_asked_for() -> None:
    x = RNG.standard_normal((4, 2, 9, 9)).astype(np.float32)
    assert patches(x, (3, 3), "Conv", {}, 11, RNG)[0].shape == (11, 18)
    assert not patches(x, (3, 3, 3), "Conv", {}, 11, RNG)[0].size
    assert not patches(x, (30, 3), "Conv", {}, 11, RNG)[0].size


@pytest.mark.parametrize("transposed", [0, 1])
def test_moment_of_shared_matrices(transposed: int) -> None:
    """A Gemm and a MatMul that read the same weight: their inputs are averaged over."""
    w = RNG.standard_normal((24, 16) if transposed else (16, 24)).astype(np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["a"], transB=transposed)]
    nodes += [helper.make_node("Tanh", ["x"], ["t"])]
    nodes += [helper.make_node("Gemm", ["t", "w"], ["b"], transB=transposed)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 16))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n", 24)) for n in "ab"],
        [numpy_helper.from_array(w, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = read_model(proto)
    layers, _ = find_layers(model)
    x = RNG.standard_normal((500, 16)).astype(np.float32) * np.geomspace(0.01, 1, 16, dtype=np.float32)
    feeds = FeedSet(({"x": x[:200]}, {"x": x[200:]}), (200, 300), is_like_real=True)
    measured, skips = collect_statistics(model, layers, feeds, None, lambda _: None)
    found = measured.statistics
    both = np.concatenate([x, np.tanh(x)])
    expected = both.T @ both / 1000
    expected += DAMPING * np.trace(expected) / 16 * np.eye(16)
    assert not skips
    assert found["w"].n_samples == 1000
    np.testing.assert_allclose(found["w"].second_moment, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_columns", "n_vectors"), [(20, 4000), (60, 300), (200, 100)])
def test_few_vectors_are_damped_as_is_best(n_columns: int, n_vectors: int) -> None:
    """Scaled to the same trace, hardly any other damping comes nearer to the true moment."""
    rng = np.random.default_rng(n_columns)
    mixing = rng.standard_normal((n_columns, n_columns)) * np.geomspace(0.03, 1, n_columns)[:, None]
    true = mixing.T @ mixing
    x = (rng.standard_normal((n_vectors, n_columns)) @ mixing).astype(np.float32)
    total = OuterSum(n_columns)
    total.add(x[:7])
    total.add(x[7:])
    assert total.n_vectors == n_vectors
    assert total.fourth == pytest.approx(np.square(np.square(x, dtype=float).sum(1)).sum(), rel=1e-4)
    moment = total.total() / np.float32(n_vectors)
    level = np.trace(moment) / n_columns

    def distance(share: float) -> float:
        mixed = (moment + share * level * np.eye(n_columns)) / (1 + share)
        return float(np.linalg.norm(mixed - true))

    share = noise_share(moment, n_vectors, total.fourth / n_vectors)
    assert distance(share) <= 1.05 * min(distance(s) for s in np.geomspace(1e-4, 10, 60))
    damped_moment = damped(moment, n_vectors, share)
    assert damped_moment is not None
    added = np.diag(damped_moment.second_moment - moment) / level
    np.testing.assert_allclose(added, max(share, DAMPING), rtol=1e-2)


def test_noise_alone_is_damped_by_as_much_again() -> None:
    x = RNG.standard_normal((50, 100)).astype(np.float32)
    moment = (x.T @ x / 50).astype(np.float32)
    assert noise_share(moment, 50, float(np.square(np.square(x).sum(1)).mean())) == 1.0


def test_generated_inputs_tell_how_alike_neighbours_are_and_no_more() -> None:
    model = read_model(MODELS / "digits_cnn.onnx")
    layers, _ = find_layers(model)
    smooth = np.cumsum(RNG.standard_normal((40, 1, 8, 8)), axis=3).astype(np.float32)
    feeds = FeedSet(({model.proto.graph.input[0].name: smooth},), (40,), seed=0)
    measured, skips = collect_statistics(model, layers, feeds, None, lambda _: None)
    assert not skips
    assert not measured.row_weights
    kernels = {layer.name: layer for layer in layers if int(np.prod(layer.sizes[3])) > 1}
    assert set(measured.statistics) == set(kernels)
    for name, found in measured.statistics.items():
        n_inner, k = kernels[name].sizes[2], int(np.prod(kernels[name].sizes[3]))
        assert (found.n_blocks, found.second_moment.shape) == (n_inner, (k, k))
    (first,) = (la for la in kernels.values() if la.sizes[2] == 1)
    vectors = patches(smooth, (3, 3), "Conv", {"pads": (1, 1, 1, 1)}, 10**6, RNG)[0].astype(float)
    expected = vectors.T @ vectors / len(vectors)
    expected += SPATIAL_DAMPING * np.trace(expected) / 9 * np.eye(9)
    np.testing.assert_allclose(measured.statistics[first.name].second_moment, expected, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e20, 1e-20])
def test_extreme_weights_are_rounded_without_a_moment(scale: float) -> None:
    """Whatever the units that a model computes in: no product of a moment and weights overflows."""
    first = (RNG.standard_normal((64, 96)) * scale).astype(np.float32)
    second = (RNG.standard_normal((96, 32)) / scale / 10).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 64))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 32))],
        [numpy_helper.from_array(w, n) for w, n in ((first, "first"), (second, "second"))],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = RNG.standard_normal((128, 64)).astype(np.float32)
    report = onnxzip.compress(proto, calibration={"x": x}, tolerance=0.2).report
    assert {skip.layer for skip in report.skips if "squares leave float32" in skip.reason}
    assert len(report.layers) == 2
    assert report.ratio > 4


@pytest.mark.parametrize(
    ("peak", "level", "is_kept"),
    [
        (1, 1, True),
        (2.0**39, 1, True),
        (2.0**41, 1, False),
        (2.0**-41, 1, False),
        (2.0**21, 2.0**40, False),
    ],
)
def test_no_moment_where_products_could_leave_float32(peak: float, level: float, is_kept: bool) -> None:
    layer = Layer("w", "Gemm", np.full((3, 2), peak, np.float32), Layout((), (1,), (0,), ()))
    found = damped(np.eye(3, dtype=np.float32) * np.float32(level), 100)
    assert found is not None
    attached = LayerStatistics({"w": found}).attach(layer)
    assert (attached.statistics is found) == is_kept


def test_values_of_another_width_or_that_are_not_finite_are_left_out() -> None:
    """As where a weight's operand is broadcast, or a mask is infinite."""
    total = _MomentSum(ColumnView(Operand("x", "Gemm", 1, ()), (), 3), by_channel=False)
    for vectors in (np.ones((5, 4)), np.full((5, 3), np.inf)):
        total.add(vectors.astype(np.float32))
        assert total.sum.n_vectors == 0
    total.add(np.ones((5, 3), np.float32))
    assert total.sum.n_vectors == 5


def test_generated_inputs_tell_nothing_of_matrices() -> None:
    model, layers = make_table(40)
    feeds = FeedSet(({"ids": np.array([1, 1, 3])},), (3,), seed=0)
    measured, skips = collect_statistics(model, layers, feeds, None, lambda _: None)
    assert not measured.statistics
    assert not measured.row_weights
    assert not skips


def make_table(n_rows: int) -> tuple[Model, list[Layer]]:
    """A table whose rows are read by the graph's input and, from behind, by a computed index."""
    table = RNG.standard_normal((n_rows, 32)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Neg", ["ids"], ["back"]),
        helper.make_node("Gather", ["table", "back"], ["b"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ("n",))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n", 32)) for n in "ab"],
        [numpy_helper.from_array(table, "table")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = read_model(proto)
    return model, list(find_layers(model)[0])


def test_rows_of_a_table_are_counted() -> None:
    model, layers = make_table(40)
    feeds = FeedSet(({"ids": np.array([1, 1, 3])}, {"ids": np.array([0, 1])}), (3, 2), is_like_real=True)
    measured, skips = collect_statistics(model, layers, feeds, None, lambda _: None)
    counts = np.zeros(40)
    counts[[0, 1, 3]] = 2, 3, 1
    counts[[39, 37]] = 3, 1  # -1 and -3
    assert not skips
    (layer,) = (measured.attach(layer) for layer in layers)
    assert layer.statistics is None
    np.testing.assert_allclose(layer.row_weights, 0.5 * counts / counts.mean() + 0.5, rtol=1e-6)


def test_error_of_a_table_is_that_of_the_rows_as_they_are_read() -> None:
    table = RNG.standard_normal((6, 4)).astype(np.float32)
    other = table.copy()
    other[2] *= 1.5
    reads = np.array([2, 2, 5, 2])
    weights = np.bincount(reads, minlength=6).astype(np.float32)
    expected = np.linalg.norm(table[reads] - other[reads]) / np.linalg.norm(table[reads])
    assert RowDistortion(table, weights)(other) == pytest.approx(expected, rel=1e-5)
    assert RowDistortion(table, np.zeros(6, np.float32))(other) == 0


def test_codewords_go_where_rows_are_read() -> None:
    _, layers = make_table(3000)
    weights = np.full(3000, 0.5, np.float32)
    weights[:6] = 250.5
    weighted = replace(layers[0], row_weights=weights)
    settings = {"vector": 4, "codewords": 64, "row_scales": False, "seed": 0, "feedback": False}
    compression = registry.passes()["codebook"]()
    assert isinstance(compression, Pass)
    errors = []
    for layer in (layers[0], weighted):
        encoded = compression.encode(layer, settings, FixedRate())
        restored = compression.restore(Candidate(layer, "codebook", settings, 0, 0.0, encoded=encoded))
        errors.append(RowDistortion(layer.canonical(), weights)(restored))
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", ["digits_cnn", "digits_gru", "digits_autoencoder", "digits_attention"])
def test_calibrated_models(name: str, tmp_path: Path) -> None:
    """Every way in which a weight is read has its statistics, and the file is proved.

    At level 2; tests/regression compresses the same models with data at level 6.
    """
    path, out = MODELS / f"{name}.onnx", tmp_path / "out.onnx"
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    shape = [n if isinstance(n, int) else 64 for n in spec.shape]
    data = np.abs(RNG.standard_normal(shape)).astype(np.float32)
    result = onnxzip.compress(
        path, out, calibration={spec.name: data}, passes=("scalar", "dct"), level=2
    )
    assert all(check.passed for check in result.report.checks)
    assert result.report.ratio > 3
    restored = ort.InferenceSession(out, providers=["CPUExecutionProvider"]).run(None, {spec.name: data})
    for expected, actual in zip(session.run(None, {spec.name: data}), restored, strict=True):
        assert np.linalg.norm(expected - actual) <= 0.1001 * np.linalg.norm(expected)
