"""Generated inputs on real sessions: attempts until a run succeeds, families, fallbacks, scalings."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.errors import CalibrationError
from onnxzip.inputs.axes import samples_per_run
from onnxzip.inputs.feedset import MIN_TO_HOLD_OUT, FeedSet
from onnxzip.inputs.generated import runnable
from onnxzip.inputs.generated.attempts import Helpers
from onnxzip.inputs.generated.families import MAX_FAMILIES, Shapes
from onnxzip.inputs.generated.runnable import runnable_families
from onnxzip.inputs.generated.states import n_steps_of
from onnxzip.records.aliases import Feeds
from onnxzip.records.costs.run_cost import RunCost
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import Session, open_session

Dim = int | str | None
Arrays = tuple[str, np.ndarray]


def make_session(
    inputs: Mapping[str, Sequence[Dim]],
    nodes: Sequence[onnx.NodeProto],
    *initializers: Arrays,
    outputs: Sequence[str] = ("y",),
    shapes: Mapping[str, Sequence[Dim]] | None = None,
    integers: Sequence[str] = (),
) -> Session:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, shape
            )
            for name, shape in inputs.items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (shapes or {}).get(name))
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_session(LoadableModel(model.SerializeToString(), "m.onnx"))


def node(op_type: str, *inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), [output], **attributes)


def one_input(shape: Sequence[Dim], *nodes: onnx.NodeProto, arrays: Sequence[Arrays] = ()) -> Session:
    """Return a model of an input "x" that is nothing in particular, by its shape perhaps a picture."""
    return make_session({"x": shape}, nodes, *arrays)


def of_vectors(shape: Sequence[Dim], *nodes: onnx.NodeProto, arrays: Sequence[Arrays] = ()) -> Session:
    """Return a model whose input has a name that rules sounds out, which take their time."""
    named = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    for one in named:
        one.input[:] = ["embedding" if name == "x" else name for name in one.input]
    return make_session({"embedding": shape}, named, *arrays)


def families(session: Session, seed: int = 0, **settings: object) -> tuple[FeedSet, ...]:
    return runnable_families(session, seed=seed, **settings)  # type: ignore[arg-type]


NOISES = ["noise", "noise of many levels", "noise around a point"]


def names_of(found: Sequence[FeedSet]) -> list[str]:
    return [feeds.family for feeds in found]


# What runs


def test_a_size_is_searched_that_runs() -> None:
    weight = np.ones((1, 16000), np.float32)
    session = of_vectors(["b", "t"], node("Add", "x", "w"), arrays=[("w", weight)])
    found = families(session, seed=3)
    assert names_of(found) == NOISES
    for feeds in found:
        assert feeds.seed == 3
        assert feeds.note == f"generated inputs: {feeds.family}"
        assert feeds.n_samples == sum(len(feed["embedding"]) for feed in feeds) >= 16
        for feed in feeds:
            session.run(feed)


def test_answers_are_kept_until_they_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    session = of_vectors(["b", 8], node("Tanh", "x"))
    for feeds in families(session):
        parts = [feeds, feeds.head(2), *(feeds.hold_out() or ())[:2]]
        for part in parts:
            assert len(part.answered) == len(part)
            for feed, outputs in zip(part, part.answered, strict=True):
                np.testing.assert_array_equal(outputs["y"], session.run(feed)["y"])
    monkeypatch.setattr(runnable, "_MAX_ANSWERED_BYTES", 100)
    assert not any(feeds.answered for feeds in families(session))


def test_finite_outputs_are_preferred() -> None:
    """The logarithm of what may be negative is not: only the fallback is fed."""
    session = of_vectors(["b", 8], node("Log", "x"))
    found = families(session)
    assert "numbers from 0 to 1" in names_of(found)
    feeds = next(feeds for feeds in found if feeds.family == "numbers from 0 to 1")
    assert all(np.isfinite(session.run(feed)["y"]).all() for feed in feeds)


def test_outputs_that_vary_are_preferred() -> None:
    """The output is 0, but with more than 200 columns some are 1."""
    peak = np.zeros((1, 640), np.float32)
    peak[:, 200:] = 1
    nodes = [
        node("Shape", "x", output="all"),
        node("Gather", "all", "last", output="end"),
        node("Slice", "peak", "zero", "end", "last", output="part"),
        node("Abs", "x", output="size"),
        node("Mul", "size", "part"),
    ]
    numbers = [("zero", np.array([0])), ("last", np.array([1])), ("peak", peak)]
    found = families(of_vectors(["b", "seq"], *nodes, arrays=numbers))
    assert all(feeds.feeds[0]["embedding"].shape[1] > 200 for feeds in found)


def test_outputs_that_never_vary_end_the_attempts() -> None:
    session = of_vectors(["b", 8], node("Mul", "x", "tiny"), arrays=[("tiny", np.float32([1e-9]))])
    assert names_of(families(session)) == [*NOISES, "numbers from 0 to 1"]


def test_fallbacks_are_drawn_only_where_the_others_tell_nothing() -> None:
    """What is negative is cut off, and all is 1 less what is far below 1: only 0 ... 1 tells."""
    nodes = [
        node("Abs", "x", output="a"),
        node("Sub", "x", "a", output="low"),  # 0 where x is positive
        node("ReduceMin", "low", output="least", keepdims=0),
        node("Equal", "least", "zero", output="positive"),
        node("Cast", "positive", output="switch", to=TensorProto.FLOAT),
        node("Mul", "x", "switch"),
    ]
    session = of_vectors([16, 8], *nodes, arrays=[("zero", np.float32(0))])
    assert "numbers from 0 to 1" in names_of(families(session))
    assert names_of(families(of_vectors([16, 8], node("Relu", "x")))) == NOISES


def test_sizes_that_crash_are_passed_over() -> None:
    session = of_vectors(["b", "seq"], node("Abs", "x"))
    asked: list[int] = []

    def survives(feeds: Feeds) -> bool:
        asked.append(feeds["embedding"].shape[1])
        return asked[-1] > 100

    found = families(session, helpers=Helpers(survives=survives))
    assert found[0].feeds[0]["embedding"].shape[1] == asked[-1] > 100
    assert len(asked) > 1
    with pytest.raises(
        CalibrationError, match=r"crashes on inputs of the sizes embedding \(.*calibration"
    ):
        families(session, helpers=Helpers(survives=lambda feeds: False))
    fixed = of_vectors(["b", 8], node("Abs", "x"))
    families(fixed, helpers=Helpers(survives=lambda feeds: pytest.fail("no size is guessed here")))


def test_sizes_that_take_much_memory_come_last() -> None:
    """Whatever is the likeliest; where all of them do, the smallest comes first."""
    session = of_vectors(["b", "seq"], node("Abs", "x"))

    def found(limit: int) -> int:
        def cost_of(shapes: Shapes) -> RunCost:
            length = shapes["embedding"][1]
            return RunCost(n_in_use=length if length <= limit else (1 << 30) + length)

        feeds = families(session, helpers=Helpers(cost_of=cost_of))[0].feeds[0]
        return int(feeds["embedding"].shape[1])

    assert found(1 << 20) == 32
    assert found(16) == 16
    assert found(0) == 1


@pytest.mark.parametrize("n_operations", [1 << 10, 1 << 33, 1 << 60])
def test_samples_are_as_many_as_time_allows(n_operations: int) -> None:
    session = of_vectors([1, 64], node("Abs", "x"))
    costs = Helpers(cost_of=lambda shapes: RunCost(n_operations=n_operations))
    found = families(session, helpers=costs)
    most = max((1 << 38) // n_operations, 2 * len(found))
    assert sum(feeds.n_samples for feeds in found) <= most
    assert min(feeds.n_samples for feeds in found) >= 2


def test_samples_are_as_many_as_memory_allows() -> None:
    """A picture of 1024 x 1024 is 12 MB."""
    session = of_vectors([1, 3 << 20], node("ReduceMean", "x", keepdims=1))
    found = families(session)
    assert sum(array.nbytes for feeds in found for run in feeds for array in run.values()) <= 1 << 28


def test_many_free_axes_are_short() -> None:
    """With a usual length the numbers would be too many; where even one is, the input is named."""
    session = of_vectors([f"d{i}" for i in range(9)], node("Abs", "x"))
    assert max(families(session)[0].feeds[0]["embedding"].shape) <= 8
    too_large = of_vectors(["b", 1 << 27], node("Abs", "x"))
    with pytest.raises(CalibrationError, match=r"'embedding' would have [0-9,]+ numbers, in shape"):
        families(too_large)


def test_one_number_a_run_tells_by_two_runs() -> None:
    """Else each size is tried, in a process of its own where sizes are guessed."""
    asked: list[tuple[int, ...]] = []

    def survives(feeds: Feeds) -> bool:
        asked.append(feeds["embedding"].shape)
        return True

    session = of_vectors([1, "t"], node("ReduceMean", "x", keepdims=1))
    found = families(session, helpers=Helpers(survives=survives))
    assert asked == [(1, 32)]
    assert names_of(found) == NOISES, "no fallback is needed"


def test_nothing_runs() -> None:
    session = of_vectors([2, 5], node("Reshape", "x", "s"), arrays=[("s", np.array([77]))])
    with pytest.raises(CalibrationError, match=r"^m\.onnx: .*Reshape.*calibration"):
        families(session)


def fails_on(values: str, limit: float) -> list[onnx.NodeProto]:
    """Return nodes whose run fails where the largest number is above a limit: a place that is none."""
    return [
        node("ReduceMax", values, output="peak", keepdims=0),
        node("Greater", "peak", "limit", output="is_above"),
        node("Cast", "is_above", output="place", to=TensorProto.INT64),
        node("Gather", "table", "place", output="found"),
        node("Mul", values, "found"),
    ]


def test_runs_that_fail_are_left_out() -> None:
    """Some runs of a family may be out of a model's range; a family of which most are is none."""
    arrays = [("limit", np.float32(3.4)), ("table", np.ones(1, np.float32))]
    session = of_vectors([4, 256], *fails_on("x", 3.4), arrays=arrays)
    found = families(session, n_samples=64)
    assert "noise of many levels" not in names_of(found), "up to 4, they are almost all above 3.4"
    feeds = found[0]
    assert 8 <= len(feeds) < 16
    assert feeds.n_samples == 4 * len(feeds)
    assert all(feed["embedding"].max() <= 3.4 for feed in feeds)


