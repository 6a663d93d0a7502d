"""The coefficient coder: arrays come back, from numpy and from the graph, at a size near entropy."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip.codec.coding import code_plan as plans
from onnxzip.codec.coding import encoder
from onnxzip.codec.coding import tuple_layout as layout
from onnxzip.codec.coding.bits import MAX_WIDTH, pack_fields
from onnxzip.codec.coding.contexts import find_contexts
from onnxzip.codec.coding.encoder import encode
from onnxzip.codec.coding.prefix import Streams
from onnxzip.codec.coding.trees import (
    MAX_BRANCH_BITS,
    ROOTS,
    _Branches,
    _cheapest_path,
    plan_trees,
    smooth,
)
from onnxzip.codec.coding.tuples import TupleOrder
from tests.codec.coding.decoder import decode, windows
from tests.codec.coding.model_builder import build_model, count_bytes

LEVELS = ort.GraphOptimizationLevel
LEVELS = (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_ALL)
NEWEST_OPSET = 24
SAFE_OPS = {
    *("Cast", "Gather", "Reshape", "Concat", "Split", "Slice", "Transpose", "Expand", "ScatterElements"),
    *("CumSum", "Add", "Mul", "Div", "Mod", "MatMul", "TopK"),
}


def draw(kind: str, shape: tuple[int, int], scale: float, seed: int) -> np.ndarray:
    """Integers of a given distribution; rows of 'mixed' differ in scale, 'spikes' are rare."""
    random = np.random.default_rng(seed)
    values = random.laplace(0, scale, shape) if kind == "laplace" else random.normal(0, scale, shape)
    if kind == "mixed":
        values *= np.geomspace(0.1, 4, max(shape[0], 1))[:, None]
    if kind == "jumping":  # long rows of large integers between rows of a few ones
        values *= np.where(np.arange(shape[0]) % 3, 0.19, 20)[:, None]
    if kind == "indices":
        values = random.integers(0, max(2, int(scale * 40)), shape)
    if kind == "constant":
        values = np.full(shape, 7.0)
    if kind == "spikes" and values.size:
        places = random.integers(0, values.size, 1 + values.size // 200)
        values.ravel()[places] = random.integers(-(1 << 23), 1 << 23, len(places))
    return np.rint(values).astype(np.int32)


def assert_same(arrays: list[np.ndarray], decoded: list[np.ndarray]) -> None:
    assert len(arrays) == len(decoded)
    for array, other in zip(arrays, decoded, strict=True):
        assert array.shape == other.shape
        np.testing.assert_array_equal(array, other)


def run_model(
    model: onnx.ModelProto, level: ort.GraphOptimizationLevel, saved: Path | None = None
) -> list:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    if saved:
        options.optimized_model_filepath = str(saved)
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"xf": np.zeros(1, np.float32), "xi": np.zeros(1, np.int32)}
    names = {i.name for i in session.get_inputs()}
    return session.run(None, {name: feed for name, feed in feeds.items() if name in names})


KINDS = ("normal", "laplace", "mixed", "indices", "constant", "spikes")
SHAPES = st.tuples(st.sampled_from([0, 1, 2, 9, 40]), st.sampled_from([0, 1, 3, 64, 257, 1200]))
ARRAYS = st.lists(
    st.builds(
        draw, st.sampled_from(KINDS), SHAPES, st.sampled_from([0.2, 1.0, 3.0, 30.0]), st.integers(0, 99)
    ),
    max_size=5,
)


@given(ARRAYS)
@settings(derandomize=True, deadline=None, max_examples=35)
def test_decode_returns_what_was_encoded(arrays: list[np.ndarray]) -> None:
    assert_same(arrays, decode(encode(arrays)))


@given(st.lists(st.integers(-(1 << 23), 1 << 23), max_size=50), st.integers(0, 2000), st.integers(0, 9))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_extreme_values_come_back(values: list[int], n_zeros: int, seed: int) -> None:
    flat = np.random.default_rng(seed).permutation(np.array(values + [0] * n_zeros * 4, np.int32))
    assert_same([flat[None]], decode(encode([flat[None]])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.3, 1.5, 8.0])
def test_every_kind_is_coded(kind: str, scale: float) -> None:
    arrays = [
        draw(kind, (16, 900), scale, 1),
        draw(kind, (3, 7), scale, 2),
        draw(kind, (1, 3001), scale, 3),
    ]
    streams = encode(arrays)
    assert streams.book is not None
    assert_same(arrays, decode(streams))


def test_nothing_and_little_are_plain() -> None:
    assert decode(encode([])) == []
    arrays = [
        np.zeros((0, 4), np.int32),
        np.zeros((4, 0), np.int32),
        np.full((1, 1), -(1 << 23), np.int32),
    ]
    streams = encode(arrays)
    assert streams.book is None
    assert_same(arrays, decode(streams))


def test_noise_is_plain_next_to_coded_arrays() -> None:
    noise = np.random.default_rng(0).integers(-128, 128, (8, 4000)).astype(np.int32)
    arrays = [draw("normal", (8, 4000), 1.0, 0), noise]
    streams = encode(arrays)
    assert set(streams.plain) == {1}
    assert streams.plain[1].dtype == np.int8
    assert_same(arrays, decode(streams))


def test_encoding_is_deterministic() -> None:
    arrays = [draw("mixed", (30, 800), 1.0, 5), draw("laplace", (9, 2048), 2.0, 6)]
    first, second = (build_model(encode(arrays)).SerializeToString() for _ in range(2))
    assert first == second


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make moderate arrays large and streams long."""
    monkeypatch.setattr(encoder, "LARGE_ARRAY", 5000)
    monkeypatch.setattr(layout, "LARGE_ARRAY", 5000)
    monkeypatch.setattr(encoder, "MAX_CHUNK_BYTES", 1 << 11)
    monkeypatch.setattr(plans, "_MANY_VALUES", 1)
    monkeypatch.setattr(plans, "_SAMPLE_TUPLES", 3000)


