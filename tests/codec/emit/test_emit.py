"""The decode subgraph of any coefficients gives, bit for bit, what numpy says they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxzip.codec.emit.coded import emit_coded
from onnxzip.codec.emit.packed import emit_packed
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients
from tests.codec.coding.model_builder import ModelBuilder, wrap
from tests.fakes import SAFE_OPS

Item = Coefficients | NDArray[np.int32]
Emit = Callable[[Sequence[Item], Builder], list[str]]
EMITTERS: dict[str, Emit] = {"packed": emit_packed, "coded": emit_coded}
LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
BITS = (1, 1.6, 2, 2.6, 4, 8, 12, 16, 20)


def make_item(rng: np.random.Generator, shape: tuple[int, int], bits: float, kind: str) -> Item:
    """Return integers that need about `bits` bits, with steps of a kind, or without."""
    high = max(int(2**bits) - 1, 1)
    if kind == "integers":
        return rng.integers(0, high, shape, endpoint=True).astype(np.int32)
    integers = rng.integers(-(high // 2), high - high // 2, shape, endpoint=True).astype(np.int32)
    n_segments, length = shape
    n_groups = next(g for g in (4, 3, 2, 1) if length % g == 0)
    step_shapes = {
        "one step": (1, 1),
        "a step a segment": (n_segments, 1),
        "a step a column": (1, length),
        "groups": (n_segments, n_groups, 1),
    }
    steps = rng.uniform(1e-3, 1, step_shapes[kind]).astype(np.float32)
    if rng.random() < 0.5:
        steps = steps.astype(np.float16).astype(np.float32)
    return Coefficients(integers, steps)


KINDS = ("integers", "one step", "a step a segment", "a step a column", "groups")


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """Draw the coefficients of a whole model: different sizes, ranges and kinds of steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = st.tuples(st.integers(1, 6), st.integers(1, 70))
    return [
        make_item(rng, draw(shapes), draw(st.sampled_from(BITS)), draw(st.sampled_from(KINDS)))
        for _ in range(draw(st.integers(1, 5)))
    ]


def values_of(item: Item) -> NDArray[np.generic]:
    return item.values() if isinstance(item, Coefficients) else item


def emit(given_items: Sequence[Item], emitter: Emit, opset: int) -> onnx.ModelProto:
    """Return a model whose outputs are the decoded items."""
    builder = ModelBuilder(opset)
    names = emitter(given_items, builder)
    assert len(names) == len(given_items)
    integers = {i for i, item in enumerate(given_items) if not isinstance(item, Coefficients)}
    return wrap(builder, names, [values_of(item).shape for item in given_items], integers)


def decode(model: onnx.ModelProto, level: str, saved: str = "") -> list[NDArray[np.generic]]:
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if saved:
        options.optimized_model_filepath = saved
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    zeros = {"xf": np.zeros(1, np.float32), "xi": np.zeros(1, np.int32)}
    return session.run(None, {i.name: zeros[i.name] for i in session.get_inputs()})


def assert_same(found: Sequence[NDArray[np.generic]], given_items: Sequence[Item]) -> None:
    for array, item in zip(found, given_items, strict=True):
        expected = values_of(item)
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", EMITTERS)
@given(items(), st.sampled_from([11, 12, 13, 17, 21]))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_any_items_at_any_opset(name: str, given_items: list[Item], opset: int) -> None:
    model = emit(given_items, EMITTERS[name], opset)
    for level in ("off", "all"):
        assert_same(decode(model, level), given_items)


@pytest.mark.parametrize("name", EMITTERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", BITS)
def test_each_range_and_kind_alone(name: str, kind: str, bits: float) -> None:
    item = make_item(np.random.default_rng(0), (5, 48), bits, kind)
    assert_same(decode(emit([item], EMITTERS[name], 17), "basic"), [item])


@pytest.mark.parametrize("name", EMITTERS)
@pytest.mark.parametrize(
    "integers",
    [np.zeros((3, 40)), np.full((3, 40), 7), np.eye(40), np.full((1, 1), -3), np.arange(41)[None]],
    ids=["zeros", "constant", "sparse", "one number", "counting"],
)
def test_degenerate_integers(name: str, integers: NDArray[np.float64]) -> None:
    """Nothing to code, one symbol only, or every symbol once."""
    item = Coefficients(integers.astype(np.int32), np.full((1, 1), 0.25, np.float32))
    indices = np.abs(integers).astype(np.int32)
    for given_items in ([item], [indices], [item, item, indices]):
        assert_same(decode(emit(given_items, EMITTERS[name], 17), "all"), given_items)


@pytest.mark.parametrize("name", EMITTERS)
def test_rare_large_values(name: str) -> None:
    """One outlier of a million among thousands of small numbers is exact, and cheap when coded."""
    rng = np.random.default_rng(1)
    integers = np.rint(rng.standard_normal((32, 400))).astype(np.int32)
    plain = Coefficients(integers.copy(), np.ones((1, 1), np.float32))
    integers[5, 77] = -(10**6)
    outlier = Coefficients(integers, np.ones((1, 1), np.float32))
    model = emit([outlier], EMITTERS[name], 17)
    assert_same(decode(model, "all"), [outlier])
    if name == "coded":
        assert model.ByteSize() < 1.25 * emit([plain], emit_coded, 17).ByteSize() + 400


@pytest.mark.parametrize("name", EMITTERS)
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_rules_for_decode_subgraphs(
    name: str, opset: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """CODEC.md, section 1: safe operators, static shapes everywhere, and nothing left after BASIC."""
    rng = np.random.default_rng(2)
    given_items = [make_item(rng, (6, 96), bits, kind) for bits in (1.6, 4, 8) for kind in KINDS]
    model = emit(given_items, EMITTERS[name], opset)
    onnx.checker.check_model(model, full_check=True)
    n_outputs = len(given_items)
    nodes = model.graph.node[:-n_outputs]
    assert {node.op_type for node in nodes} <= SAFE_OPS
    shaped = {
        v.name for v in model.graph.value_info if all(d.dim_value for d in v.type.tensor_type.shape.dim)
    }
    assert {output for node in nodes for output in node.output} <= shaped
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    given_shapes = {v.name: v.type for v in model.graph.value_info}
    for value in inferred.graph.value_info:
        if value.name in given_shapes:
            assert value.type == given_shapes[value.name], value.name
    saved = str(tmp_path_factory.mktemp("basic") / "m.onnx")
    assert_same(decode(model, "basic", saved), given_items)
    left = Counter(node.op_type for node in onnx.load(saved).graph.node)
    assert left == {"Add": n_outputs}


@pytest.mark.parametrize("name", EMITTERS)
def test_emission_is_deterministic(name: str) -> None:
    given_items = [make_item(np.random.default_rng(i), (4, 60), 3, KINDS[i % 5]) for i in range(6)]
    first, second = (emit(given_items, EMITTERS[name], 17) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_arrays_share_tables() -> None:
    """Twenty arrays of one alphabet cost few nodes each, and one table of 1,215 bytes together."""
    rng = np.random.default_rng(3)
    sizes = {}
    for n in (1, 21):
        given_items = [make_item(rng, (4, 64), 1.6, "a step a segment") for _ in range(n)]
        sizes[n] = emit(given_items, emit_packed, 17).ByteSize()
    assert (sizes[21] - sizes[1]) / 20 < 450


def test_nothing_to_emit() -> None:
    for emitter in EMITTERS.values():
        assert emitter([], ModelBuilder(17)) == []
