"""Exact and drift checks on real sessions."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.inputs.feedset import FeedSet
from onnxzip.inputs.generated.runnable import runnable_families
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.metrics.rel_l2 import exact_deviation
from onnxzip.measure.outputs.random_answers import unstable_outputs
from onnxzip.measure.outputs.recorded_outputs import RecordedOutputs, run_all
from onnxzip.prove.drift import check_drift
from onnxzip.prove.exact import EXACT_LIMIT, check_exact
from onnxzip.runtime.loadable import LoadableModel
from onnxzip.runtime.session import Session, open_session

WEIGHT = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def make_session(weight: np.ndarray, *extra_nodes: object, outputs: tuple[str, ...] = ("y",)) -> Session:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *extra_nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_session(LoadableModel(model.SerializeToString(), "m.onnx"))


def test_exact_check_passes_for_the_same_weights_only():
    original = make_session(WEIGHT)
    feeds = runnable_families(original, seed=5)[0]
    reference = list(run_all(original, feeds))
    check = check_exact(reference, make_session(WEIGHT), feeds)
    assert (check.kind, check.provider, check.value, check.passed) == ("exact", "CPU", 0.0, True)
    assert (check.limit, check.n_samples, check.seed) == (EXACT_LIMIT, feeds.n_samples, 5)
    assert check.note == "generated inputs: noise"
    wrong = WEIGHT.copy()
    wrong[0, 0] += 1e-3
    check = check_exact(reference, make_session(wrong), feeds)
    assert not check.passed
    assert 1e-5 < check.value < 1e-2


def test_drift_check_is_held_to_the_metric():
    original = make_session(WEIGHT)
    feeds = runnable_families(original, seed=0)[0]
    reference = list(run_all(original, feeds))
    candidate = make_session(np.float32(1.05) * WEIGHT)
    check = check_drift(reference, candidate, feeds, make_metric("rel_l2"))
    assert (check.kind, check.metric, check.passed) == ("drift", "rel_l2", True)
    assert check.value == pytest.approx(0.05, rel=1e-3)
    assert not check_drift(reference, candidate, feeds, make_metric("rel_l2", 0.04)).passed
    psnr = check_drift(reference, candidate, feeds, make_metric("psnr", 20))
    assert psnr.passed == (psnr.value >= 20)
    assert (psnr.unit, psnr.n_decimals, psnr.higher_is_better) == ("dB", 1, True)
    points = check_drift(reference, candidate, feeds, make_metric("top1"))
    assert (points.unit, points.scale, points.n_decimals) == ("pt", 100, 2)


def test_outputs_are_cached_up_to_a_limit_and_recomputed_beyond_it():
    session = make_session(WEIGHT)
    feeds = FeedSet(tuple({"x": np.full((2, 4), i, np.float32)} for i in range(5)), (2,) * 5)
    opened: list[Session] = []

    def reopen() -> Session:
        opened.append(make_session(WEIGHT))
        return opened[-1]

    everything = RecordedOutputs(feeds, reopen)
    everything.record(session)
    assert len(list(everything)) == 5
    assert not opened
    limited = RecordedOutputs(feeds, reopen, max_bytes=60)  # a run gives 24 bytes
    limited.record(session)
    session.close()
    for n_opened in (1, 2):
        assert exact_deviation(everything, limited).value == 0
        assert len(opened) == n_opened
    answered = RecordedOutputs(feeds, reopen)
    answered.record(session, list(everything))  # a closed session: nothing runs
    assert exact_deviation(everything, answered).value == 0
    everything.forget()
    assert len(list(everything)) == len(list(everything)) == 5
    assert len(opened) == 3  # what was forgotten is computed once, and kept again


def test_random_operators_are_noticed():
    noise = helper.make_node("RandomNormalLike", ["y"], ["noise"])
    session = make_session(WEIGHT, noise, outputs=("y", "noise"))
    feeds = {"x": np.ones((2, 4), np.float32)}
    assert unstable_outputs(session, feeds) == ("noise",)
    assert unstable_outputs(make_session(WEIGHT), feeds) == ()


def test_outputs_of_maps_are_compared():
    zip_map = helper.make_node(
        "ZipMap", ["y"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2], name="zip"
    )

    def session(weight: np.ndarray) -> Session:
        sequence = helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
            )
        )
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"]), zip_map],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
            [helper.make_value_info("z", sequence)],
            [numpy_helper.from_array(weight, "w")],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return open_session(LoadableModel(model.SerializeToString()))

    original = session(WEIGHT)
    feeds = runnable_families(original, seed=0)[0]
    reference = list(run_all(original, feeds))
    assert reference[0]["z"].shape == (12, 3)
    assert check_exact(reference, session(WEIGHT), feeds).passed
    drift = check_drift(reference, session(WEIGHT * np.float32(1.1)), feeds, make_metric("rel_l2", 0.2))
    assert drift.value == pytest.approx(0.1, rel=1e-3)