LONG = [
    draw("mixed", (20, 700), 1.2, 1),
    draw("normal", (5, 300), 1.2, 2),
    draw("spikes", (50, 301), 1.0, 3),
    draw("laplace", (700, 9), 1.5, 4),
]


@pytest.mark.usefixtures("small_limits")
def test_large_arrays_and_long_streams() -> None:
    streams = encode(LONG)
    assert len(streams.units) == 4
    assert len(streams.chunks) > 3
    assert any(unit.row_length for unit in streams.units)
    assert_same(LONG, decode(streams))
    for level in LEVELS[:2]:
        assert_same(LONG, run_model(build_model(streams), level))


GRAPHS = {
    "contexts": [draw("mixed", (60, 512), 1.5, 1), draw("laplace", (9, 300), 1.0, 2)],
    "one context": [draw("normal", (4, 6000), 1.0, 3)],
    "literals": [draw("spikes", (9, 4001), 2.0, 4)],
    "indices": [draw("indices", (1, 9000), 0.4, 5)],
    "sorted table": [draw("mixed", (40, 3000), 1.5, 10)],
    "constant": [draw("constant", (3, 5000), 1.0, 6)],
    "sparse": [draw("normal", (10, 5000), 0.25, 7)],
    "overlay": [draw("jumping", (60, 900), 1.0, 11), draw("normal", (50, 64), 0.2, 12)],
    "plain": [draw("spikes", (2, 40), 1.0, 8), draw("normal", (1, 1), 1.0, 9)],
}


def test_a_large_table_is_sorted_in_the_graph() -> None:
    book = encode(GRAPHS["sorted table"]).book
    assert book is not None
    assert not book.order.is_stored


def test_ones_far_apart_are_laid_over() -> None:
    (chunk,) = encode(GRAPHS["overlay"]).chunks
    assert len(chunk.overlay.codes)
    assert len(chunk.overlay.jumps)


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_decodes_bit_exactly_at_every_level(name: str) -> None:
    streams = encode(GRAPHS[name])
    model = build_model(streams)
    onnx.checker.check_model(model, full_check=True)
    for level in LEVELS:
        assert_same(GRAPHS[name], run_model(model, level))


@pytest.mark.parametrize("opset", [11, 13, 17, 21, NEWEST_OPSET])
@pytest.mark.parametrize("name", ["contexts", "literals", "sorted table", "overlay"])
def test_graph_folds_away_at_every_opset(name: str, opset: int, tmp_path: Path) -> None:
    model = build_model(encode(GRAPHS[name]), opset)
    assert {node.op_type for node in model.graph.node} <= SAFE_OPS
    onnx.checker.check_model(model)
    outputs = run_model(model, LEVELS[1], tmp_path / "basic.onnx")
    assert_same(GRAPHS[name], outputs)
    left = [node.op_type for node in onnx.load(tmp_path / "basic.onnx").graph.node]
    assert left == ["Add"] * len(GRAPHS[name])


