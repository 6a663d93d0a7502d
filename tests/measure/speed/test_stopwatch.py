"""What a stopwatch runs models on, and which node gets the time of a kernel."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip import graph
from onnxzip.errors import OutputError, UsageError
from onnxzip.graph import KernelOwners, Model, loadable, read_model, with_node_names
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.speed import room, stopwatch
from onnxzip.measure.speed.stopwatch import Stopwatch, stopwatch_for
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.timing import kernels
from onnxzip.runtime.timing.kernels import Kernel, kernel_seconds
from onnxzip.runtime.timing.rounds import Patience

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((64, 64)).astype(np.float32)
ONCE = Patience(seconds=0, min_rounds=2)


class Draft:
    """A graph being written; nodes are named as they are called, "in_q"."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def constant(self, name: str, array: Array) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op_type: str, name: str, inputs: list[str], **attributes: object) -> str:
        outputs = [f"{name}_out"]
        if op_type == "DynamicQuantizeLinear":
            outputs += [f"{name}_scale", f"{name}_zero"]
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def quantised(
        self, name: str, value: str, array: Array | None = None, axis: int = 1, middle: int = 0
    ) -> str:
        """Add QuantizeLinear and DequantizeLinear behind a value; with an array it is a weight."""
        if array is not None:
            self.constant(value, array)
            n_channels = array.shape[axis]
            scale = self.constant(f"{name}_s", np.full(n_channels, 0.05, np.float32))
            zero = self.constant(f"{name}_z", np.zeros(n_channels, np.int8))
            packed = self.add("QuantizeLinear", f"{name}_q", [value, scale, zero], axis=axis)
            return self.add("DequantizeLinear", f"{name}_dq", [packed, scale, zero], axis=axis)
        pair = [
            self.constant(f"{name}_s", np.float32(0.05)),
            self.constant(f"{name}_z", np.uint8(middle)),
        ]
        packed = self.add("QuantizeLinear", f"{name}_q", [value, *pair])
        return self.add("DequantizeLinear", f"{name}_dq", [packed, *pair])

    def dynamic(self, value: str) -> str:
        packed = self.add("DynamicQuantizeLinear", "in_q", [value])
        return self.add("DequantizeLinear", "in_dq", [packed, "in_q_scale", "in_q_zero"])

    def model(self, shape: list[int | str], *outputs: str) -> Model:
        made = helper.make_graph(
            self.nodes,
            "draft",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.tensors,
        )
        return read_model(
            helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        )


def conv(n_out: int, *, is_quantised: bool, middle: int = 0) -> tuple[Model, Feeds]:
    """Return a Conv and its Relu, which 8 bits replace where they have no numbers below 0."""
    draft = Draft()
    weight = RNG.standard_normal((n_out, 3, 3, 3)).astype(np.float32)
    value = "x"
    if is_quantised:
        value = draft.quantised("in", "x")
        inputs = [value, draft.quantised("w", "weight", weight, axis=0)]
    else:
        inputs = [value, draft.constant("weight", weight)]
    value = draft.add("Conv", "conv", inputs, pads=[1] * 4)
    value = draft.add("Relu", "relu", [value])
    value = draft.quantised("out", value, middle=middle) if is_quantised else value
    model = draft.model([1, 3, 8, 8], value)
    return model, {"x": RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)}


def products(n: int, *, is_dynamic: bool) -> tuple[Model, Feeds]:
    """Return products of one quantised value, each with a bias; with fixed sizes they become Gemms."""
    draft = Draft()
    value = draft.dynamic("x") if is_dynamic else draft.quantised("in", "x")
    bias = draft.constant("bias", NORMAL[0])
    ends = []
    for i in range(n):
        weight = draft.quantised(f"w{i}", f"weight{i}", NORMAL)
        product = draft.add("MatMul", f"product{i}", [value, weight])
        ends.append(draft.add("Add", f"sum{i}", [product, bias]))
    model = draft.model(["batch", "length", 64], *ends)
    return model, {"x": RNG.standard_normal((1, 4, 64)).astype(np.float32)}


def dense() -> tuple[Model, Feeds]:
    """Return a product and a bias of rank 2, which become a Gemm, and one with its activation."""
    draft = Draft()
    weight, bias = draft.constant("weight", NORMAL), draft.constant("bias", NORMAL[0])
    value = draft.add("Add", "sum", [draft.add("MatMul", "product", ["x", weight]), bias])
    value = draft.add("Relu", "relu", [draft.add("Gemm", "gemm", [value, weight, bias])])
    return draft.model([4, 64], value), {"x": NORMAL[:4]}