# How many


def test_a_number_an_answer_takes_more_samples() -> None:
    few = families(one_input([1, 8], node("ReduceMean", "x", keepdims=1)))
    many_values = families(of_vectors([1, 8192], node("Abs", "x")))
    assert sum(feeds.n_samples for feeds in few) == 255
    assert [feeds.n_samples for feeds in many_values] == [16, 16, 16]
    asked = families(one_input([1, 8], node("Abs", "x")), n_samples=24)
    assert [feeds.n_samples for feeds in asked] == [24, 24, 24]


def test_what_is_like_real_is_enough_to_fit_to() -> None:
    """And is marked as such, so that weights are fitted to it."""
    session = one_input(["batch", 3, 16, 16], node("ReduceMean", "x", axes=[2, 3], keepdims=0))
    found = families(session)
    assert len(found) == MAX_FAMILIES == 4, "of five scalings, where nothing tells them apart"
    for feeds in found:
        assert feeds.family.startswith("photographs (")
        assert feeds.is_like_real
        assert feeds.n_samples >= MIN_TO_HOLD_OUT
        assert feeds.hold_out() is not None
    few = families(session, n_samples=16)
    assert not any(feeds.is_like_real for feeds in few)
    noise = families(one_input([1, 8], node("Abs", "x")))
    assert not any(feeds.is_like_real for feeds in noise)


