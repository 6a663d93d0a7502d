"""The decode subgraph of any coefficients gives, bit for bit, what numpy says they are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxzip.codec.coding import split
from onnxzip.codec.coding.packed import MIN_OF_TWO_BYTES
from onnxzip.codec.coding.prefix import Streams
from onnxzip.codec.coding.split import LARGEST_OF_6_BITS, LARGEST_OF_7_BITS
from onnxzip.codec.emit import coded, nodes, packed, stacks, streams
from onnxzip.codec.emit.coded import emit_coded
from onnxzip.codec.emit.packed import emit_packed
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients, Stored, WholeNumbers
from onnxzip.transforms.moves import Moves, moved, shape_behind
from tests.codec.coding.model_builder import ModelBuilder, wrap
from tests.fakes import SAFE_OPS

Item = Coefficients | NDArray[np.int32]
Emit = Callable[[Sequence[Stored], Builder, Sequence[Moves]], list[str]]
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


def emit(
    given_items: Sequence[Item], emitter: Emit, opset: int, moves: Sequence[Moves] = ()
) -> onnx.ModelProto:
    """Return a model whose outputs are the decoded items, behind their moves."""
    builder = ModelBuilder(opset)
    stored = [k if isinstance(k, Coefficients) else WholeNumbers(k) for k in given_items]
    names = emitter(stored, builder, moves)
    assert len(names) == len(given_items)
    integers = {i for i, item in enumerate(given_items) if not isinstance(item, Coefficients)}
    shapes = [
        shape_behind(values_of(item).shape, own)
        for item, own in zip(given_items, moves or [()] * len(given_items), strict=True)
    ]
    return wrap(builder, names, shapes, integers)


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


@pytest.mark.parametrize("opset", [11, 21])
def test_large_arrays_are_packed_in_parts_of_bytes(opset: int) -> None:
    """Integers of 9, 39, 59 and 89 values: 3.2, 5.33, 6 and 6.67 bits each, of tables made at load."""
    rng = np.random.default_rng(6)
    shape = (128, MIN_OF_TWO_BYTES // 128)
    highs = (4, 19, LARGEST_OF_6_BITS, LARGEST_OF_7_BITS)
    given_items = [
        Coefficients(rng.integers(-high, high, shape, np.int8, True), np.ones((128, 1), np.float32))
        for high in highs
    ]
    model = emit(given_items, emit_packed, opset)
    for level in ("off", "basic"):
        assert_same(decode(model, level), given_items)
    assert {node.op_type for node in model.graph.node} <= SAFE_OPS
    n_bits = 3.2 + 16 / 3 + 6 + 20 / 3
    assert model.ByteSize() - n_bits / 8 * math.prod(shape) < 9_000


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
        assert emitter([], ModelBuilder(17), ()) == []


def grid_item(rng: np.random.Generator, outer: list[int], inner: list[int], n_rows: int) -> Coefficients:
    """Return columns with steps of these exponents, in quarter octaves."""
    powers = [np.exp2(np.array(exponents) / 4).astype(np.float32) for exponents in (outer, inner)]
    integers = rng.integers(-9, 9, (len(outer), len(inner) * n_rows), endpoint=True).astype(np.int16)
    return Coefficients(integers, powers[1][:, None], outer=powers[0][:, None, None])


@pytest.mark.parametrize("name", EMITTERS)
@pytest.mark.parametrize("opset", [11, 17])
def test_grids_of_steps(name: str, opset: int) -> None:
    """The exponents of all grids share a table; a grid of one row takes no product of steps."""
    rng = np.random.default_rng(4)
    given_items = [
        grid_item(rng, [0], [-40, -39, -3], 7),
        grid_item(rng, [-4, 3, 0, 1], [0, -17], 5),
        make_item(rng, (3, 8), 4, "a step a segment"),
        grid_item(rng, [0], [-8], 9),
        grid_item(rng, [24, -24], [-12, -12, -11], 1),
    ]
    model = emit(given_items, EMITTERS[name], opset)
    for level in ("off", "all"):
        assert_same(decode(model, level), given_items)
    alone = emit(given_items[:1], EMITTERS[name], opset)
    both = emit(given_items[:2], EMITTERS[name], opset)
    # one table of powers -40 ... -3, or with the outer ones' of -4 ... 3, and one of -40 ... 0
    assert [sizes_of_powers(m) for m in (alone, both)] == [[38], [8, 41]]
    n_products = [sum(n.op_type == "Mul" for n in m.graph.node) for m in (alone, both)]
    assert n_products[1] - n_products[0] >= 2
    assert name == "coded" or n_products == [1, 3]


def sizes_of_powers(model: onnx.ModelProto) -> list[int]:
    """Return the sizes of the initializers that hold rising powers of 2 ** (1 / 4)."""
    arrays = [onnx.numpy_helper.to_array(i) for i in model.graph.initializer]
    vectors = [a for a in arrays if a.dtype == np.float32 and a.ndim == 1 and len(a) > 1 and a.all()]
    ratios = [np.log2(a[1:].astype(np.float64) / a[:-1]) for a in vectors if (a > 0).all()]
    return sorted(len(r) + 1 for r in ratios if np.allclose(r, 0.25, atol=1e-6))


def test_steps_of_wide_ranges() -> None:
    """Exponents that a byte does not hold are stored in two."""
    item = grid_item(np.random.default_rng(5), [0, 1], [-300, -44, 20], 4)
    for emitter in EMITTERS.values():
        assert_same(decode(emit([item], emitter, 17), "basic"), [item])


def spread_integers(n_frequent: int, n_repeats: int) -> NDArray[np.int32]:
    """Return integers of 4 - n_frequent / 8 bits: so many of share 1/8, the others of 1/16."""
    numbers = [*range(n_frequent)] * 2 + [*range(n_frequent, 16 - n_frequent)]
    return np.tile(np.array(numbers, np.int32), (n_repeats, 1))


def test_indices_are_coded_where_that_saves_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 32nd of what they take packed, beside the coder's own loss; coefficients do not count."""
    seen: list[list[int]] = []

    def encode(arrays: Sequence[NDArray[np.int32]]) -> Streams:
        seen.append([len(array) for array in arrays])
        return real(arrays)

    real = coded.encode
    monkeypatch.setattr(coded, "encode", encode)
    shares = [spread_integers(*pair) for pair in ((0, 60), (1, 61), (2, 62), (5, 63))]
    step = np.ones((1, 1), np.float32)
    floats = [Coefficients(shares[0], step), Coefficients(shares[0], step, is_fixed_rate=True)]
    given_items = [*shares, *floats]
    assert_same(decode(emit(given_items, emit_coded, 17), "all"), given_items)
    assert seen.pop() == [60, 62, 63]


