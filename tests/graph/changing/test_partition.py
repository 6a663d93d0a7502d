"""Partitions: run one after another they are the whole model; what may be fitted again is told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxzip.graph import (
    Model,
    PartitionedModel,
    find_layers,
    partition_model,
    read_model,
    with_constants,
)
from tests.test_models import MODELS
from tests.textmodels import model_from_text

RNG = np.random.default_rng(0)

RESIDUAL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 16] x, bool late) => (float[n, 16] y, float[n, 16] z)
<float[16, 24] w1, float[24] b1, float[24, 16] w2, float[1, 16] b2, float[16, 16] w3, float[16] b3,
 float[16, 16] shared>
{
    h1 = Gemm(x, w1, b1)
    r1 = Relu(h1)
    m2 = MatMul(r1, w2)
    h2 = Add(b2, m2)
    s2 = Add(h2, x)
    t = Tanh(s2)
    h3 = MatMul(t, w3)
    y = Add(h3, b3)
    a = MatMul(t, shared)
    b = MatMul(a, shared)
    z = If(late) <
        then_branch = then_g () => (float[n, 16] u) { u = Add(b, h3) },
        else_branch = else_g () => (float[n, 16] v) { v = Sub(b, y) }
    >
}
"""


def make_model(text: str) -> Model:
    return read_model(model_from_text(text))


def cut(model: Model) -> PartitionedModel:
    layers, _ = find_layers(model)
    return partition_model(model, layers, {layer.name for layer in layers})


def cut_body(body: str, constants: str, n_rows: int = 16) -> PartitionedModel:
    """Cut a graph of a few nodes, written in one line, from x to y."""
    lines = body.replace(") ", ")\n")
    return cut(
        make_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[{n_rows}, 16] x) => (float[{n_rows}, 16] y) <{constants}> {{ {lines} }}""")
    )


def outputs_of(model: Model, feeds: dict[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
    """Run a model with the named values as its outputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.arrays:
            tensor.CopyFrom(onnx.numpy_helper.from_array(model.arrays[tensor.name], tensor.name))
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    known = {value.name for value in proto.graph.input}
    return [np.asarray(v) for v in session.run(names, {k: v for k, v in feeds.items() if k in known})]


def check_chain(model: Model, feeds: dict[str, np.ndarray]) -> PartitionedModel:
    """Run one partition after another; compare each target and value on the way with the whole model."""
    partitioned = cut(model)
    values = dict(feeds)
    for partition in partitioned.partitions:
        assert set(partition.reads) <= set(values)
        built = partitioned.build(partition, {name: values[name].dtype for name in partition.reads})
        names = list(dict.fromkeys([*([partition.target] if partition.layer else []), *partition.makes]))
        found = outputs_of(built, values, names)
        for name, array in zip(names, outputs_of(model, feeds, names), strict=True):
            np.testing.assert_allclose(found[names.index(name)], array, rtol=1e-4, atol=1e-5)
        values.update(zip(names, found, strict=True))
    return partitioned


@pytest.mark.parametrize("late", [True, False])
def test_partitions_are_the_whole_model(late: bool) -> None:
    x = RNG.standard_normal((5, 16)).astype(np.float32)
    partitioned = check_chain(make_model(RESIDUAL), {"x": x, "late": np.array(late)})
    found = [(partition.layer, partition.target, partition.bias) for partition in partitioned.partitions]
    # w3's product is read by an If as well, the shared weight by two nodes: the one ends there, and the
    # other is no partition.
    assert found == [("w1", "h1", "b1"), ("w2", "s2", "b2"), ("w3", "h3", "")]


@pytest.mark.parametrize("name", ["digits_cnn", "digits_autoencoder", "digits_attention", "digits_gru"])
def test_partitions_of_real_models(name: str) -> None:
    path: Path = MODELS / f"{name}.onnx"
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    x = RNG.standard_normal([n if isinstance(n, int) else 3 for n in spec.shape]).astype(np.float32)
    assert check_chain(read_model(path), {spec.name: x}).partitions


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Gemm <alpha = 0.5> (x, w, b)", "a factor"),
        ("y = Gemm <transA = 1> (x, w, b)", "a transposed input"),
        ("y = MatMul(w, x)", "a weight on the left"),
        ("v = Transpose(w) y = MatMul(x, v)", "a weight that is turned first"),
        ("v = MatMul(x, w) u = MatMul(v, w) y = Add(u, b)", "two readers"),
    ],
)
def test_what_is_no_plain_product_is_no_partition(body: str, reason: str) -> None:
    assert not cut_body(body, "float[16, 16] w, float[16] b").partitions, reason


@pytest.mark.parametrize(
    ("body", "bias"),
    [
        ("h = MatMul(x, w) y = Add(h, b)", "b"),
        ("h = MatMul(x, w) y = Sub(h, b)", ""),
        ("h = MatMul(x, w) v = Add(h, b) y = Mul(v, b)", ""),  # read twice
        ("h = MatMul(x, w) y = Add(h, per_row)", ""),
        ("h = MatMul(x, w) y = Add(h, one)", ""),
        ("h = MatMul(x, w) v = Add(h, one) y = Add(v, b)", "b"),
        ("y = Gemm(x, w, per_row)", ""),
    ],
)
def test_biases(body: str, bias: str) -> None:
    constants = "float[16, 16] w, float[16] b, float[8, 1] per_row, float[1] one"
    partitioned = cut_body(body, constants, n_rows=8)
    assert [partition.bias for partition in partitioned.partitions] == [bias]
    assert set(partitioned.biases) == ({bias} - {""})


def test_a_bias_of_a_convolution_lies_along_its_channels() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 4, 8, 8] x) => (float[n, 8, 8, 8] y)
        <float[8, 4, 3, 3] w, float[8] along_width, float[8, 1, 1] along_channels>
        {{
            c = Conv <pads = [1, 1, 1, 1]> (x, w)
            y = Add(c, {})
        }}"""
    assert cut(make_model(text.format("along_width"))).partitions[0].bias == ""
    assert cut(make_model(text.format("along_channels"))).partitions[0].bias == "along_channels"


def test_constants_are_replaced_wherever_they_are_kept() -> None:
    model = make_model(RESIDUAL)
    model.arrays.setdefault("b1", np.zeros(24, np.float32))
    news = {"b1": np.full(24, 2, np.float32), "b3": np.full(16, 3, np.float32)}
    changed = with_constants(model, news)
    feeds = {"x": RNG.standard_normal((2, 16)).astype(np.float32), "late": np.array(True)}
    before, after = (outputs_of(m, feeds, ["h3", "y"]) for m in (changed, changed))
    np.testing.assert_allclose(after[1] - after[0], 3, atol=1e-5)
    assert np.array_equal(before[0], after[0])
    assert with_constants(model, {}) is model
    assert not np.array_equal(model.arrays["b1"], news["b1"])