@pytest.mark.parametrize("name", GRAPHS)
def test_every_output_has_its_static_shape(name: str) -> None:
    model = build_model(encode(GRAPHS[name]))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    known = {info.name for info in inferred.graph.value_info}
    assert {out for node in model.graph.node for out in node.output} - known <= {"y0", "y1"}
    assert all(
        dim.dim_value > 0 for info in model.graph.value_info for dim in info.type.tensor_type.shape.dim
    )


def entropy_bits(arrays: list[np.ndarray]) -> float:
    """Zeroth-order entropy within the contexts the coder chose."""
    rows = [row for array in arrays for row in array]
    labels = find_contexts(arrays).labels
    total = 0.0
    for label in np.unique(labels):
        _, counts = np.unique(
            np.concatenate([r for r, k in zip(rows, labels, strict=True) if k == label]),
            return_counts=True,
        )
        total -= float((counts * np.log2(counts / counts.sum())).sum())
    return total


@pytest.mark.parametrize(
    ("kind", "scale"), list(itertools.product(("normal", "laplace"), (0.5, 1.0, 2.0)))
)
def test_size_is_near_entropy(kind: str, scale: float) -> None:
    arrays = [draw(kind, (64, 9216), scale, 1)]
    streams, n_bits = encode(arrays), entropy_bits(arrays)
    assert 8 * sum(chunk.fields.nbytes for chunk in streams.chunks) < 1.02 * n_bits
    assert 8 * count_bytes(streams) < 1.08 * n_bits  # nodes and shapes, 5 to 7 KB, are 3 to 5 % here


def test_a_second_byte_is_only_for_arrays_with_large_values() -> None:
    spiked, clean = draw("spikes", (50, 3010), 1.0, 3), draw("laplace", (700, 90), 1.5, 4)
    streams = encode([spiked, clean])
    assert streams.dtype is np.int8
    assert set(streams.outliers) == {0}
    assert_same([spiked, clean], decode(streams))


def test_contexts_follow_the_segments_scales() -> None:
    arrays = [draw("mixed", (64, 9216), 1.0, 1)]
    pooled = entropy_bits([arrays[0].reshape(1, -1)])
    coded = 8 * count_bytes(encode(arrays))
    assert find_contexts(arrays).n_contexts >= 4
    assert coded < 0.92 * pooled


def test_rare_large_values_are_cheap() -> None:
    clean = draw("normal", (16, 4000), 1.0, 1)
    spiked = clean.copy()
    spiked[3, ::400] = 1 << 23
    extra = count_bytes(encode([spiked])) - count_bytes(encode([clean]))
    assert extra < 10 * 40 + 400  # ten literals and the nodes that place them


@given(st.lists(st.tuples(st.integers(0, MAX_WIDTH), st.integers(0, 511)), min_size=1, max_size=200))
@settings(derandomize=True, deadline=None)
def test_fields_are_read_by_windows(pairs: list[tuple[int, int]]) -> None:
    widths = np.array([width for width, _ in pairs], np.int32)
    values = np.array([value for _, value in pairs], np.int32) % (1 << widths)
    packed = pack_fields(values, widths)
    assert len(packed) == widths.sum() // 8 + 1
    position = np.cumsum(widths) - widths
    read = windows(np.append(packed, np.uint8(0)))[position] % (1 << widths)
    np.testing.assert_array_equal(read, values)


@given(st.integers(1, 3000), st.floats(0.2, 2.5), st.sampled_from(sorted(ROOTS)), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_trees_give_each_row_its_own_code_word(
    n_rows: int, decay: float, n_roots: int, is_fine: bool
) -> None:
    counts = np.ceil(1e6 / np.arange(1, n_rows + 1) ** decay).astype(np.int64)
    tree = plan_trees(counts, [n_roots], is_fine)[n_roots]
    fields = tree.fields(n_rows)
    assert fields[1:].max() < 1 << MAX_WIDTH
    assert fields[3].max() <= MAX_WIDTH
    assert fields[5].max() <= MAX_WIDTH
    words = {tuple(word) for word in fields[::2].T}
    assert len(words) == n_rows
    total = counts.sum()
    entropy = -float((counts * np.log2(counts / total)).sum())
    assert tree.n_bits > entropy
    assert (fields[0] < n_roots).all()


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4])
def test_branches_are_the_cheapest_that_cover_all_rows(n_steps: int) -> None:
    """Of all sequences of so many branches from the first row to behind the last."""
    rng, rows = np.random.default_rng(n_steps), np.arange(8)
    cells = np.zeros(8, np.int64)
    branches = []
    for reach in (1, 2, 3, 7):
        costs = rng.uniform(0, 1, 8)
        costs[-1] = 0.1
        branches.append(_Branches(0, np.minimum(rows + reach, 7), costs, cells, cells))
    found: dict[tuple[tuple[int, int], ...], float] = {}
    for chosen in itertools.product(range(4), repeat=n_steps):
        row, total, path = 0, 0.0, []
        for i in chosen:
            path.append((i, row))
            total += float(branches[i].costs[row])
            row = int(branches[i].ends[row])
        if row == 7:
            found[tuple(path)] = total
    least = min(found.values())
    path = _cheapest_path(branches, n_steps, 7)
    assert found[tuple(path)] == pytest.approx(least)


