"""Small tensors in 8 or 16 bits: how far numbers move, what it saves, and what a session decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxzip
from onnxzip.choose.sensitivity import Prober
from onnxzip.codec.emit.coded import emit_coded
from onnxzip.graph import GraphBuilder, find_small_layers, read_model, to_proto
from onnxzip.graph.reading.layouts import default_layout
from onnxzip.records.layer import Layer
from onnxzip.records.plan import Plan, Rounding
from onnxzip.rewrite.emit import Emitter
from onnxzip.rewrite.restorer import Restorer
from onnxzip.rewrite.small_tensors import BLOCK, RATES, emit_rounded, n_saved_bytes, rounded, settled
from tests.casebook.kit import Draft, value
from tests.graph.running import BASIC, OFF, run
from tests.textmodels import model_from_text

BYTES, WORDS = RATES
TINY = float(np.finfo(np.float32).tiny)
SCALES = (0.0, 1e-45, 1e-40, 1e-36, 1e-33, 1e-20, 1e-5, 0.01, 1.0, 3.0, 50.0, 7e5, 1e10, 1e30, 3e38)
FLOAT32_STEPS = (1e-33, 1e-20, 1e-5, 0.01, 1.0, 2.0, 1e10, 1e30, 3e38)
"""Largest numbers of blocks whose steps at 16 bits are outside float16's normal numbers."""


def layer_of(name: str, array: np.ndarray) -> Layer:
    return Layer(name, "Add", array, default_layout(array.ndim))