@pytest.mark.parametrize(("deviation", "factors"), [(3, set()), (5, {2}), (10, {4}), (40, {16})])
def test_long_arrays_of_wide_integers(
    monkeypatch: pytest.MonkeyPatch, deviation: int, factors: set[int]
) -> None:
    """Their high parts are coded and multiplied, their low bits packed and added; indices stay whole."""
    monkeypatch.setattr(split, "MIN_ELEMENTS", 1200)
    rng = np.random.default_rng(6)
    wide = [np.rint(rng.normal(0, deviation, (n, 60))).astype(np.int32) for n in (20, 19)]
    steps = np.full((20, 1), 0.5, np.float32)
    indices = np.abs(wide[0])
    given_items = [Coefficients(wide[1], steps[:-1]), Coefficients(wide[0], steps), indices]
    model = emit(given_items, emit_coded, 17)
    assert_same(decode(model, "basic"), given_items)
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    read = [arrays[v] for n in model.graph.node if n.op_type == "Mul" for v in n.input if v in arrays]
    assert {int(a[0]) for a in read if a.dtype == np.float32 and a.shape == (1,)} == factors


def test_large_arrays_have_payloads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which saves a copy at load; the small ones share one."""
    monkeypatch.setattr(packed, "_LARGE_ARRAY", 100)
    rng = np.random.default_rng(7)
    given_items = [make_item(rng, (1, n), 1.6, "integers") for n in (64, 100, 99, 101, 98)]
    model = emit(given_items, emit_packed, 17)
    assert_same(decode(model, "all"), given_items)
    assert sum(node.op_type == "Gather" for node in model.graph.node) == 3


@pytest.mark.parametrize(
    ("low", "high", "n_least", "dtype"),
    [
        (0, 255, 20, np.uint8),
        (-128, 127, 20, np.int8),
        (0, 65_535, 50, np.uint8),
        (-1, 128, 400, np.int32),
        (0, 65_536, 400, np.int32),
    ],
)
def test_integers_are_stored_in_as_few_bytes_as_hold_them(
    low: int, high: int, n_least: int, dtype: type[np.generic]
) -> None:
    """Where that saves more than the nodes take; two bytes as such, put together."""
    for n, expected in ((n_least, np.int32), (n_least + 1, dtype)):
        builder = ModelBuilder(17)
        array = np.resize(np.array([low, high]), n)
        name = nodes.small_ints(array, builder)
        stored = onnx.numpy_helper.to_array(builder.initializers[0])
        assert stored.dtype == expected
        model = wrap(builder, [name], [(n,)], {0})
        np.testing.assert_array_equal(decode(model, "off")[0], array)


@pytest.mark.parametrize(
    ("first", "gap", "n", "is_gaps"),
    [
        (0, 1, 40, False),
        (0, 1, 41, True),
        (65_535, 7, 41, True),
        (65_536, 7, 41, False),
        (9, 65_535, 257, True),
        ((1 << 24) - 1 - 400 * 41_900, 41_900, 401, True),
        ((1 << 24) - 400 * 41_900, 41_900, 401, False),
    ],
)
def test_rising_positions_are_stored_as_gaps(first: int, gap: int, n: int, is_gaps: bool) -> None:
    """Where there are more than 40, every gap fits two bytes, and sums stay below 2^24."""
    positions = first + gap * np.arange(n, dtype=np.int64)
    builder = ModelBuilder(17)
    model = wrap(builder, [streams.emit_positions(positions, builder)], [(n,)], {0})
    np.testing.assert_array_equal(decode(model, "off")[0], positions)
    assert ("CumSum" in {node.op_type for node in builder.nodes}) == is_gaps


MOVES: dict[str, Moves] = {
    "none": (),
    "turned": (("transpose", (1, 0)),),
    "kernels": (("reshape", (24, 4, 4)), ("transpose", (2, 0, 1)), ("reshape", (4, 6, 4, 2, 2))),
    "columns": (("reshape", (8, 48)), ("transpose", (1, 0)), ("reshape", (48, 2, 2, 2))),
    "flat": (("reshape", (384,)),),
    "mixed": (("reshape", (2, 96, 2)), ("transpose", (1, 2, 0)), ("reshape", (64, 6))),
}
"""Of arrays of 8 x 48 integers, such as passes ask for, and one that parts steps from their integers."""


@pytest.mark.parametrize("name", EMITTERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("n_alike", [1, 3])
def test_values_are_moved_as_their_readers_want_them(
    name: str, kind: str, move: str, n_alike: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, in a stack, and in one that is parted while its members are integers."""
    rng = np.random.default_rng(8)
    given_items = [make_item(rng, (8, 48), bits, kind) for bits in (3, 12) for _ in range(n_alike)]
    moves = [MOVES[move]] * len(given_items)
    for largest in (1 << 14, 1):
        monkeypatch.setattr(stacks, "_LARGEST_AS_FLOATS", largest)
        found = decode(emit(given_items, EMITTERS[name], 17, moves), "off")
        for array, item in zip(found, given_items, strict=True):
            np.testing.assert_array_equal(array, moved(values_of(item), MOVES[move]))