def test_samples_per_run_is_the_batch() -> None:
    session = one_input(["batch", 8], node("Abs", "x"))
    shapes = {"x": session.run(families(session)[0].feeds[0])["y"].shape}
    assert samples_per_run(session.inputs, shapes) == families(session)[0].sizes[0] == 12


def test_what_only_a_shape_speaks_for_is_just_enough_to_hold_out() -> None:
    """2000 numbers may be anything: a longer refit to sounds is worth little."""
    for name, n_samples in (("x", MIN_TO_HOLD_OUT), ("waveform", 256)):
        session = make_session({name: ["batch", 2000]}, [node("ReduceMean", name, axes=[1], keepdims=1)])
        (feeds,) = (found for found in families(session) if found.is_like_real)
        assert feeds.can_hold_out
        assert n_samples <= feeds.n_samples < n_samples + feeds.sizes[0]


# Scalings


def test_only_scalings_that_fit_are_fed() -> None:
    session = one_input([1, 3, 16, 16], node("ReduceMean", "x", axes=[2, 3], keepdims=0))
    asked: list[tuple[str, list[str], Feeds]] = []

    def choose(name: str, runs: Mapping[str, Sequence[Feeds]], black: Feeds) -> list[str]:
        asked.append((name, list(runs), black))
        assert all(len(some) == 16 for some in runs.values())
        return ["photographs (0..255)", "photographs (-1..1)"]

    found = families(session, helpers=Helpers(choose_scalings=choose), n_samples=16)
    assert names_of(found) == ["photographs (0..255)", "photographs (-1..1)"], "the likeliest first"
    ((name, offered, black),) = asked
    assert name == "x"
    assert len(offered) == 5
    assert not black["x"].any()
    peaks = [max(feed["x"].max() for feed in feeds) for feeds in found]
    assert peaks[0] > 200
    assert peaks[1] <= 1