FUSED = {
    "FusedConv": (conv(8, is_quantised=True, middle=128), "conv"),
    "Conv": (conv(16, is_quantised=False), "conv"),  # in blocks of channels
    "QLinearConv": (conv(16, is_quantised=True), "conv"),
    "MatMulIntegerToFloat": (products(2, is_dynamic=True), "product1"),
    "DynamicQuantizeMatMul": (products(1, is_dynamic=True), "product0"),
    "Gemm": (dense(), "product"),
    "FusedGemm": (dense(), "gemm"),
}


@pytest.mark.parametrize("op_type", FUSED)
def test_a_fused_kernel_belongs_to_the_node_that_does_the_work(op_type: str) -> None:
    (model, feeds), name = FUSED[op_type]
    found, owners = kernel_seconds(loadable(model), [feeds], n_runs=3), KernelOwners(model)
    owned = {kernel.op_type: owners.owner(*kernel) for kernel in found}
    if op_type not in owned:
        pytest.skip(f"this onnxruntime fuses none on this machine: {sorted(owned)}")
    assert name in {owners.owner(*kernel) for kernel in found if kernel.op_type == op_type}


def test_a_kernel_of_blocks_belongs_to_what_makes_its_value() -> None:
    owners = KernelOwners(conv(16, is_quantised=False)[0])
    assert owners.owner("relu_out_nchwc", "Conv") == "conv"
    assert owners.owner("InsertedPrecisionFreeCast_relu_out_nchwc_token_2", "Conv") == "conv"
    assert owners.owner("relu_out_nchwc", "MaxPool") == "relu"
    assert owners.owner("relu_out", "Conv") == "relu_out"
    assert owners.owner("other_nchwc", "Conv") == "other_nchwc"


def test_times_of_nodes_are_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, feeds = conv(16, is_quantised=False)
    told = {Kernel("relu_out_nchwc", "Conv"): 2.0, Kernel("ReorderOutput", "ReorderOutput"): 0.5}
    told |= {Kernel("ReorderOutput_token_3", "ReorderOutput"): 0.25, Kernel("relu_token_7", "Relu"): 1.0}
    monkeypatch.setattr(stopwatch, "kernel_seconds", lambda *_, **__: told)
    found = Stopwatch((feeds,), 1).node_seconds(model)
    assert found == {"conv": 2.0, "ReorderOutput": 0.75, "relu": 1.0}


def test_real_times_of_nodes() -> None:
    model, feeds = products(2, is_dynamic=True)
    seconds = Stopwatch((feeds,), None).node_seconds(model)
    assert {"product0", "product1", "sum0", "sum1"} <= seconds.keys()
    assert all(0 <= value < 60 for value in seconds.values())


def test_a_profile_that_is_not_whole_is_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    model, feeds = conv(3, is_quantised=False)
    monkeypatch.setattr(kernels.json, "loads", lambda *_, **__: [].index(1))
    with pytest.raises(OutputError, match="has no room for a profile"):
        kernel_seconds(loadable(model), [feeds], n_runs=1)


def test_nodes_get_names_of_their_own_on_a_copy() -> None:
    model, feeds = products(2, is_dynamic=False)
    assert with_node_names(model) is model
    names = ["", 'of "quotes"', "twice", "twice", "kept"]
    for node, name in zip(model.proto.graph.node, names, strict=False):
        node.name = name
    named = with_node_names(model)
    given = [node.name for node in named.proto.graph.node]
    assert [node.name for node in model.proto.graph.node][:5] == names
    assert len(set(given)) == len(given)
    assert given[4] == "kept"
    assert not {"", 'of "quotes"', "twice"} & set(given)
    assert set(Stopwatch((feeds,), None).node_seconds(model)) & set(given[:4])


def linear(*shape: int | str, op_type: str = "MatMul") -> Model:
    draft = Draft()
    value = draft.add(op_type, "node", ["x", draft.constant("weight", NORMAL)])
    return draft.model([*shape, 64], value)


def subject(*arrays: Array) -> Subject:
    """Return a subject with these inputs; nothing else of it is looked at."""
    feeds = FeedSet(tuple({"x": array} for array in arrays), tuple(len(array) for array in arrays))
    found = SimpleNamespace(samples=(SimpleNamespace(feeds=feeds),), providers=["CPU"])
    return cast(Subject, found)


SPEED = Options(objective="speed")


