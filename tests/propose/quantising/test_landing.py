"""Weights and biases that land: what graphs then read, what files decode, and that nothing overflows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import onnxzip
from onnxzip.graph import Model, decoder, read_mark, read_model, to_proto
from onnxzip.propose.quantising.landing import Landing, land
from onnxzip.prove.structure import unfused
from onnxzip.records.payload import IntegerGrid
from onnxzip.rewrite.landed import Landed, stored_biases, stored_steps
from tests.casebook.kit import Draft, value
from tests.graph.running import OFF, run
from tests.speed import tell_times


def two_convs(bias: float = 0.1, other_scale: float = 0.03, opset: int = 17) -> Model:
    """Return two Convs with one weight, whose inputs have scales of their own."""
    draft = Draft()
    draft.weight("w", 16, 4, 3, 3)
    for name, scale in (("a", 0.02), ("b", other_scale)):
        operands = [draft.tensor(f"s{name}", np.float32(scale)), draft.tensor(f"z{name}", np.uint8(128))]
        draft.add("QuantizeLinear", ["x", *operands], f"{name}q")
        draft.add("DequantizeLinear", [f"{name}q", *operands], f"{name}d")
        draft.tensor(f"b{name}", (bias * draft.rng.standard_normal(16)).astype(np.float32))
        draft.add("Conv", [f"{name}d", "w", f"b{name}"], name, kernel_shape=[3, 3])
        draft.add("QuantizeLinear", [name, *operands], f"{name}r")
        draft.add("DequantizeLinear", [f"{name}r", *operands], f"y{name}")
    outputs = [value(name, [1, 16, 6, 6]) for name in ("ya", "yb")]
    return read_model(draft.model([value("x", [1, 4, 8, 8])], outputs, opset=opset))


LANDING = Landing("w", 0, ("a", "b"), ("ba", "bb"), ("sa", "sb"))


def landed(model: Model, coded: np.ndarray | None = None) -> Landed:
    (original,) = (model.array(t) for t in model.proto.graph.initializer if t.name == "w")
    return land(model, [LANDING], {"w": original}, lambda name: coded)


def arrays_of(model: Model) -> dict[str, np.ndarray]:
    return {t.name: model.array(t) for t in model.proto.graph.initializer}


def test_a_weight_of_two_nodes_lands_once_and_its_biases_by_the_steps_of_each() -> None:
    model = two_convs()
    before, found = arrays_of(model), landed(model)
    after, grid = arrays_of(found.model), found.grids["w"]
    assert after["w"].dtype == np.int8
    assert np.array_equal(after["w"], grid.integers(before["w"]))
    assert np.array_equal(after[grid.scale], grid.steps)
    for name in "ab":
        step = grid.steps * before[f"s{name}"]
        assert after[f"b{name}"].dtype == np.int32
        assert np.abs(after[f"b{name}"] * step - before[f"b{name}"]).max() <= step.max() * 0.51
    assert unfused(found.model) == ()
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted, got = run(to_proto(model), feeds), run(to_proto(found.model), feeds)
    for name, y in wanted.items():
        assert np.abs(got[name] - y).max() <= 0.061  # two steps of the output
    assert not [a for node in found.model.proto.graph.node for a in node.attribute if "kernel" in a.name]


@pytest.mark.parametrize(("bias", "scale"), [(1e6, 1e-4), (3e37, 1e-3), (0.0, 1e-20)])
def test_biases_that_are_out_of_all_proportion_do_not_overflow(bias: float, scale: float) -> None:
    found = landed(two_convs(bias, scale))
    integers = arrays_of(found.model)["bb"].astype(np.int64)
    assert np.abs(integers).max() <= 2**30 + 256  # as float32 has it
    before = arrays_of(two_convs(bias, scale))["bb"]
    step = found.grids["w"].steps.astype(np.float64) * np.float32(scale)
    np.testing.assert_allclose(integers * step, before, rtol=1e-3, atol=step.max())


def test_before_opset_13_there_is_one_step() -> None:
    found = landed(two_convs(opset=11))
    assert found.grids["w"].steps.shape == ()
    assert unfused(found.model) == ()


def test_one_step_is_a_scalar_for_bias_and_weight() -> None:
    model = two_convs()
    original = arrays_of(model)["w"]
    step = np.float32(np.abs(original).max() / 3)
    found = landed(model, np.asarray(np.rint(original / step) * step, np.float32))
    assert found.grids["w"].steps.shape == ()
    attributes = [a.name for n in found.model.proto.graph.node for a in n.attribute]
    assert "axis" not in attributes
    assert unfused(found.model) == ()


def test_what_is_stored_together_is_smaller_and_decodes_to_itself() -> None:
    draft = Draft()
    biases = {f"b{i}": np.arange(-70, 70, dtype=np.int32) * 900 for i in range(3)}
    biases |= {"large": np.full(64, 2**29, np.int32), "few": np.arange(40, dtype=np.int32)}
    steps = np.linspace(0.01, 0.02, 200, dtype=np.float16).astype(np.float32)
    for name, array in {**biases, "s": steps, "odd": steps + np.float32(1e-7)}.items():
        draft.add("Identity", [draft.tensor(name, array)], f"{name}_out")
    model = read_model(draft.model([value("x", [1])], [value("s_out", [200])]))
    grids = {name: IntegerGrid(arrays_of(model)[name], 0, name, "z") for name in ("s", "odd")}
    whole = Landed(model, grids, tuple(biases))
    stored = stored_biases(whole)
    assert list(stored.integers) == ["b0", "b1", "b2", "few"]
    assert stored.unit == 2
    for name, array in stored.values().items():
        assert np.abs(array - biases[name]).max() <= 1
    assert list(stored_steps(whole)) == ["s"]
    few = Landed(model, {}, ("few",))
    assert stored_biases(few).integers == {}


def network(kind: str) -> onnx.ModelProto:
    """Return a small network of Convs of a kind, with noise for weights."""
    draft = Draft()
    rank = {"1d": 1, "3d": 3}.get(kind, 2)

    def conv(x: str, y: str, *shape: int, **attributes: Any) -> str:
        draft.weight(f"{y}_w", *shape, *[3] * rank)
        draft.weight(f"{y}_b", shape[0])
        draft.add("Conv", [x, f"{y}_w", f"{y}_b"], f"{y}_c", pads=[1] * 2 * rank, **attributes)
        draft.add("Relu", [f"{y}_c"], y)
        return y

    last = conv(conv("x", "a", 16, 8), "b", 32, 16)
    if kind == "groups":
        last = conv(conv(last, "c", 32, 8, group=4), "d", 32, 1, group=32)
    draft.add("GlobalAveragePool", [last], "p")
    draft.add("Flatten", ["p"], "f")
    draft.add("Gemm", ["f", draft.weight("g", 32, 24), draft.weight("gb", 24)], "y")
    size = {1: [24], 2: [8, 8], 3: [5, 5, 5]}[rank]
    return draft.model([value("x", ["n", 8, *size])], [value("y", ["n", 24])])


@pytest.mark.parametrize("kind", ["1d", "groups"])
def test_files_decode_the_same_integers_everywhere_and_unpack_to_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_times(monkeypatch)
    proto = network(kind)
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    x = np.random.default_rng(3).standard_normal((24, *shape)).astype(np.float32)
    small, plain = tmp_path / "small.onnx", tmp_path / "plain.onnx"
    options = {"objective": "speed", "tolerance": 0.8, "level": 3, "passes": ("dct",)}
    result = onnxzip.compress(proto, small, calibration={"x": x}, **options)
    assert {check.kind: check.value for check in result.report.checks}["exact"] == 0.0
    onnxzip.decompress(small, plain)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(plain).graph.initializer}
    integers = [a for a in stored.values() if a.dtype == np.int8 and a.size >= 256]
    assert len(integers) >= (4 if kind == "groups" else 3)
    assert max(np.abs(a.astype(int)).max() for a in integers) <= 127
    assert not [a for a in stored.values() if a.dtype == np.float32 and a.size >= 256]
    # onnx's reference evaluator decodes them in numpy.
    model = read_model(small)
    n_nodes, _ = read_mark(model)
    reference = ReferenceEvaluator(to_proto(decoder(model, n_nodes)))
    for name, array in zip(reference.output_names, reference.run(None, {}), strict=True):
        assert np.array_equal(array, stored[name])
    assert np.array_equal(run(small, {"x": x}, OFF)["y"], run(plain, {"x": x}, OFF)["y"])
    listed = [weight for weight in onnxzip.inspect(small).weights if weight.dtype == "int8"]
    assert len(listed) == len(integers)