def test_the_bits_of_a_tree_are_those_of_its_code_words() -> None:
    """What the rows take in fields, and 8 for each node of the tree."""
    counts = np.ceil(1e5 / np.arange(1, 301)).astype(np.int64)
    for n_roots, tree in plan_trees(np.append(counts, [0, 0]), sorted(ROOTS)).items():
        fields = tree.fields(300)
        n_row_bits = float((counts * (fields[1] + fields[3] + fields[5])).sum())
        n_nodes = n_roots + len(tree.cell_bits)
        assert tree.n_bits == pytest.approx(n_row_bits + 8 * n_nodes)
        assert tree.n_branches == n_roots


def test_counts_are_smoothed_by_growing_blocks() -> None:
    """The first eight stay as they are, and every block keeps its mass."""
    counts = np.ceil(1e5 / np.arange(1, 401) ** 1.2).astype(np.int64)
    smoothed = smooth(counts)
    shares = counts / counts.sum()
    np.testing.assert_allclose(smoothed[:8], shares[:8])
    edges = np.array([0, *(1 + np.flatnonzero(np.diff(smoothed)))])
    np.testing.assert_allclose(np.add.reduceat(smoothed, edges), np.add.reduceat(shares, edges))
    sizes = np.diff(np.append(edges, 400))
    assert sizes[:8].tolist() == [1] * 8
    assert (edges[9:] / edges[8:-1] < 1.3).all()
    assert sizes[-2] > 25
    np.testing.assert_allclose(smooth(np.array([5, 3, 0])), [5 / 8, 3 / 8, 1e-9 / 8], rtol=1e-6)


def test_the_order_of_tuples_is_the_order_of_their_costs() -> None:
    order = TupleOrder(3, -2, np.array([4, 1, 0, 1, 4], np.uint8))
    table = order.table()
    assert len(np.unique(table, axis=0)) == 125
    costs = (table.astype(np.int64) ** 2).sum(1)
    assert (np.diff(costs) >= 0).all()
    np.testing.assert_array_equal(table[0], [0, 0, 0])


def test_streams_are_frozen() -> None:
    with pytest.raises(AttributeError):
        encode([]).book = None  # type: ignore[misc]
    assert isinstance(encode([]), Streams)


GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("n_branches", ROOTS)
def test_a_tree_of_few_branches_need_not_reach_every_row(n_branches: int) -> None:
    counts = np.ones(n_branches << (MAX_BRANCH_BITS + MAX_WIDTH), np.int64)
    assert n_branches in plan_trees(counts, [n_branches], is_fine=False)
    assert not plan_trees(np.append(counts, 1), [n_branches], is_fine=False)


@pytest.mark.parametrize("name", ["coder_1", "coder_2"])
def test_files_of_earlier_encoders_decode(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = [file[key] for key in file.files]
    for level in LEVELS:
        assert_same(arrays, run_model(onnx.load(GOLDEN / f"{name}.onnx"), level))


def test_golden_file_decodes_and_is_written_again() -> None:
    """A missing file fails; `python tests/golden/make_coder.py` writes it."""
    model = onnx.load(GOLDEN / "coder.onnx")
    with np.load(GOLDEN / "coder.npz") as file:
        arrays = [file[name] for name in file.files]
    for level in LEVELS:
        assert_same(arrays, run_model(model, level))
    written = build_model(encode(arrays), 13)
    assert list(written.graph.node) == list(model.graph.node)
    assert list(written.graph.initializer) == list(model.graph.initializer)