def make_tensor(size: int, seed: int, scales: Sequence[float]) -> np.ndarray:
    """Return numbers of which the largest of each block is one of the scales; some are zero."""
    rng = np.random.default_rng(seed)
    units = rng.uniform(-1, 1, (-(-size // BLOCK), BLOCK)) * (rng.random(BLOCK) < 0.9)
    units[:, 0] = rng.choice([-1, 1], len(units))
    units *= rng.choice(scales, (len(units), 1))
    return units.ravel()[:size].astype(np.float32)


def tensors(scales: Sequence[float]) -> st.SearchStrategy[np.ndarray]:
    return st.builds(
        make_tensor,
        st.integers(8, 70),
        st.integers(0, 2**32 - 1),
        st.lists(st.sampled_from(scales), min_size=1, max_size=3),
    )


def round_alone(array: np.ndarray, rate: int) -> np.ndarray:
    return rounded(Rounding((layer_of("b", array),), rate), {"b": array})["b"]


def blocks_of(array: np.ndarray) -> np.ndarray:
    """Return (n_blocks, BLOCK) float64, padded with zeros."""
    padded = np.zeros(-(-array.size // BLOCK) * BLOCK)
    padded[: array.size] = array.ravel()
    return padded.reshape(-1, BLOCK)


# ---------------------------------------------------------------- numbers


def check_errors(array: np.ndarray, rate: int, limit: float) -> None:
    """Compare errors with a limit, a share of the block's largest; without a normal step all is zero."""
    found = round_alone(array, rate)
    assert (found.dtype, found.shape) == (np.float32, array.shape)
    before, after = blocks_of(array), blocks_of(found)
    peaks = np.abs(before).max(axis=1)
    has_step = peaks >= rate * TINY
    errors = np.abs(after - before).max(axis=1)
    assert (errors <= limit * peaks)[has_step].all()
    assert not after[~has_step].any()


@given(tensors(SCALES))
@settings(derandomize=True, deadline=None)
@pytest.mark.filterwarnings("error")
def test_8_bits_are_within_half_a_step(array: np.ndarray) -> None:
    """A float16 step may be wider than max / 127 by a 2048th."""
    check_errors(array, BYTES, 0.5 / 127 * (1 + 2**-11) + 1e-6)


@given(tensors(FLOAT32_STEPS))
@settings(derandomize=True, deadline=None)
@pytest.mark.filterwarnings("error")
def test_16_bits_are_within_half_a_step(array: np.ndarray) -> None:
    """Half a step, and a 50th for what float32 arithmetic adds."""
    check_errors(array, WORDS, 0.5 / 32767 * 1.02)


@given(tensors(SCALES))
@settings(derandomize=True, deadline=None)
@pytest.mark.filterwarnings("error")
def test_16_bits_are_never_far_off(array: np.ndarray) -> None:
    """Within a 2048th of the block's largest, whatever type the steps have."""
    check_errors(array, WORDS, 2**-11 * 1.01)


@given(tensors(SCALES), st.sampled_from(RATES))
@settings(derandomize=True, deadline=None)
def test_zeros_stay_zero_and_signs_stay(array: np.ndarray, rate: int) -> None:
    found = round_alone(array, rate)
    assert (found[array == 0] == 0).all()
    assert (found * np.sign(array) >= 0).all()


@given(st.lists(tensors(SCALES), min_size=2, max_size=4), st.sampled_from(RATES))
@settings(derandomize=True, deadline=None)
def test_others_do_not_count(arrays: list[np.ndarray], rate: int) -> None:
    """Alone or with others, in any order: the same bits; names that are not asked for are left out."""
    named = {f"b{i}": array for i, array in enumerate(arrays)}
    layers = tuple(layer_of(name, array) for name, array in named.items())
    together = rounded(Rounding(layers, rate), named)
    backwards = rounded(Rounding(layers[::-1], rate), named)
    assert set(together) == set(named)
    for name, array in named.items():
        alone = rounded(Rounding(layers, rate), {name: array, "another": array})
        assert set(alone) == {name}
        for found in (together, backwards, alone):
            assert found[name].tobytes() == round_alone(array, rate).tobytes()


@pytest.mark.parametrize("shape", [(40,), (1, 40), (20, 1, 2), (8,)])
def test_shapes_stay(shape: tuple[int, ...]) -> None:
    array = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32)
    for rate in RATES:
        found = round_alone(array.reshape(shape), rate)
        assert found.shape == shape
        assert found.tobytes() == round_alone(array, rate).tobytes()


def test_values_are_the_arrays_not_the_layers() -> None:
    """A refit changes biases: the layer tells shape and name, the plan's constants the numbers."""
    old, new = np.ones(20, np.float32), np.linspace(-3, 3, 20, dtype=np.float32)
    rounding = Rounding((layer_of("b", old),), BYTES)
    other = np.arange(3.0)
    found = settled(Plan({}, 0, 0, 0, {"b": new, "other": other}, rounding))
    assert found["b"].tobytes() == round_alone(new, BYTES).tobytes()
    assert found["other"] is other
    assert settled(Plan({}, 0, 0, 0, {"b": new}))["b"] is new


# ---------------------------------------------------------------- bytes


def model_of(arrays: Sequence[np.ndarray], opset: int = 17) -> onnx.ModelProto:
    """Return a model whose outputs are the arrays times the input."""
    draft = Draft()
    outputs = []
    for i, array in enumerate(arrays):
        draft.add("Mul", ["x", draft.tensor(f"b{i}", array)], f"y{i}")
        outputs.append(value(f"y{i}", array.shape))
    return draft.model([value("x", [1])], outputs, opset=opset)


def file_size(proto: onnx.ModelProto, rounding: Rounding) -> int:
    constants = {layer.name: layer.weight for layer in rounding.layers}
    plan = Plan({}, 0, 0, 0, constants, rounding)
    emitted = Emitter(read_model(proto), {}, Restorer({}, {}), emit_coded, keeps_names=False).emit(plan)
    return to_proto(emitted.model).ByteSize()


@pytest.mark.parametrize(
    ("sizes", "signs"),
    [
        ([64], (-1, -1)),
        ([8] * 12, (-1, -1)),
        ([30] * 4, (-1, -1)),
        ([64] * 12, (1, 1)),
        ([200, 17, 30, 120, 240], (1, 1)),
    ],
)
def test_the_estimate_is_near_what_a_file_gains(sizes: list[int], signs: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    proto = model_of([rng.standard_normal(size).astype(np.float32) * 8 for size in sizes])
    layers = tuple(find_small_layers(read_model(proto)))
    assert len(layers) == len(sizes)
    for rate, sign in zip(RATES, signs, strict=True):
        estimate = n_saved_bytes(layers, rate)
        gain = file_size(proto, Rounding()) - file_size(proto, Rounding(layers, rate))
        assert np.sign(estimate) == sign
        assert estimate - 60 <= gain <= estimate + 250  # a file that decodes nothing has no mark


def test_nothing_is_saved_without_tensors() -> None:
    assert all(n_saved_bytes([], rate) < 0 for rate in RATES)


# ---------------------------------------------------------------- choice


class Meter:
    """Stands for the evaluator: the output moves by as much as the largest change of a number."""

    def __init__(self, layers: Sequence[Layer], floor: float = 0.0) -> None:
        self.originals = {layer.name: layer.weight for layer in layers}
        self.floor = floor
        self.n_calls = 0

    def probe(self, weights: Mapping[str, np.ndarray], probes: object) -> float:
        self.n_calls += 1
        assert set(weights) == set(self.originals)
        changes = [np.abs(array - self.originals[name]).max() for name, array in weights.items()]
        return float(max(changes)) + self.floor


def choose(layers: Sequence[Layer], budget: float, floor: float = 0.0) -> tuple[Rounding, int]:
    """Return what a prober chooses, and how often it measured."""
    meter = Meter(layers, floor)
    subject: Any = SimpleNamespace(probes=())
    prober = Prober(None, subject, None)
    prober._trials = meter
    return prober.choose_rounding(layers, budget), meter.n_calls


def test_the_fewest_bits_that_hardly_count_are_chosen() -> None:
    layers = [layer_of(f"b{i}", make_tensor(200, i, [1.0])) for i in range(4)]
    changes = [
        max(np.abs(round_alone(la.weight, rate) - la.weight).max() for la in layers) for rate in RATES
    ]
    assert 1e-3 < changes[0] < 5e-3
    assert changes[1] < 2e-5
    for budget, rate in ((10.1 * changes[0], BYTES), (9.9 * changes[0], WORDS), (2e-4, WORDS)):
        found, n_measured = choose(layers, budget)
        assert (found.rate, n_measured) == (rate, 1 + RATES.index(rate))
        assert found.layers == tuple(layers)
        assert found.error == changes[RATES.index(rate)]
    for budget, floor in ((5 * changes[1], 0.0), (0.1, np.nan), (0.1, np.inf)):
        assert choose(layers, budget, floor)[0].layers == ()


def test_nothing_is_measured_where_nothing_is_saved() -> None:
    for layers in ([], [layer_of("b", make_tensor(64, 0, [1.0]))]):
        found, n_measured = choose(layers, 1.0)
        assert (found.layers, found.error, n_measured) == ((), 0.0, 0)


# ---------------------------------------------------------------- decoders


ODD = [
    make_tensor(16, 0, [1.0]),
    make_tensor(17, 1, [0.0]),
    make_tensor(240, 2, [1e-36, 1e-4, 1.0, 1e9]).reshape(2, 1, 120),
    make_tensor(48, 3, [3.0]).reshape(48, 1),
    make_tensor(8, 4, [0.02]),
]


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("arrays", [ODD, ODD[3:4]], ids=["many", "one"])
def test_sessions_decode_what_numpy_rounds(arrays: list[np.ndarray], rate: int, opset: int) -> None:
    model = read_model(model_of(arrays, opset))
    layers = find_small_layers(model)
    named = {layer.name: layer.weight for layer in layers}
    rounding = Rounding(tuple(layers), rate)
    builder = GraphBuilder(model, [], emit_coded, layers)
    emit_rounded(rounding, named, builder)
    assert builder.finish() == len(model.proto.graph.node) - len(arrays)
    assert not {t.name for t in model.proto.graph.initializer} & set(named)
    wanted = [array.tobytes() for array in rounded(rounding, named).values()]
    for level in (OFF, BASIC):
        found = run(to_proto(model), {"x": np.ones(1, np.float32)}, level)
        assert [array.tobytes() for array in found.values()] == wanted


# ---------------------------------------------------------------- models


TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 5, 6, 6] x) => (float[n, 16] y)
<float[24, 5, 3, 3] w1, float[24] b1, float[24, 1, 1] s1, float[384, 200] w2, float[1, 200] b2,
 float[200] s3, float[200] b3, float[200, 16] w4, float[16] b4>
{
    h1 = Conv (x, w1, b1)
    r1 = Relu(h1)
    m1 = Mul(r1, s1)
    f1 = Flatten(m1)
    h2 = Gemm(f1, w2, b2)
    r2 = Tanh(h2)
    n3 = LayerNormalization(r2, s3, b3)
    r3 = Relu(n3)
    y = Gemm(r3, w4, b4)
}
"""
SMALL = ("b1", "s1", "b2", "s3", "b3", "b4")
PROTO = model_from_text(TEXT)


def compress(proto: onnx.ModelProto = PROTO, **settings: object) -> onnxzip.Result:
    settings = {"tolerance": 0.4, **settings}
    return onnxzip.compress(proto, keep_names=True, passes="scalar", skip=(), **settings)


def weights_of(proto: onnx.ModelProto | None) -> dict[str, np.ndarray]:
    assert proto is not None
    return {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}


def wanted(rate: int, proto: onnx.ModelProto = PROTO) -> dict[str, bytes]:
    """Return what the small tensors of a model are rounded to."""
    layers = tuple(find_small_layers(read_model(proto)))
    named = {layer.name: layer.weight for layer in layers}
    return {n: array.tobytes() for n, array in rounded(Rounding(layers, rate), named).items()}


def decoded(result: onnxzip.Result) -> dict[str, bytes]:
    """Return the small tensors of a compressed model as it decodes."""
    assert result.model is not None
    plain = weights_of(onnxzip.decompress(result.model))
    return {name: plain[name].tobytes() for name in SMALL}


def methods(result: onnxzip.Result) -> dict[str, str]:
    assert result.model is not None
    return {weight.name: weight.pass_name for weight in onnxzip.inspect(result.model).weights}


def rewrites(result: onnxzip.Result) -> list[str]:
    return [r.description for r in result.report.rewrites if r.pass_name == "rounding"]


ORIGINAL = {name: array.tobytes() for name, array in weights_of(PROTO).items()}


@pytest.fixture(scope="module")
def compressed() -> onnxzip.Result:
    return compress()


def test_small_tensors_are_stored_in_8_bits(compressed: onnxzip.Result) -> None:
    assert all(check.passed for check in compressed.report.checks)
    assert set(wanted(BYTES)) == set(SMALL)
    assert decoded(compressed) == wanted(BYTES)
    assert not set(decoded(compressed).values()) & set(ORIGINAL.values())


def test_small_tensors_are_listed_and_reported(compressed: onnxzip.Result) -> None:
    assert compressed.model is not None
    listed = [w for w in onnxzip.inspect(compressed.model).weights if w.pass_name == "rounding"]
    shapes = {name: array.shape for name, array in weights_of(PROTO).items() if name in SMALL}
    assert {w.name: w.shape for w in listed} == shapes
    for weight in listed:
        n_numbers = np.prod(weight.shape)
        assert weight.bytes_before == 4 * n_numbers
        assert weight.n_bytes == pytest.approx(compressed.report.small_after * n_numbers / 664, abs=1)
        assert weight.error is None
    (text,) = rewrites(compressed)
    assert text.startswith("664 numbers in 8 bits")
    (rewrite,) = [r for r in compressed.report.rewrites if r.pass_name == "rounding"]
    assert rewrite.target == "6 small tensors"
    assert not {layer.name for layer in compressed.report.layers} & set(SMALL)


def test_the_same_twice(compressed: onnxzip.Result) -> None:
    again = compress()
    assert compressed.model is not None
    assert again.model is not None
    assert again.model.SerializeToString() == compressed.model.SerializeToString()


def test_a_tight_tolerance_asks_for_16_bits() -> None:
    result = compress(tolerance=5e-3)
    (text,) = rewrites(result)
    assert text.startswith("664 numbers in 16 bits")
    assert decoded(result) == wanted(WORDS)
    sizes = [w.n_bytes for w in onnxzip.inspect(result.model).weights if w.name in SMALL]
    assert sum(sizes) == result.report.small_after > 2 * 664


def test_kept_tensors_stay_bit_for_bit(compressed: onnxzip.Result) -> None:
    """And the others are what they are with them."""
    result = compress(keep=("b1", "s?"))
    found, before = decoded(result), decoded(compressed)
    for name in SMALL:
        assert found[name] == (ORIGINAL if name in ("b1", "s1", "s3") else before)[name]
    assert rewrites(result)[0].startswith("416 numbers in 8 bits")
    assert {n for n, method in methods(result).items() if method == "rounding"} == {"b2", "b3", "b4"}


@pytest.mark.parametrize("level", [1, 5])
def test_lower_levels_leave_small_tensors(level: int) -> None:
    result = compress(level=level)
    assert decoded(result) == {name: ORIGINAL[name] for name in SMALL}
    assert not rewrites(result)
    assert "rounding" not in methods(result).values()


def test_few_tensors_are_left() -> None:
    """The decoder would take more than it saves."""
    text = TEXT.replace("96", "64")
    proto = model_from_text(text)
    result = compress(proto, keep=("s1", "s3", "b2", "b3"))
    assert not rewrites(result)
    assert {n: a.tobytes() for n, a in weights_of(result.model).items() if n in ("b1", "b4")} == {
        n: a.tobytes() for n, a in weights_of(proto).items() if n in ("b1", "b4")
    }
