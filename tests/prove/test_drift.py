"""Drift: the worst family counts, all are stated, and what proves nothing is not called passed."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.graph import loadable, read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.metrics import make_metric
from onnxzip.measure.outputs.recorded_outputs import RecordedOutputs
from onnxzip.measure.subject import Sample, Subject
from onnxzip.prove.drift import measure_drift, worst_of
from onnxzip.prove.opinion import second_opinion
from onnxzip.records.check import Check
from onnxzip.runtime.session import open_session

WEIGHT = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def model(weight: np.ndarray, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", *("z",) * len(nodes))],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


ORIGINAL = model(WEIGHT)


def first_row_moved(by: float) -> onnx.ModelProto:
    """Return a model that is off on what the first input reaches only."""
    weight = WEIGHT.copy()
    weight[0] *= 1 + by
    return model(weight)


def feeds_of(
    scales: tuple[float, float, float, float], family: str, *, seed: int | None = 0, n_runs: int = 6
) -> FeedSet:
    rng = np.random.default_rng(len(family))
    feeds = tuple(
        {"x": (rng.standard_normal((8, 4)) * scales).astype(np.float32)} for _ in range(n_runs)
    )
    return FeedSet(feeds, (8,) * n_runs, seed, f"generated inputs: {family}", family)


def sample_of(feeds: FeedSet, original: onnx.ModelProto, metric: str, limit: float) -> Sample:
    session = open_session(loadable(read_model(original)))
    reference = RecordedOutputs(feeds, lambda: open_session(loadable(read_model(original))))
    reference.record(session)
    return Sample(feeds, reference, make_metric(metric, limit))


FIRST, SECOND = (1.0, 0.1, 0.1, 0.1), (0.1, 1.0, 0.1, 0.1)


def subject_of(
    *feeds: FeedSet, original: onnx.ModelProto = ORIGINAL, metric: str = "nrmse", limit: float = 0.1
) -> Subject:
    samples = tuple(sample_of(some, original, metric, limit) for some in feeds)
    return Subject(samples, samples, samples, ("CPU",), None)


def drift(
    changed: onnx.ModelProto, subject: Subject, *unproven: str, original: onnx.ModelProto = ORIGINAL
) -> Check:
    (check,) = measure_drift(read_model(changed), read_model(original), subject, unproven)
    return check


def test_the_worst_family_counts() -> None:
    """One that does not use what was changed says little of it."""
    subject = subject_of(feeds_of(SECOND, "quiet"), feeds_of(FIRST, "loud"))
    check = drift(first_row_moved(0.2), subject)
    assert list(check.by_family) == ["quiet", "loud"]
    assert check.by_family["loud"] == check.value > 0.15
    assert check.by_family["quiet"] < 0.05
    assert check.failed
    assert check.n_samples == 2 * 48
    assert "loud" in check.note
    assert "quiet" not in check.note
    assert not drift(first_row_moved(0.05), subject).failed


def test_with_psnr_the_least_is_the_worst() -> None:
    subject = subject_of(feeds_of(FIRST, "loud"), feeds_of(SECOND, "quiet"), metric="psnr", limit=30)
    check = drift(first_row_moved(0.05), subject)
    assert check.value == min(check.by_family.values()) < max(check.by_family.values())


def test_one_family_is_not_listed() -> None:
    check = drift(first_row_moved(0.05), subject_of(feeds_of(FIRST, "")))
    assert check.by_family == {}
    assert check.n_samples == 48


def test_outputs_are_listed_where_there_are_several() -> None:
    nodes = (helper.make_node("Exp", ["y"], ["z"]),)
    original, changed = (model(weight, nodes) for weight in (WEIGHT, np.float32(1.05) * WEIGHT))
    subject = subject_of(feeds_of(FIRST, ""), original=original)
    check = drift(changed, subject, original=original)
    assert set(check.by_output) == {"y", "z"}
    assert check.value == max(check.by_output.values())
    assert drift(first_row_moved(0.05), subject_of(feeds_of(FIRST, ""))).by_output == {}


def test_a_constant_answer_is_told_beside_the_loss() -> None:
    check = drift(first_row_moved(0.05), subject_of(feeds_of(FIRST, "")))
    assert check.constant == pytest.approx(1, rel=1e-6)


def test_samples_are_told_apart() -> None:
    check = drift(first_row_moved(0.05), subject_of(feeds_of(FIRST, "")))
    assert check.per_sample is not None
    spread = check.per_sample
    assert 0 < spread.median < spread.quantile_95 <= spread.worst
    few = drift(first_row_moved(0.05), subject_of(replace(feeds_of(FIRST, ""), sizes=(1,) * 6)))
    assert few.per_sample is None, "six runs whose samples are unknown"


def test_psnr_of_the_worst_sample_is_the_least() -> None:
    check = drift(first_row_moved(0.05), subject_of(feeds_of(FIRST, ""), metric="psnr", limit=20))
    assert check.per_sample is not None
    spread = check.per_sample
    assert spread.median > spread.quantile_95 >= spread.worst


def test_what_is_not_proven_is_not_passed() -> None:
    subject = subject_of(feeds_of(FIRST, ""))
    silent = replace(subject, unproven={"y": "is 0 everywhere"})
    check = drift(first_row_moved(0.05), silent, "no input reached weight 'w'")
    assert (check.passed, check.failed) == (False, False)
    assert check.unproven == "output 'y' is 0 everywhere; no input reached weight 'w'"
    assert not drift(first_row_moved(0.05), subject).unproven


def test_what_fails_has_failed_even_without_evidence() -> None:
    silent = replace(subject_of(feeds_of(FIRST, "")), unproven={"y": "is 0 everywhere"})
    check = drift(first_row_moved(0.5), silent)
    assert check.failed
    assert not check.unproven


def test_samples_to_settle_are_the_users() -> None:
    """What is generated is as many as is wanted: no user can add to them."""
    just_passing = first_row_moved(0.104)
    own = drift(just_passing, subject_of(feeds_of(FIRST, "", seed=None)))
    made = drift(just_passing, subject_of(feeds_of(FIRST, "")))
    assert own.interval == made.interval
    assert own.interval is not None
    assert own.interval[0] < 0.1 < own.interval[1]
    assert own.n_to_settle is not None
    assert own.n_to_settle > 48
    assert made.n_to_settle is None


def test_nan_is_the_worst() -> None:
    checks = [Check("drift", "CPU", "nrmse", v, 0.1, False, 8) for v in (0.5, float("nan"), 0.7)]
    samples = [sample_of(feeds_of(FIRST, name), ORIGINAL, "nrmse", 0.1) for name in "abc"]
    assert np.isnan(worst_of(checks, samples).value)


# The second opinion


def opinion_on(changed: onnx.ModelProto, own: FeedSet, *others: FeedSet) -> tuple[Check, list[str]]:
    subject = subject_of(own)
    opinions = tuple(sample_of(feeds, ORIGINAL, "nrmse", np.inf) for feeds in others)
    found = second_opinion(read_model(changed), replace(subject, opinions=opinions))
    assert found is not None
    return found.check, [f"{finding.kind}: {finding.text}" for finding in found.findings]


def test_a_far_larger_loss_on_other_inputs_is_a_warning() -> None:
    """Fitted to inputs that leave the first weight out, say."""
    check, told = opinion_on(
        first_row_moved(0.5), feeds_of(SECOND, "own", seed=None), feeds_of(FIRST, "loud")
    )
    assert (check.kind, check.failed) == ("opinion", False)
    assert check.value > 0.3
    (text,) = told
    assert text.startswith(f"second opinion: on inputs of our own it loses {check.value:.3g} (nrmse)")


@pytest.mark.parametrize(("by", "own"), [(0.5, FIRST), (0.05, SECOND)])
def test_a_loss_that_is_alike_or_harmless_is_no_warning(by: float, own: tuple[float, ...]) -> None:
    """As large on the user's data; below what is allowed by default anyway."""
    given = feeds_of(own, "own", seed=None)  # type: ignore[arg-type]
    check, told = opinion_on(first_row_moved(by), given, feeds_of(FIRST, "loud"))
    assert check.value > 0
    assert told == []


def test_the_worst_family_is_the_opinion() -> None:
    check, _ = opinion_on(
        first_row_moved(0.5),
        feeds_of(FIRST, "own", seed=None),
        feeds_of(SECOND, "quiet"),
        feeds_of(FIRST, "loud"),
    )
    assert set(check.by_family) == {"quiet", "loud"}
    assert check.value == check.by_family["loud"]


def test_there_is_none_without_other_inputs() -> None:
    assert second_opinion(read_model(ORIGINAL), subject_of(feeds_of(FIRST, ""))) is None