@pytest.mark.parametrize("name", EMITTERS)
def test_what_is_alike_is_decoded_together(name: str) -> None:
    """Twenty more layers of one shape take no nodes."""
    rng = np.random.default_rng(9)
    moves: Moves = (("reshape", (4, 16, 9)), ("transpose", (1, 0, 2)), ("reshape", (16, 4, 3, 3)))
    counts = []
    for n in (12, 32):
        given_items = [grid_item(rng, [0, 1], [-3, 2, -1], 96) for _ in range(n)]
        assert given_items[0].integers.size == 576
        model = emit(given_items, EMITTERS[name], 17, [moves] * n)
        for array, item in zip(decode(model, "basic"), given_items, strict=True):
            np.testing.assert_array_equal(array, moved(item.values(), moves))
        counts.append(len(model.graph.node) - n)
    assert counts[1] == counts[0]


@pytest.mark.parametrize("name", EMITTERS)
def test_no_node_makes_much_more_than_it_reads(name: str) -> None:
    """At most a MiB more than all its inputs together: runtimes may refuse to fold it."""
    rng = np.random.default_rng(10)
    wide = np.rint(rng.laplace(0, 1.5, (600, 1500))).astype(np.int32)
    steps = rng.uniform(0.1, 1, (600, 1)).astype(np.float32)
    indices = rng.integers(0, 7, (1, 700_000)).astype(np.int32)
    given_items = [Coefficients(wide, steps), Coefficients(wide[:300], steps[:300, :1]), indices]
    moves: list[Moves] = [(("transpose", (1, 0)),), (), ()]
    model = emit(given_items, EMITTERS[name], 17, moves)
    for array, item, own in zip(decode(model, "off"), given_items, moves, strict=True):
        np.testing.assert_array_equal(array, moved(values_of(item), own))
    sizes = {v.name: n_bytes_of(v) for v in model.graph.value_info}
    sizes |= {i.name: onnx.numpy_helper.to_array(i).nbytes for i in model.graph.initializer}
    for node in model.graph.node[: -len(given_items)]:
        n_read = sum(sizes[value] for value in node.input)
        assert all(sizes[value] <= max(n_read, 1 << 20) for value in node.output), node.op_type


def n_bytes_of(value: onnx.ValueInfoProto) -> int:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return dtype.itemsize * math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