def test_one_sample_a_run_where_any_number_goes() -> None:
    made = stopwatch_for(linear("batch"), subject(NORMAL[:5], NORMAL[5:8]), SPEED)
    assert (made.batch, made.n_threads, made.provider) == (1, 1, "CPU")
    assert [feed["x"].shape for feed in made.feeds] == [(1, 64), (1, 64)]
    np.testing.assert_array_equal(made.feeds[1]["x"], NORMAL[5:6])


def test_samples_are_repeated_for_a_larger_batch() -> None:
    options = replace(SPEED, batch=7, threads=2)
    made = stopwatch_for(linear("batch"), subject(NORMAL[:5]), options)
    assert (made.batch, made.n_threads) == (7, 2)
    np.testing.assert_array_equal(made.feeds[0]["x"], NORMAL[[0, 1, 2, 3, 4, 0, 1]])


def test_lengths_of_all_runs_are_timed() -> None:
    lengths = [NORMAL[None, : 3 + i] for i in range(40)]
    made = stopwatch_for(linear("batch", "length"), subject(*lengths), SPEED)
    assert len(made.feeds) == 8
    sizes = [feed["x"].shape[1] for feed in made.feeds]
    assert (sizes[0], sizes[-1]) == (3, 42)


@pytest.mark.parametrize(
    ("model", "batch", "message"),
    [
        (linear(4), 2, "batch 2: <ModelProto> is fixed to 4 samples a run; leave it out, or export"),
        (linear(1), 16, "batch 16: <ModelProto> is fixed to 1 sample a run"),
        (linear("tokens"), 2, "batch 2: <ModelProto> has no axis that counts samples"),
    ],
)
def test_a_batch_that_the_model_does_not_take(model: Model, batch: int, message: str) -> None:
    size = model.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 4
    with pytest.raises(UsageError, match=message):
        stopwatch_for(model, subject(NORMAL[:size]), replace(SPEED, batch=batch))


@pytest.mark.parametrize(("n_free", "batch"), [(10**8, 10**6), (10**6, 2000)])
def test_a_batch_that_memory_does_not_hold(
    n_free: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 samples of 64 numbers are 0.5 MB, and what is made of them that again, in two sessions."""
    monkeypatch.setattr(room, "free_bytes", lambda: n_free)
    inputs = subject(NORMAL[:5])
    with pytest.raises(
        UsageError, match=rf"batch {batch}: runs of <ModelProto> .* MB are free; ask for"
    ):
        stopwatch_for(linear("batch"), inputs, replace(SPEED, batch=batch))
    assert stopwatch_for(linear("batch"), inputs, replace(SPEED, batch=100)).batch == 100


def test_free_memory_is_known() -> None:
    assert room.free_bytes() is None or room.free_bytes() > 1 << 26


def test_a_batch_that_the_model_is_fixed_to() -> None:
    for batch in (None, 4):
        made = stopwatch_for(linear(4), subject(NORMAL[:4]), replace(SPEED, batch=batch))
        assert made.batch == 4
        np.testing.assert_array_equal(made.feeds[0]["x"], NORMAL[:4])
    assert stopwatch_for(linear("tokens"), subject(NORMAL[:4]), SPEED).batch is None


def square(batch: str) -> Model:
    """Return a model that takes three rows alone, though its batch is called free."""
    draft = Draft()
    shape = draft.constant("shape", np.array([3, 64]))
    return draft.model([batch, 64], draft.add("Reshape", "reshape", ["x", shape]))


def test_a_batch_that_is_free_by_name_only() -> None:
    model, inputs = square("batch"), subject(NORMAL[:3])
    made = stopwatch_for(model, inputs, SPEED)
    assert made.batch is None
    assert made.feeds[0]["x"].shape == (3, 64)
    with pytest.raises(UsageError, match="batch 2: <ModelProto> does not run on so many samples"):
        stopwatch_for(model, inputs, replace(SPEED, batch=2))
    assert stopwatch_for(model, inputs, replace(SPEED, batch=3)).batch == 3


def test_a_model_beside_itself() -> None:
    model, feeds = conv(3, is_quantised=False)
    speed = Stopwatch((feeds,), 1, 2).compare(model, graph.read_model(model.proto), ONCE)
    assert (speed.n_threads, speed.batch, speed.provider) == (2, 1, "CPU")
    assert len(speed.before.seconds) == len(speed.after.seconds) == 2
    assert speed.ratio.low <= speed.ratio.value <= speed.ratio.high
    assert speed.is_faster == (speed.ratio.high < 1)
