"""Examples: samples that stand for the loss that was stated, with what both models answer to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.graph import read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.subject import Subject
from onnxzip.prove.demonstration import Demonstration, demonstrate
from onnxzip.prove.drift import measure_drift
from tests.prove.test_drift import ORIGINAL, WEIGHT, feeds_of, first_row_moved, subject_of

CHANGED = first_row_moved(0.2)
FIRST, SECOND = (1.0, 0.1, 0.1, 0.1), (0.1, 1.0, 0.1, 0.1)


def shown(changed: onnx.ModelProto, subject: Subject, original: onnx.ModelProto) -> Demonstration:
    models = read_model(original), read_model(changed)
    checks = measure_drift(models[1], models[0], subject)
    return demonstrate(*models, subject, checks)


def test_samples_are_those_of_their_losses() -> None:
    feeds = feeds_of(FIRST, "")
    found = shown(CHANGED, subject_of(feeds), ORIGINAL)
    assert [e.rank for e in found.examples] == [
        *("the median sample", "one in twenty loses more", "the sample that loses most")
    ]
    inputs = np.concatenate([run["x"] for run in feeds])
    gone = np.abs(0.2 * inputs[:, :1] * WEIGHT[0])
    for example in found.examples:
        fed = inputs[example.sample]
        np.testing.assert_allclose(example.inputs[0].original, fed, rtol=1e-3)
        (output,) = example.outputs
        np.testing.assert_allclose(output.original, fed @ WEIGHT, rtol=1e-3, atol=1e-4)
        apart = np.abs(np.array(output.original) - np.array(output.compressed))
        np.testing.assert_allclose(apart, gone[example.sample], rtol=1e-2, atol=1e-3)
    losses = [example.loss for example in found.examples]
    assert losses == sorted(losses)


def test_they_are_of_the_family_that_counts() -> None:
    quiet, loud = feeds_of(SECOND, "quiet"), feeds_of(FIRST, "loud")
    found = shown(CHANGED, subject_of(quiet, loud), ORIGINAL)
    fed = np.concatenate([run["x"] for run in loud])[found.examples[0].sample]
    np.testing.assert_allclose(found.examples[0].inputs[0].original, fed, rtol=1e-3)


def test_of_few_samples_the_first_ones_are_shown() -> None:
    feeds = replace(feeds_of(FIRST, ""), feeds=feeds_of(FIRST, "").feeds[:1], sizes=(2,))
    feeds = replace(feeds, feeds=({"x": feeds.feeds[0]["x"][:2]},))
    found = shown(CHANGED, subject_of(feeds), ORIGINAL)
    assert [(e.sample, e.rank, e.loss) for e in found.examples] == [
        (0, "one of the first samples", None),
        (1, "one of the first samples", None),
    ]


def test_without_a_loss_there_is_nothing_to_show() -> None:
    subject = subject_of(feeds_of(FIRST, ""))
    assert demonstrate(read_model(ORIGINAL), read_model(CHANGED), subject, []) == Demonstration()


def test_sessions_are_timed() -> None:
    found = shown(CHANGED, subject_of(feeds_of(FIRST, "")), ORIGINAL)
    assert found.load_seconds is not None
    assert found.load_seconds.before > 0 < found.load_seconds.after


def counter() -> onnx.ModelProto:
    """Return a model whose state grows by what is fed, and is its answer."""
    nodes = [
        helper.make_node("Add", ["x", "state"], ["next"]),
        helper.make_node("Mul", ["next", "two"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in ("x", "state", "y", "next")
    ]
    two = numpy_helper.from_array(np.float32([2.0]), "two")
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], [two])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("n_steps", [4, 8])
def test_states_are_handed_on_to_a_sample(n_steps: int) -> None:
    rows = np.arange(1, 25, dtype=np.float32).reshape(8, 1, 3)
    feeds = FeedSet(
        tuple({"x": row, "state": np.zeros((1, 3), np.float32)} for row in rows),
        *((1,) * 8, 0, "generated inputs"),
        carried={"state": "next"},
        n_steps=n_steps,
    )
    model = counter()
    found = shown(model, subject_of(feeds, original=model), model)
    for example in found.examples:
        start = example.sample - example.sample % n_steps
        wanted = 2 * rows[start : example.sample + 1, 0].sum(axis=0)
        assert [array.name for array in (*example.inputs, *example.outputs)] == ["x", "y"]
        np.testing.assert_allclose(example.outputs[0].original, wanted)


def test_texts_and_truth_values_are_shown() -> None:
    """A row of an array of texts is a text, and no array."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Greater", ["y", "zero"], ["is_above"]),
        helper.make_node("Gather", ["names", "first"], ["label"]),
    ]
    constants = [
        numpy_helper.from_array(WEIGHT, "w"),
        numpy_helper.from_array(np.float32(0), "zero"),
        helper.make_tensor("names", TensorProto.STRING, [2], [b"cat", b"dog"]),
        numpy_helper.from_array(np.zeros(8, np.int64), "first"),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("is_above", TensorProto.BOOL, ["n", 3]),
        helper.make_tensor_value_info("label", TensorProto.STRING, [8]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "g", [x], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = shown(model, subject_of(feeds_of(FIRST, ""), original=model), model)
    looks = {array.name: (array.look, array.original) for array in found.examples[0].outputs}
    assert looks["label"] == ("values", ("cat",))
    assert looks["is_above"][0] == "values"
    assert set(map(type, looks["is_above"][1])) == {bool}