def test_nothing_is_asked_where_nothing_is_scaled() -> None:
    helpers = Helpers(choose_scalings=lambda name, runs, black: pytest.fail("there are no scalings"))
    assert len(families(one_input([1, 8], node("Abs", "x")), helpers=helpers)) == 3


# States


def test_states_come_from_the_model_itself() -> None:
    session = make_session(
        {"x": [1, 8], "h": [1, 8]},
        [
            node("Mul", "h", "half", output="kept"),
            node("Add", "kept", "x", output="hn"),
            node("Abs", "hn"),
        ],
        ("half", np.float32([0.5])),
        outputs=("y", "hn"),
        shapes={"y": [1, 8], "hn": [1, 8]},
    )
    feeds = families(session)[0]
    assert feeds.n_steps == n_steps_of(len(feeds)) > 16
    assert feeds.carried == {"h": "hn"}
    assert feeds.states == {"hn"}
    assert not feeds.feeds[0]["h"].any()
    n = feeds.n_steps
    assert not feeds.feeds[n]["h"].any(), "so many steps begin anew"
    for before, after in zip(feeds.feeds[: n - 1], feeds.feeds[1:n], strict=True):
        np.testing.assert_allclose(after["h"], 0.5 * before["h"] + before["x"], rtol=1e-6)


def test_states_are_judged_where_a_model_answers_nothing_else() -> None:
    """Else no weight of a single cell would count."""
    session = make_session(
        {"x": [1, 8], "h": [1, 8]},
        [node("Add", "h", "x", output="sum"), node("Tanh", "sum", output="hn")],
        outputs=("hn",),
        shapes={"hn": [1, 8]},
    )
    feeds = families(session)[0]
    assert feeds.carried == {"h": "hn"}
    assert feeds.states == frozenset()
