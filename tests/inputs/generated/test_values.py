"""Generated inputs: sizes, values, refusals, attempts until a run succeeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxzip.inputs.generated.values import generate_feeds

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import samples_per_run
from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.free_sizes import FreeSizes, resolve_shapes
from onnxzip.inputs.generated.runnable import runnable_feeds
from onnxzip.runtime.input_spec import InputSpec
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import Session, open_session

F32, I64 = np.dtype("float32"), np.dtype("int64")


def shapes_of(*specs: InputSpec, free_sizes: FreeSizes = FreeSizes()) -> list[tuple[int, ...]]:  # noqa: B008
    return list(resolve_shapes(specs, free_sizes).values())


def test_same_symbol_same_size_and_expressions():
    specs = [
        InputSpec("input_ids", I64, ("batch", "seq")),
        InputSpec("attention_mask", I64, ("batch", "past + seq")),
        InputSpec("past_key", F32, ("batch", 4, "past", 8)),
        InputSpec("wide", F32, ("batch", "2*seq")),
    ]
    ids, mask, past, wide = shapes_of(*specs)
    assert ids[0] == mask[0] == past[0] == wide[0] == 4
    assert mask[1] == ids[1] + past[2]
    assert wide[1] == 2 * ids[1]


def test_axes_are_judged_by_place_and_name():
    assert shapes_of(InputSpec("image", F32, (None, 3, None, None))) == [(4, 3, 64, 64)]
    assert shapes_of(InputSpec("image", F32, (None, None, None, 3))) == [(4, 64, 64, 3)]
    assert shapes_of(InputSpec("x", F32, ("s0", "s1"))) == [(4, 32)]
    assert shapes_of(InputSpec("input", F32, (None, None)), InputSpec("state", F32, (2, None, 128))) == [
        (4, 32),
        (2, 4, 128),
    ]
    assert shapes_of(InputSpec("x", F32, (1, "height", "width", 7))) == [(1, 64, 64, 7)]


def test_an_n_behind_the_batch_is_no_batch():
    waves, lengths = (
        InputSpec("waves", F32, ("batch_size", "N")),
        InputSpec("lens", I64, ("batch_size",)),
    )
    assert shapes_of(waves, lengths) == [(4, 32), (4,)]
    assert shapes_of(InputSpec("x", F32, ("N", 3))) == [(4, 3)]
    assert shapes_of(InputSpec("x", F32, (7, "N", 3))) == [(7, 4, 3)]


def test_samples_per_run():
    state, frame = InputSpec("state", F32, (2, 1, 8)), InputSpec("x", F32, (3, 16))
    assert samples_per_run([state, frame], resolve_shapes([state, frame], FreeSizes())) == 3
    free = InputSpec("x", F32, ("n", 16))
    assert samples_per_run([free], {"x": (5, 16)}) == 5


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 40000), st.sampled_from(["int8", "int32", "int64", "uint8"]), st.integers(0, 99))
def test_integers_stay_below_the_table(bound, dtype, seed):
    specs = [InputSpec("x", np.dtype(dtype), ("b", "s"))]
    (feed,) = generate_feeds(
        specs, seed=seed, n_batches=1, bounds={"x": range(min(bound, np.iinfo(dtype).max + 1))}
    )
    assert feed["x"].dtype == dtype
    assert feed["x"].min() >= 0
    assert feed["x"].max() < bound


def test_values_follow_names():
    specs = [
        InputSpec("input_ids", I64, ("b", "s")),
        InputSpec("attention_mask", I64, ("b", "s")),
        InputSpec("token_type_ids", I64, ("b", "s")),
        InputSpec("position_ids", I64, ("b", "s")),
        InputSpec("sr", I64, ()),
        InputSpec("lengths", I64, ("b",)),
        InputSpec("pixels", np.dtype("uint8"), ("b", 3, 8, 8)),
        InputSpec("half", np.dtype("float16"), ("b", 1000)),
        InputSpec("flags", np.dtype("bool"), ("b", 100)),
    ]
    feed = generate_feeds(specs, seed=0, n_batches=1)[0]
    assert {name: a.dtype for name, a in feed.items()} == {s.name: s.dtype for s in specs}
    mask = feed["attention_mask"]
    assert mask[0].all()
    assert not mask[1, -1]
    assert mask[1, 0]
    assert set(np.unique(feed["token_type_ids"])) == {0, 1}
    np.testing.assert_array_equal(feed["position_ids"][1], np.arange(32))
    assert feed["sr"] == 16000
    assert feed["sr"].shape == ()
    assert (feed["lengths"] == 32).all()
    assert feed["pixels"].max() > 200
    assert 0.9 < feed["half"].astype(float).std() < 1.1
    assert 0 < feed["flags"].mean() < 1


def test_feeds_are_seeded():
    specs = [InputSpec("x", F32, ("b", 4))]
    first, second = (generate_feeds(specs, seed=1, n_batches=2) for _ in range(2))
    other = generate_feeds(specs, seed=2, n_batches=2)
    np.testing.assert_array_equal(first[1]["x"], second[1]["x"])
    assert not np.array_equal(first[0]["x"], first[1]["x"])
    assert not np.array_equal(first[0]["x"], other[0]["x"])


@pytest.mark.parametrize("dtype", ["tensor(string)", "seq(tensor(float))", "map(int64,tensor(float))"])
def test_unsupported_inputs_are_refused(dtype):
    with pytest.raises(CalibrationError, match=r"input 'text' has type .*calibration"):
        generate_feeds([InputSpec("text", dtype, ("n",))], seed=0, n_batches=1)


def make_session(shape: list, nodes: list, *initializers: tuple[str, np.ndarray]) -> Session:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_session(LoadableModel(model.SerializeToString(), "m.onnx"))


def test_runnable_feeds_searches_for_a_size_that_runs():
    weight = np.ones((3, 16000), np.float32)  # runs with 16000 columns or 1 only
    session = make_session(["b", "t"], [helper.make_node("Add", ["x", "w"], ["y"])], ("w", weight[:1]))
    feeds = runnable_feeds(session, seed=3)
    assert feeds.seed == 3
    assert feeds.note == "generated inputs"
    assert feeds.n_samples == sum(len(feed["x"]) for feed in feeds) >= 16
    for feed in feeds:
        session.run(feed)


def test_runnable_feeds_prefers_finite_outputs():
    session = make_session(["b", 8], [helper.make_node("Log", ["x"], ["y"])])
    assert all(np.isfinite(session.run(feed)["y"]).all() for feed in runnable_feeds(session, seed=0))


def test_runnable_feeds_prefers_outputs_that_vary():
    # the output is 1e-6 and less, but with 224 columns and more some are 1
    peak = np.zeros((1, 640), np.float32)
    peak[:, 200:] = 1
    nodes = [
        helper.make_node("Shape", ["x"], ["all"]),
        helper.make_node("Gather", ["all", "last"], ["end"]),
        helper.make_node("Slice", ["peak", "zero", "end", "last"], ["part"]),
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("Mul", ["size", "part"], ["y"]),
    ]
    numbers = [("zero", np.array([0])), ("last", np.array([1])), ("peak", peak)]
    session = make_session(["b", "seq"], nodes, *numbers)
    feeds = runnable_feeds(session, seed=0)
    assert feeds.feeds[0]["x"].shape[1] > 200
    assert feeds.note == "generated inputs"


def test_outputs_that_never_vary_are_told():
    node = helper.make_node("Mul", ["x", "tiny"], ["y"])
    session = make_session(["b", 8], [node], ("tiny", np.array([1e-9], np.float32)))
    assert "no output varies by more than 1e-4" in runnable_feeds(session, seed=0).note


def test_sizes_that_crash_are_passed_over():
    session = make_session(["b", "seq"], [helper.make_node("Abs", ["x"], ["y"])])
    asked = []

    def survives(feeds):
        asked.append(feeds["x"].shape[1])
        return asked[-1] > 100

    assert runnable_feeds(session, seed=0, survives=survives).feeds[0]["x"].shape[1] == asked[-1] > 100
    assert len(asked) > 1
    with pytest.raises(CalibrationError, match=r"crashes on inputs of the sizes x \(.*calibration"):
        runnable_feeds(session, seed=0, survives=lambda feeds: False)
    fixed = make_session(["b", 8], [helper.make_node("Abs", ["x"], ["y"])])
    runnable_feeds(fixed, seed=0, survives=lambda feeds: pytest.fail("no size is guessed here"))


def test_nothing_runs():
    weight = np.ones((1, 77), np.float32)
    session = make_session(
        [2, 5], [helper.make_node("Reshape", ["x", "s"], ["y"])], ("s", np.array([77]))
    )
    with pytest.raises(CalibrationError, match=r"^m\.onnx: .*Reshape.*calibration"):
        runnable_feeds(session, seed=0)
    session = make_session(["b", "t"], [helper.make_node("Add", ["x", "w"], ["y"])], ("w", weight))


def test_every_fourth_run_is_held_out():
    feeds = tuple({"x": np.full((size, 1), i)} for i, size in enumerate((8,) * 9 + (5,)))
    whole = FeedSet(feeds, (8,) * 9 + (5,))
    found = whole.hold_out()
    assert found is not None
    fitted, held, is_held = found
    assert [int(run["x"][0, 0]) for run in held] == [3, 7]
    assert [int(run["x"][0, 0]) for run in fitted] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert (held.n_samples, fitted.n_samples) == (16, 61)
    assert np.flatnonzero(is_held).tolist() == [*range(24, 32), *range(56, 64)]
    assert "16 of 77 samples" in held.note
    assert held.seed is None


def test_few_samples_are_not_split():
    assert FeedSet(({},) * 7, (9,) * 7).n_samples == 63
    assert FeedSet(({},) * 7, (9,) * 7).hold_out() is None
    assert FeedSet(({},) * 3, (100,) * 3).hold_out() is None
    assert FeedSet(({},) * 64, (1,) * 64).hold_out() is not None
