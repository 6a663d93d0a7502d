"""Channels are made alike without changing what a model computes, and only where that helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from onnxzip import graph
from onnxzip.graph import Model, to_proto
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.channels import Channels, measure_channels
from onnxzip.propose.quantising.equalising import Equalised, equalise, groups_of
from tests.casebook.kit import BATCH, Draft, value
from tests.graph.running import run

WIDTH, N_OUT = 32, 24
PEAKS = np.where(np.arange(WIDTH) % 11 == 3, 20, 1).astype(np.float32)
"""Some channels have numbers 20 times as large as the others."""

OUTPUT = [value("y", None)]


def rows(name: str = "x") -> list[onnx.ValueInfoProto]:
    return [value(name, [BATCH, 6, WIDTH])]


def behind(add: Callable[[Draft], str]) -> onnx.ModelProto:
    """Return a model that multiplies what `add` makes of x by a weight."""
    draft = Draft()
    made = add(draft)
    draft.add("MatMul", [made, draft.weight("weight", WIDTH, N_OUT)], "y")
    return draft.model(rows(), OUTPUT)


def norm(draft: Draft) -> str:
    gain, offset = draft.tensor("gain", PEAKS), draft.tensor("offset", PEAKS * np.float32(0.3))
    return draft.add("LayerNormalization", ["x", gain, offset], "n")


def old_norm(draft: Draft) -> str:
    shifted = draft.add("Mul", [draft.tensor("gain", PEAKS), "x"], "m")
    return draft.add("Add", [draft.tensor("offset", PEAKS * np.float32(0.3)), shifted], "n")


def dense(draft: Draft) -> str:
    first = np.asarray(draft.rng.standard_normal((WIDTH, WIDTH)) * PEAKS, np.float32)
    product = draft.add("MatMul", ["x", draft.tensor("first", first)], "p")
    biased = draft.add("Add", [product, draft.tensor("bias", PEAKS)], "b")
    slope = draft.tensor("slope", np.full(1, 0.1, np.float32))
    return draft.add("PRelu", [draft.add("LeakyRelu", [biased], "l", alpha=0.3), slope], "n")


def gelu(draft: Draft) -> str:
    normal = norm(draft)
    return draft.add("Mul", [normal, draft.add("Tanh", [normal], "t")], "g")


def halved(draft: Draft) -> str:
    return draft.add("Mul", [norm(draft), draft.tensor("half", np.float32(0.5))], "h")


def residual() -> onnx.ModelProto:
    """A normalised value is multiplied by two weights, and added to one of the products."""
    draft = Draft()
    normal = norm(draft)
    first = draft.add("MatMul", [normal, draft.weight("first", WIDTH, WIDTH)], "f")
    second = draft.add("MatMul", [normal, draft.weight("second", WIDTH, WIDTH)], "s")
    draft.add("Add", [draft.add("Mul", [first, second], "p"), normal], "y")
    return draft.model(rows(), OUTPUT)


def gemms() -> onnx.ModelProto:
    """Two Gemm nodes, the first with its weight transposed, a Relu between."""
    draft = Draft()
    first = np.asarray(draft.rng.standard_normal((WIDTH, 16)) * PEAKS[:, None], np.float32)
    names = ["x", draft.tensor("first", first), draft.tensor("bias", PEAKS)]
    hidden = draft.add("Relu", [draft.add("Gemm", names, "h", transB=1)], "r")
    draft.add("Gemm", [hidden, draft.weight("second", WIDTH, N_OUT)], "y")
    return draft.model([value("x", [BATCH, 16])], OUTPUT)


def equalised(model: onnx.ModelProto, keep: str = "") -> tuple[Model, Equalised]:
    """Return a model as it was read, and what is made of it."""
    read = graph.read_model(model)

    def may_change(name: str) -> bool:
        return name != keep

    shape = [d.dim_value or 40 for d in model.graph.input[0].type.tensor_type.shape.dim]
    rng = np.random.default_rng(1)
    runs = [{"x": np.asarray(rng.standard_normal(shape), np.float32)} for _ in range(4)]
    feeds = FeedSet(tuple(runs), (shape[0],) * len(runs))
    groups = groups_of(read, may_change)
    channels = measure_channels(read, [g.value for g in groups], feeds, None, lambda fraction: None)
    return read, equalise(read, groups, channels, may_change)


def assert_same_answers(before: Model, after: Model) -> None:
    shape = [d.dim_value or 5 for d in before.proto.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": np.asarray(np.random.default_rng(2).standard_normal(shape), np.float32)}
    wanted = run(to_proto(before), feeds)["y"]
    found = run(to_proto(after), feeds)["y"]
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)


FREE = {"norm": norm, "old norm": old_norm, "dense": dense}


@pytest.mark.parametrize("name", FREE)
def test_what_makes_a_value_divides_it(name: str) -> None:
    before, found = equalised(behind(FREE[name]))
    assert "in what makes them" in found.rewrites[-1].description
    assert [n.op_type for n in found.model.proto.graph.node] == [
        n.op_type for n in before.proto.graph.node
    ]
    assert_same_answers(before, found.model)


MULS = {"residual": residual(), "gelu": behind(gelu), "scalar": behind(halved)}


@pytest.mark.parametrize("model", MULS.values(), ids=MULS)
def test_a_mul_divides_what_others_read_or_bend(model: onnx.ModelProto) -> None:
    """A factor for all channels stays one: runtimes look for the 0.5 of a Gelu."""
    before, found = equalised(model)
    (rewrite,) = found.rewrites
    assert "by a Mul" in rewrite.description
    n_before, n_after = (
        [n.op_type for n in m.proto.graph.node].count("Mul") for m in (before, found.model)
    )
    assert n_after == n_before + 1  # one for all that multiply the value
    assert_same_answers(before, found.model)


def test_gemm_nodes_divide_in_the_weight_before() -> None:
    before, found = equalised(gemms())
    assert [r.target for r in found.rewrites] == ["second"]
    assert len(found.model.proto.graph.node) == len(before.proto.graph.node)
    assert_same_answers(before, found.model)


def test_weights_keep_their_names_and_types() -> None:
    before, found = equalised(residual())
    shapes = [{t.name: tuple(t.dims) for t in m.proto.graph.initializer} for m in (before, found.model)]
    assert shapes[0].items() <= shapes[1].items()
    assert {t.data_type for t in found.model.proto.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_only_what_computes_in_int8_is_looked_at() -> None:
    """One of two that multiply a value: the other one, and the sum, go on reading it as it was."""
    read = graph.read_model(residual())
    (group,) = groups_of(read, lambda name: True)
    assert [m.weight for m in group.reduced(["s"]).members] == ["second"]
    large = Channels(*[sign * PEAKS for sign in (-1, 1, -1, 1)], np.eye(WIDTH, dtype=np.float32) * PEAKS)
    found = equalise(read, [group.reduced(["s"])], {"n": large}, lambda name: True)
    arrays = {t.name: found.model.array(t) for t in found.model.proto.graph.initializer}
    before = {t.name: read.array(t) for t in read.proto.graph.initializer}
    assert np.array_equal(arrays["first"], before["first"])
    assert not np.array_equal(arrays["second"], before["second"])
    assert_same_answers(read, found.model)
    assert not equalise(read, [group.reduced([])], {"n": large}, lambda name: True).rewrites


def test_what_is_kept_stays() -> None:
    before, found = equalised(behind(norm), keep="gain")
    assert "by a Mul" in found.rewrites[0].description
    assert_same_answers(before, found.model)
    kept = next(t for t in found.model.proto.graph.initializer if t.name == "gain")
    assert np.array_equal(found.model.array(kept), PEAKS)
    assert not equalised(behind(norm), keep="weight")[1].rewrites


def test_an_output_of_the_graph_is_not_divided() -> None:
    model = behind(norm)
    model.graph.output.append(value("n", None))
    before, found = equalised(model)
    assert "by a Mul" in found.rewrites[0].description
    assert_same_answers(before, found.model)
    feeds = {"x": np.ones((2, 6, WIDTH), np.float32)}
    assert np.array_equal(*(run(to_proto(m), feeds)["n"] for m in (before, found.model)))


def test_channels_that_are_alike_stay() -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", WIDTH, N_OUT)], "y")
    before, found = equalised(draft.model(rows(), OUTPUT))
    assert found.model is before
    assert not found.rewrites
    (skip,) = found.skips
    assert "not worth it" in skip.reason


def test_a_weight_of_several_values_stays() -> None:
    draft = Draft()
    weight, normal = draft.weight("weight", WIDTH, WIDTH), norm(draft)
    draft.add("MatMul", [draft.add("MatMul", [normal, weight], "h"), weight], "y")
    _, found = equalised(draft.model(rows(), OUTPUT))
    assert not found.rewrites
    assert {s.reason for s in found.skips} == {"'weight' multiplies several values"}


def test_a_bias_of_one_channel_is_no_shift_of_many() -> None:
    """One channel, of which an Add makes 32 of it: its factor cannot differ by channel."""
    draft = Draft()
    first = draft.add("MatMul", ["x", draft.weight("first", WIDTH, 1)], "p")
    wide = draft.add("Add", [first, draft.tensor("shift", PEAKS)], "w")
    draft.add("MatMul", [wide, draft.weight("weight", WIDTH, N_OUT)], "y")
    before, found = equalised(draft.model(rows(), OUTPUT))
    assert all("by a Mul" in r.description for r in found.rewrites if r.target == "weight")
    assert_same_answers(before, found.model)
