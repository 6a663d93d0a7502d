"""Nodes become chains by given times: which, what is said of the others, and what the model answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxzip.errors import ModelError
from onnxzip.graph import Model, find_layers, read_model, to_proto
from onnxzip.measure.examination import examine
from onnxzip.measure.speed.stopwatch import Stopwatch
from onnxzip.measure.subject import Subject
from onnxzip.options import Options
from onnxzip.propose.factorising import rewriting
from onnxzip.propose.factorising.rewriting import Factorised, factorise
from onnxzip.propose.factorising.times import TimeModels
from onnxzip.records.aliases import Array, RunForm
from onnxzip.records.costs.latency import Latency
from tests.casebook.kit import Draft, value
from tests.graph.running import run

IDLE = 1e-5


def by_numbers(per_node: float = 0.0) -> TimeModels:
    """As if a node took a nanosecond for each number of its weights, and some time by itself."""

    def time(models: Sequence[Model], fed: Array) -> Sequence[Latency]:
        return [Latency((IDLE + seconds_of(model),) * 5) for model in models]

    def seconds_of(model: Model) -> float:
        graph = model.proto.graph
        n_numbers = sum(int(np.prod(t.dims)) for t in graph.initializer if len(t.dims) > 1)
        n_nodes = sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in graph.node)
        return 1e-9 * n_numbers + per_node * n_nodes

    return time


def network(rank: int = 64) -> onnx.ModelProto:
    """A convolution of few input directions, one of all, and a Gemm of few output directions."""
    draft, rng = Draft(), np.random.default_rng(0)

    def low(n_out: int, n_in: int, n_directions: int) -> NDArray[np.float32]:
        pair = [rng.standard_normal(s) for s in ((n_out, n_directions), (n_directions, n_in))]
        return (pair[0] @ pair[1] / np.sqrt(n_directions * n_in)).astype(np.float32)

    thin = low(96 * 9, 64, 8).reshape(96, 3, 3, 64).transpose(0, 3, 1, 2)
    draft.add("Conv", ["x", draft.tensor("thin", thin), draft.weight("b", 96)], "h", pads=[1, 1, 1, 1])
    draft.add("Relu", ["h"], "r")
    draft.add("Conv", ["r", draft.weight("full", 64, 96, 3, 3)], "c")
    draft.add("GlobalAveragePool", ["c"], "p")
    draft.add("Flatten", ["p"], "f")
    draft.add(
        "Gemm", ["f", draft.tensor("head", low(256, 64, 6)), draft.weight("d", 256)], "y", transB=1
    )
    return draft.model([value("x", ["n", 64, 8, 8])], [value("y", ["n", 256])])


def inputs(n: int = 80) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((n, 64, 8, 8), np.float32)


def examined(proto: onnx.ModelProto, **settings: object) -> tuple[Model, Subject]:
    model = read_model(proto)
    options = Options(**{"calibration": {"x": inputs()}, "tolerance": 0.1, **settings})  # type: ignore[arg-type]
    return model, examine(model, options, fits=True)[0]


def factorised(
    proto: onnx.ModelProto,
    share: float = 0.5,
    forms: dict[str, RunForm] | None = None,
    per_node: float = 0.0,
    **settings: object,
) -> Factorised:
    model, subject = examined(proto, **settings)
    stopwatch = Stopwatch(({"x": inputs(1)},), 1)
    layers = find_layers(model)[0]
    time = by_numbers(per_node)
    return factorise(model, layers, subject, stopwatch, share=share, forms=forms, time=time)


def reasons(found: Factorised) -> dict[str, str]:
    return {skip.layer: skip.reason for skip in found.skips}


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_nodes_of_few_directions_become_chains(form: RunForm) -> None:
    proto = network()
    found = factorised(proto, forms=dict.fromkeys(("thin", "full", "head"), form))
    targets = {r.target: r.description for r in found.rewrites}
    assert "thin" in targets
    assert form in targets["thin"]
    data = {"x": inputs(4)}
    before, after = run(proto, data)["y"], run(to_proto(found.model), data)["y"]
    spread = before - before.mean(axis=0)
    assert np.linalg.norm(after - before) <= 0.06 * np.linalg.norm(spread)
    assert [v.name for v in found.model.proto.graph.output] == ["y"]
    onnx.checker.check_model(to_proto(found.model))


def test_a_full_kernel_keeps_its_node() -> None:
    found = factorised(network(), share=0.1)
    assert "full" not in {r.target for r in found.rewrites}
    assert "full" in reasons(found)


def test_no_chain_is_kept_that_is_not_faster() -> None:
    """Of equal work a chain runs more nodes."""
    found = factorised(network(), per_node=1.0)
    assert found.rewrites == ()
    assert "takes 2.00 (up to 2.00) of the node's time, 0.9 are wanted" in reasons(found)["thin"]
    assert found.model.proto == read_model(network()).proto


def test_a_chain_that_saves_little_of_the_whole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_LEAST_SAVED", 0.9)
    assert "saves less than 90% of all nodes'" in reasons(factorised(network()))["thin"]
    monkeypatch.setattr(rewriting, "_LEAST_SAVED", 0.0)
    monkeypatch.setattr(rewriting, "_LEAST_SAVED_IN_ALL", 0.95)
    found = factorised(network())
    assert "of all nodes' time, 95% are wanted" in reasons(found)["graph"]
    assert found.rewrites == ()


def test_without_a_share_or_data_nothing_is_done() -> None:
    assert factorised(network(), share=0.0).rewrites == ()
    found = factorised(network(), calibration=None)
    assert found.rewrites == ()
    assert "pass some of yours with `calibration`" in reasons(found)["graph"]


def test_same_times_give_the_same_model() -> None:
    first, second = (to_proto(factorised(network()).model).SerializeToString() for _ in range(2))
    assert first == second


def test_a_model_without_such_nodes_stays_as_it_is() -> None:
    draft = Draft()
    draft.add("Gather", [draft.weight("table", 100, 64), "x"], "y")
    proto = draft.model([value("x", ["n"], onnx.TensorProto.INT64)], [value("y", None)])
    model = read_model(proto)
    data = {"x": np.arange(80) % 100}
    subject = examine(model, Options(calibration=data, tolerance=0.1), fits=True)[0]
    stopwatch = Stopwatch(({"x": data["x"][:1]},), 1)
    found = factorise(model, find_layers(model)[0], subject, stopwatch, share=0.5, time=by_numbers())
    assert (found.model, found.rewrites) == (model, ())
    assert "Gather has to stay" in reasons(found)["table"]


def test_sizes_that_only_a_run_tells_are_taken_from_one() -> None:
    """A Reshape to what was computed leaves shape inference without the shape of what a MatMul meets."""
    draft, rng = Draft(), np.random.default_rng(0)
    draft.add("Shape", ["x"], "s")
    draft.add("Mul", ["s", draft.tensor("one", np.array([1], np.int64))], "t")
    draft.add("Reshape", ["x", "t"], "r")
    weight = rng.standard_normal((128, 4)) @ rng.standard_normal((4, 192)) / 16
    draft.add("MatMul", ["r", draft.tensor("low", weight.astype(np.float32))], "y")
    proto = draft.model([value("x", ["n", 128])], [value("y", None)])
    model = read_model(proto)
    data = {"x": rng.standard_normal((80, 128), np.float32)}
    subject = examine(model, Options(calibration=data, tolerance=0.1), fits=True)[0]
    stopwatch = Stopwatch(({"x": data["x"][:1]},), 1)
    found = factorise(model, find_layers(model)[0], subject, stopwatch, share=0.5, time=by_numbers())
    assert [r.target for r in found.rewrites] == ["low"]


def test_a_node_that_fails_alone_is_no_failure_of_the_whole() -> None:
    def fail(models: Sequence[Model], fed: Array) -> Sequence[Latency]:
        raise ModelError("node: it fails; export it again")

    model, subject = examined(network())
    stopwatch = Stopwatch(({"x": inputs(1)},), 1)
    found = factorise(model, find_layers(model)[0], subject, stopwatch, share=0.5, time=fail)
    assert found.model is model
    assert "nodes cannot be looked at: node: it fails" in reasons(found)["graph"]


def test_surgery_that_changes_answers_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    honest: Callable[..., Model] = rewriting.with_chains

    def wrong(model: Model, chains: Sequence[object]) -> Model:
        changed = honest(model, chains)
        for name, array in changed.arrays.items():
            if name.startswith("thin"):
                changed.arrays[name] = 1.1 * array
        return replace(changed)

    monkeypatch.setattr(rewriting, "with_chains", wrong)
    found = factorised(network())
    assert found.rewrites == ()
    assert "undone" in reasons(found)["graph"]


@pytest.mark.parametrize("settings", [{"metric": "psnr", "tolerance": 30.0}, {"tolerance": None}])
def test_every_way_to_ask_has_an_allowance(settings: dict[str, object]) -> None:
    found = factorised(network(), **settings)
    assert "thin" in {r.target for r in found.rewrites}


def test_of_a_size_to_be_met_a_default_loss_is_allowed() -> None:
    found = factorised(network(), tolerance=None, target_size=40_000)
    assert "thin" in {r.target for r in found.rewrites}
    data = {"x": inputs(4)}
    before, after = run(network(), data)["y"], run(to_proto(found.model), data)["y"]
    assert np.linalg.norm(after - before) <= 0.1 * np.linalg.norm(before - before.mean(axis=0))
