"""Integer tensors come back bit for bit: from numpy, from the graph, and through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from onnxzip import compress, decompress
from onnxzip.choose.lagrangian import Sensitivity, choose
from onnxzip.codec.emit.coded import emit_coded
from onnxzip.codec.emit.packed import emit_packed
from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.codec.variable_rate import VariableRate
from onnxzip.errors import ToleranceError, VerificationError
from onnxzip.graph import EmitStored, find_layers, read_model, to_proto
from onnxzip.passbase import NODE_OVERHEAD_BYTES, Codec
from onnxzip.propose.registry import passes
from onnxzip.prove.decoded_weights import check_decoded, decode_weights
from onnxzip.records.aliases import Array
from onnxzip.records.elements.exact import FLOAT8, FOUR_BITS, is_narrow
from onnxzip.records.layer import Layer, Layout
from onnxzip.records.plan import Candidate, Plan, Skip
from onnxzip.rewrite.emit import Emitter
from onnxzip.rewrite.restorer import Restorer
from tests.fakes import assert_same_payload

LOSSLESS = passes()["lossless"]()
EXAMPLES: tuple[Layer, ...] = LOSSLESS.examples
by_example = pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: layer.name)
NARROW = [layer for layer in EXAMPLES if is_narrow(layer.weight.dtype)]
PLAIN = [layer for layer in EXAMPLES if not is_narrow(layer.weight.dtype)]
LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def layer_of(weight: Array, **settings: object) -> Layer:
    inner = tuple(range(1, weight.ndim))
    return replace(Layer("w", "", weight, Layout((), (0,), inner, ())), **settings)


def offer_of(layer: Layer, codec: Codec | None = None) -> Candidate | Skip:
    (offer,) = LOSSLESS.candidates(layer, codec or VariableRate())
    return offer


def candidate_of(layer: Layer) -> Candidate:
    offer = offer_of(layer)
    assert isinstance(offer, Candidate), offer
    return offer


def gather_model(layer: Layer, opset: int = 17) -> onnx.ModelProto:
    """Return y = Gather(weight, x), which reads integers of any type."""
    dtype = helper.np_dtype_to_tensor_dtype(layer.weight.dtype)
    graph = helper.make_graph(
        [helper.make_node("Gather", [layer.name, "x"], ["y"])],
        "gather",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(np.array(layer.weight), layer.name)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def plan_of(candidate: Candidate) -> Plan:
    return choose(
        {candidate.layer.name: [candidate]},
        {candidate.layer.name: Sensitivity(((1.0, 1.0),))},
        0.1,
    )


def run(
    model: onnx.ModelProto, feeds: dict[str, Array], level: str = "all", path: str = ""
) -> list[Array]:
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = path
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def test_examples_have_every_type_and_coding() -> None:
    names = {layer.weight.dtype.name for layer in EXAMPLES}
    plain = {"int8", "uint8", "int16", "uint16", "int32", "int64", "uint32", "uint64", "bool"}
    assert names == plain | set(FOUR_BITS) | set(FLOAT8)
    codings = {candidate_of(layer).settings["coding"] for layer in EXAMPLES}
    assert codings == {"rows", "columns", "differences", "table"}


@by_example
def test_candidate_is_exact_and_keeps_the_contract(layer: Layer) -> None:
    candidate = candidate_of(layer)
    assert candidate.layer is layer
    assert (candidate.error, candidate.pass_name) == (0.0, "lossless")
    assert candidate.n_bytes < layer.n_bytes
    assert candidate.encoded is not None
    assert candidate.n_bytes >= VariableRate().n_bytes(candidate.encoded) + NODE_OVERHEAD_BYTES
    assert_same_payload(candidate.encoded, LOSSLESS.encode(layer, candidate.settings, VariableRate()))
    restored = LOSSLESS.restore(candidate)
    assert restored.shape == layer.canonical_shape
    assert restored.dtype == layer.weight.dtype
    np.testing.assert_array_equal(layer.from_canonical(restored), layer.weight)
    with pytest.raises(ValueError, match="payload"):
        LOSSLESS.restore(candidate.released())


def emitted_exactly(original: onnx.ModelProto, layer: Layer, emit: EmitStored) -> onnx.ModelProto:
    """Return the model with the layer coded, whose decoded weight is the same, to the last bit."""
    plan = plan_of(candidate_of(layer))
    restorer = Restorer({"lossless": LOSSLESS}, {layer.name: VariableRate()})
    emitter = Emitter(read_model(original), {"lossless": LOSSLESS}, restorer, emit, keeps_names=True)
    emitted = emitter.emit(plan)
    decoded = decode_weights(emitted.model, emitted.n_nodes)
    assert check_decoded(emitted, plan, decoded, restorer) == 0
    decoded[layer.name] = decoded[layer.name].copy()
    decoded[layer.name].reshape(-1).view(np.uint8)[-1] ^= 1
    assert check_decoded(emitted, plan, decoded, restorer) == np.inf
    return to_proto(emitted.model)


@pytest.mark.parametrize("emit", [emit_packed, emit_coded])
@pytest.mark.parametrize("opset", [11, 21])
@pytest.mark.parametrize("layer", PLAIN, ids=lambda layer: layer.name)
def test_graph_decodes_exactly_and_folds(
    layer: Layer, opset: int, emit: EmitStored, tmp_path: Path
) -> None:
    proto = emitted_exactly(gather_model(layer, opset), layer, emit)
    x = np.arange(len(layer.weight), dtype=np.int64)
    for level in LEVELS:
        path = tmp_path / f"{level}.onnx"
        (y,) = run(proto, {"x": x}, level, str(path))
        assert y.dtype == layer.weight.dtype
        np.testing.assert_array_equal(y, layer.weight)
        if level != "off":
            folded = onnx.load(path).graph
            assert [node.op_type for node in folded.node] == ["Gather"]
            assert [tuple(t.dims) for t in folded.initializer] == [layer.weight.shape]


def dequantising_model(layer: Layer, opset: int) -> onnx.ModelProto:
    """Return y = the weight as floats, in the operator that reads its type at an opset, plus x."""
    is_cast = layer.weight.dtype.name in FLOAT8
    domain = "" if is_cast or opset >= 21 else "com.microsoft"
    node = helper.make_node("DequantizeLinear", [layer.name, "step"], ["w"], domain=domain)
    if is_cast:
        node = helper.make_node("Cast", [layer.name], ["w"], to=TensorProto.FLOAT)
    graph = helper.make_graph(
        [node, helper.make_node("Add", ["w", "x"], ["y"])],
        "narrow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array(layer.weight), layer.name),
            numpy_helper.from_array(np.array(0.5, np.float32), "step"),
        ],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


@pytest.mark.parametrize("emit", [emit_packed, emit_coded])
@pytest.mark.parametrize("opset", [19, 21])
@pytest.mark.parametrize("layer", NARROW, ids=lambda layer: layer.name)
def test_narrow_types_decode_exactly_fold_and_come_back(
    layer: Layer, opset: int, emit: EmitStored, tmp_path: Path
) -> None:
    original = dequantising_model(layer, opset)
    proto, x = emitted_exactly(original, layer, emit), np.zeros(1, np.float32)
    for level in LEVELS:
        path = tmp_path / f"{level}.onnx"
        (expected,), (y,) = run(original, {"x": x}, level), run(proto, {"x": x}, level, str(path))
        np.testing.assert_array_equal(y, expected)
        if level == "basic":
            operators = [node.op_type for node in onnx.load(path).graph.node]
            assert operators in (["DequantizeLinear", "Add"], ["Add"])
    unpacked = decompress(proto)
    assert unpacked is not None
    (plain,) = [tensor for tensor in unpacked.graph.initializer if tensor.name == layer.name]
    assert plain.raw_data == original.graph.initializer[0].raw_data


def test_floats_that_no_cast_keeps_are_refused() -> None:
    for special in (np.nan, np.inf):
        weight = np.zeros((40, 40), ml_dtypes.float8_e5m2)
        weight[3, 3] = special
        layer = replace(NARROW[-1], weight=weight)
        proto = dequantising_model(layer, 19)
        assert [skip.reason for skip in find_layers(read_model(proto))[1]] == ["it holds NaN or Inf"]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.data(),
    st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]),
    st.sampled_from([(300,), (64, 40), (12, 8, 3, 3), (3, 20, 30)]),
    st.integers(0, 2**32 - 1),
)
def test_any_integers_come_back_or_are_refused(
    data: st.DataObject, dtype: str, shape: tuple[int, ...], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    weight = np.broadcast_to(generator.integers(0, 3, shape[-1:]), shape).astype(dtype)
    extremes = data.draw(hnp.arrays(dtype, (5,)))
    weight = weight.copy()
    weight.reshape(-1)[generator.integers(0, weight.size, 5)] = extremes
    offer = offer_of(layer_of(weight))
    if isinstance(offer, Skip):
        assert len(offer.reason) > 10
        return
    restored = offer.layer.from_canonical(LOSSLESS.restore(offer))
    assert restored.dtype == weight.dtype
    np.testing.assert_array_equal(restored, weight)


def test_every_axis_order_comes_back() -> None:
    weight = np.clip(np.random.default_rng(0).laplace(0, 5, (3, 20, 24)), -127, 127).astype(np.int8)
    for layout in (
        Layout((0,), (2,), (1,), ()),
        Layout((0,), (1,), (2,), ()),
        Layout((), (1,), (0, 2), ()),
    ):
        candidate = candidate_of(layer_of(weight, layout=layout))
        np.testing.assert_array_equal(
            candidate.layer.from_canonical(LOSSLESS.restore(candidate)), weight
        )


def test_unsigned_weights_are_coded_around_their_zero_point() -> None:
    layer = next(layer for layer in EXAMPLES if layer.name == "matmul_uint8")
    encoded = candidate_of(layer).encoded
    assert encoded is not None
    (integers,) = encoded.integers.values()
    assert 120 < encoded.tables["offset"] < 136
    assert integers.min() < 0 < integers.max()


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (np.random.default_rng(0).integers(-127, 128, (64, 64), dtype=np.int8), "as they are"),
        (np.random.default_rng(0).integers(0, 2**40, (64, 64)), "2^24"),
        (np.ones((64, 64), np.float32), "not integers"),
        (np.zeros((0, 64), np.int8), "empty"),
    ],
    ids=["noise", "large", "floats", "empty"],
)
def test_refusals(weight: Array, reason: str) -> None:
    offer = offer_of(layer_of(weight))
    assert isinstance(offer, Skip)
    assert reason in offer.reason


def test_fixed_rate_takes_integers_that_leave_bits_unused() -> None:
    """A 64-bit table of small numbers, and 8 bits in windows; not 8 bits that are all used."""
    taken = {la.name for la in EXAMPLES if isinstance(offer_of(la, FixedRate()), Candidate)}
    assert {"positions_int64", "mask_bool", "seconds_int64", "conv_int8"} <= taken
    noise = np.random.default_rng(0).integers(-127, 128, (256, 256), dtype=np.int8)
    assert isinstance(offer_of(layer_of(noise), FixedRate()), Skip)


def quantised_model(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], rank: int, opset: int = 17
) -> onnx.ModelProto:
    """Return a model of float input x and output y."""
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 96, 8, 8][:rank])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def int8_weight(shape: tuple[int, ...]) -> Array:
    return np.clip(np.rint(np.random.default_rng(0).laplace(0, 6, shape)), -127, 127).astype(np.int8)


def quantise(x: str, name: str) -> list[onnx.NodeProto]:
    return [helper.make_node("QuantizeLinear", [x, "s", "z"], [name])]


def dequantise(x: str, name: str, scale: str = "s", zero: str = "z") -> list[onnx.NodeProto]:
    axis = {"axis": 0} if scale == "ws" else {}
    return [helper.make_node("DequantizeLinear", [x, scale, zero], [name], **axis)]


def qdq_conv() -> onnx.ModelProto:
    """Return x -> Q -> DQ -> Conv(DQ(weight)) -> Q -> DQ, with a scale per channel."""
    nodes = [
        *quantise("x", "qx"),
        *dequantise("qx", "dx"),
        *dequantise("w", "dw", "ws", "wz"),
        helper.make_node("Conv", ["dx", "dw"], ["c"], name="conv"),
        *quantise("c", "qc"),
        *dequantise("qc", "y"),
    ]
    constants = {
        "w": int8_weight((320, 96, 3, 3)),
        "ws": np.linspace(0.001, 0.01, 320, dtype=np.float32),
        "wz": np.zeros(320, np.int8),
        "s": np.array(0.05, np.float32),
        "z": np.array(128, np.uint8),
    }
    return quantised_model(nodes, constants, 4)


def qlinear_conv() -> onnx.ModelProto:
    inputs = ["qx", "s", "z", "w", "ws", "wz", "s", "z"]
    nodes = [*quantise("x", "qx"), helper.make_node("QLinearConv", inputs, ["q"]), *dequantise("q", "y")]
    constants = {
        "w": int8_weight((64, 96, 3, 3)),
        "ws": np.full(64, 0.01, np.float32),
        "wz": np.zeros(64, np.int8),
        "s": np.array(0.05, np.float32),
        "z": np.array(128, np.uint8),
    }
    return quantised_model(nodes, constants, 4)


def matmul_integer() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["qx", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["qx", "w", "xz", "wz"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "xs"], ["y"]),
    ]
    constants = {
        "w": (int8_weight((96, 256)) + np.int16(128)).astype(np.uint8),
        "wz": np.array(128, np.uint8),
    }
    return quantised_model(nodes, constants, 2)


def qgemm() -> onnx.ModelProto:
    attributes = {"alpha": 1.0, "transA": 0, "transB": 1}
    inputs = ["qx", "s", "z", "w", "ws", "wz"]
    gemm = helper.make_node("QGemm", inputs, ["y"], domain="com.microsoft", **attributes)
    constants = {
        "w": int8_weight((256, 96)),
        "ws": np.array(0.01, np.float32),
        "wz": np.array(0, np.int8),
        "s": np.array(0.05, np.float32),
        "z": np.array(128, np.uint8),
    }
    return quantised_model([*quantise("x", "qx"), gemm], constants, 2)


QUANTISED: dict[str, tuple[Callable[[], onnx.ModelProto], str, Layout]] = {
    "qdq_conv": (qdq_conv, "Conv", Layout((), (0,), (1,), (2, 3))),
    "qlinear_conv": (qlinear_conv, "QLinearConv", Layout((), (0,), (1,), (2, 3))),
    "matmul_integer": (matmul_integer, "MatMulInteger", Layout((), (1,), (0,), ())),
    "qgemm": (qgemm, "QGemm", Layout((), (0,), (1,), ())),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_layout_follows_the_consumer(name: str) -> None:
    make, op_type, layout = QUANTISED[name]
    layers, skips = find_layers(read_model(make()))
    assert [(la.name, la.op_type, la.layout, la.can_factorise) for la in layers] == [
        ("w", op_type, layout, False)
    ]
    scales = {skip.layer for skip in skips if "scale" in skip.reason}
    assert scales == ({"ws"} if name == "qdq_conv" else set())


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_model_keeps_outputs_and_fusions(name: str, tmp_path: Path) -> None:
    before = QUANTISED[name][0]()
    result = compress(before)
    after = result.model
    assert after is not None
    assert result.report.ratio > 1.15
    assert [check.value for check in result.report.checks] == [0, 0, 0]
    rng = np.random.default_rng(1)
    x = rng.standard_normal([d.dim_value for d in before.graph.input[0].type.tensor_type.shape.dim])
    feeds = {"x": x.astype(np.float32)}
    for level in LEVELS:
        paths = [str(tmp_path / f"{i}.onnx") for i in range(2)]
        (a,), (b,) = (run(m, feeds, level, path) for m, path in zip((before, after), paths, strict=True))
        np.testing.assert_array_equal(a, b)
        if level == "all":
            kinds = [sorted(n.op_type for n in onnx.load(path).graph.node) for path in paths]
            assert kinds[0] == kinds[1]
    if name == "qdq_conv":
        assert "QLinearConv" in kinds[1]


def test_decompressed_model_has_the_same_initializer() -> None:
    before = matmul_integer()
    compressed = compress(before).model
    assert compressed is not None
    plain = decompress(compressed)
    assert plain is not None
    wanted = numpy_helper.to_array(before.graph.initializer[0])
    found = [numpy_helper.to_array(t) for t in plain.graph.initializer]
    assert any(a.dtype == wanted.dtype and np.array_equal(a, wanted) for a in found)


def test_float_passes_leave_integers_alone() -> None:
    with pytest.raises(ToleranceError, match="no selected pass takes integer weights"):
        compress(matmul_integer(), passes=("scalar", "codebook"))


def test_a_wrong_integer_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = type(LOSSLESS).restore
    monkeypatch.setattr(type(LOSSLESS), "restore", lambda self, c: honest(self, c) ^ 1)
    with pytest.raises(VerificationError, match="off their restored values"):
        compress(matmul_integer())


@pytest.mark.parametrize("op_type", ["Reshape", "Expand", "Tile"])
def test_shapes_and_small_tables_stay_plain(op_type: str) -> None:
    """Runtimes infer shapes before they fold constants."""
    nodes = [
        helper.make_node(op_type, ["x", "shape"], ["r"]),
        helper.make_node("ReduceSum", ["r"], ["y"], keepdims=0),
    ]
    constants = {"shape": np.ones(200, np.int64), "small": np.zeros(1023, np.int8)}
    layers, skips = find_layers(read_model(quantised_model(nodes, constants, 4)))
    assert layers == []
    assert [(skip.layer, "decides shapes" in skip.reason) for skip in skips] == [("shape", True)]


def test_tables_of_constant_nodes_in_branches_are_taken() -> None:
    """A table is found wherever it sits, and lifted into the main graph."""
    table = np.repeat(np.arange(600, dtype=np.int64), 5)
    value = numpy_helper.from_array(table, "t")
    branches = {
        f"{kind}_branch": helper.make_graph(
            [
                helper.make_node("Constant", [], [f"{kind}_t"], value=value),
                helper.make_node(operator, ["i", f"{kind}_t"], [f"{kind}_y"]),
            ],
            kind,
            [],
            [helper.make_tensor_value_info(f"{kind}_y", TensorProto.INT64, None)],
        )
        for kind, operator in (("then", "Add"), ("else", "Sub"))
    }
    graph = helper.make_graph(
        [helper.make_node("If", ["b"], ["y"], **branches)],
        "branches",
        [
            helper.make_tensor_value_info("b", TensorProto.BOOL, []),
            helper.make_tensor_value_info("i", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    after = compress(model).model
    assert after is not None
    for flag in (True, False):
        feeds = {"b": np.array(flag), "i": np.array([7], np.int64)}
        np.testing.assert_array_equal(run(model, feeds)[0], run(after, feeds)[0])
