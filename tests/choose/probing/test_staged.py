"""Weights are probed from where they are read on, and lose there what they lose in the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from onnxzip.choose.probing import staged
from onnxzip.choose.probing.staged import StagedProbes
from onnxzip.graph import read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.outputs.output_statistics import output_statistics
from onnxzip.measure.probe import Probe
from onnxzip.measure.trial_session import TrialSession
from onnxzip.records.aliases import Array
from onnxzip.records.layer import Layer, Layout
from tests.textmodels import model_from_text

NAMES = ("a", "b", "c", "d", "e", "dead")
MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 32] x) => (float[n, 32] early, float[n, 32] late)
<float[32, 32] a, float[32, 32] b, float[32, 32] c, float[32, 32] d, float[32, 32] e, float[32, 32] dead>
{
    h = MatMul(x, a)
    early = Tanh(h)
    unused = MatMul(x, dead)
    branch = MatMul(early, b)
    cut = Relu(branch)
    main = MatMul(cut, c)
    summed = Add(main, early)
    again = MatMul(summed, d)
    less = Sub(again, again)
    gone = MatMul(less, e)
    far = MatMul(summed, a)
    late = Add(far, gone)
}"""


class Bench:
    """A model, its probes, and what runs it as a whole."""

    def __init__(self, carried: Mapping[str, str]) -> None:
        model = read_model(model_from_text(MODEL))
        layout = Layout((), (0,), (1,), ())
        self.layers = {name: Layer(name, "MatMul", model.arrays[name], layout) for name in NAMES}
        rng = np.random.default_rng(0)
        runs = tuple({"x": rng.standard_normal((4, 32)).astype(np.float32)} for _ in range(3))
        self.trials = TrialSession(model, list(self.layers.values()), runs[0])
        feeds = FeedSet(runs, (4,) * 3)
        reference = list(self.trials._runs({}, feeds))
        probe = Probe.of(feeds, reference, output_statistics(reference), 2)
        self.probes = [replace(probe, feeds=replace(probe.feeds, carried=carried))]
        self.n_whole = 0
        self.staged = StagedProbes(
            model, list(self.layers.values()), self.probes, lambda: self.counted(), None
        )

    def counted(self) -> TrialSession:
        self.n_whole += 1
        return self.trials

    def changed(self, name: str) -> Array:
        weight = self.layers[name].weight
        noise = np.random.default_rng(1).standard_normal(weight.shape).astype(np.float32)
        return np.asarray(weight + 0.05 * noise)

    def losses(self) -> dict[str, float]:
        order = self.staged.order(NAMES)
        return {name: self.staged.probe(name, self.changed(name)) for name in order}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(staged, "_LEAST_WEIGHTS", 2)
    return Bench({})


def test_losses_are_those_of_the_whole_model(bench: Bench) -> None:
    found = bench.losses()
    whole = {name: bench.trials.probe({name: bench.changed(name)}, bench.probes) for name in NAMES}
    assert found == pytest.approx(whole, rel=1e-4, abs=1e-7)
    assert min(found[name] for name in "abcd") > staged._LEAST_LOSS or found["d"] == 0
    assert found["e"] == found["dead"] == 0  # and not float32's noise


def test_only_what_hardly_moves_outputs_runs_the_whole_model(bench: Bench) -> None:
    found = bench.losses()
    model = bench.staged._staged
    assert model is not None
    n_below = sum(loss < staged._LEAST_LOSS for loss in found.values())
    assert bench.n_whole == len(model.stages) + n_below


def test_stages_run_no_node_before_them(bench: Bench) -> None:
    model = bench.staged._staged
    assert model is not None
    last = model.stages[-1]
    types = {name: np.dtype(np.float32) for name in last.reads}
    part = model.build(last, types).proto.graph
    whole = model.model.proto.graph
    assert 0 < len(part.node) < len(whole.node) / 2
    assert {t.name for t in part.initializer} >= set(last.weights.values())
    assert [v.name for v in part.output] == ["late"]


def test_a_model_that_hands_states_on_runs_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged, "_LEAST_WEIGHTS", 2)
    assert Bench({"x": "late"}).staged._staged is None


def test_kernels_that_differ_are_not_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged, "_MOST_NOISE", -1.0)
    assert bench.losses()["a"] > 0
    assert bench.staged._staged is None
    assert bench.n_whole == 1 + len(NAMES)
