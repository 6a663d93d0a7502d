"""Weights that move no output: some cancel out on any input, others are only not reached by these."""

from dataclasses import replace

import numpy as np
import pytest

from onnxzip.graph import MIN_ELEMENTS, read_model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.outputs.output_statistics import output_statistics
from onnxzip.measure.probe import Probe
from onnxzip.measure.reach import cancels_out, unreached
from onnxzip.measure.trial_session import TrialSession
from onnxzip.records.layer import Layer, Layout
from tests.textmodels import model_from_text

LEAST = 1e-5
MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 6, 256] x) => (float[1, 6, 256] y)
<float[256, 256] wq, float[256, 256] wk, float[256] bk, float[256, 256] w_low, float[256, 256] w_behind,
 float[256, 256] w_gone, float[256, 256] w_seen> {
    q = MatMul(x, wq)
    k0 = MatMul(x, wk)
    k = Add(k0, bk)
    kt = Transpose<perm = [0, 2, 1]>(k)
    s = MatMul(q, kt)
    sixteenth = Constant<value_float = 0.0625>()
    scores = Mul(s, sixteenth)
    a = Softmax<axis = -1>(scores)
    v = MatMul(x, w_seen)
    attended = MatMul(a, v)
    low0 = MatMul(x, w_low)
    far = Constant<value_float = -12.0>()
    low = Add(low0, far)
    cut = Relu(low)
    behind = MatMul(cut, w_behind)
    summed = Add(attended, behind)
    gone = MatMul(x, w_gone)
    size = Shape(gone)
    y = Reshape(summed, size)
}"""


@pytest.fixture(scope="module")
def bench() -> tuple[TrialSession, dict[str, Layer], list[Probe]]:
    proto = model_from_text(MODEL)
    model = read_model(proto)
    layers = {}
    for name in ("wq", "bk", "w_low", "w_behind", "w_gone", "w_seen"):
        weight = model.arrays[name]
        layout = Layout((), (0,), (1,), ()) if weight.ndim == 2 else Layout((), (0,), (), ())
        layers[name] = Layer(name, "MatMul", weight, layout)
        assert weight.size >= MIN_ELEMENTS
    rng = np.random.default_rng(0)
    runs = tuple({"x": rng.standard_normal((1, 6, 256)).astype(np.float32)} for _ in range(8))
    trials = TrialSession(model, list(layers.values()), runs[0])
    feeds = FeedSet(runs, (1,) * 8)
    reference = list(trials._runs({}, feeds))
    return trials, layers, [Probe.of(feeds, reference, output_statistics(reference), 2)]


def moves(bench: tuple[TrialSession, dict[str, Layer], list[Probe]], name: str) -> float:
    trials, layers, probes = bench
    weight = layers[name].weight
    noise = np.random.default_rng(1).standard_normal(weight.shape).astype(np.float32)
    return trials.probe({name: weight + 0.05 * weight.std() * noise}, probes)


@pytest.mark.parametrize("name", ["bk", "w_low", "w_behind", "w_gone"])
def test_a_small_error_of_none_of_them_shows(
    bench: tuple[TrialSession, dict[str, Layer], list[Probe]], name: str
) -> None:
    assert moves(bench, name) < LEAST
    assert moves(bench, "w_seen") > 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bk", True),  # all scores of a query move alike, and the softmax takes it out
        ("w_low", False),  # more of it comes above the threshold
        ("w_behind", False),  # multiplied by zeros, on these inputs
        ("w_gone", False),  # nothing but its shape is read
        ("wq", False),
        ("w_seen", False),
    ],
)
def test_what_cancels_out_does_so_whatever_its_values_are(
    bench: tuple[TrialSession, dict[str, Layer], list[Probe]], name: str, expected: bool
) -> None:
    trials, layers, probes = bench
    assert cancels_out(trials, name, layers[name].weight, probes, LEAST) == expected


def test_noise_of_the_original_is_not_taken_for_the_effect_of_a_weight(
    bench: tuple[TrialSession, dict[str, Layer], list[Probe]],
) -> None:
    trials, layers, probes = bench
    noise = np.float32(1 + 1e-5)
    noisy = [
        replace(p, reference=tuple({k: a * noise for k, a in run.items()} for run in p.reference))
        for p in probes
    ]
    assert moves((trials, layers, noisy), "w_gone") == 0
    assert unreached(trials, list(layers.values()), ["w_behind"], noisy, LEAST) == ["w_behind"]


def test_the_others_are_unreached(
    bench: tuple[TrialSession, dict[str, Layer], list[Probe]],
) -> None:
    trials, layers, probes = bench
    silent = ["bk", "w_low", "w_behind"]
    assert unreached(trials, list(layers.values()), silent, probes, LEAST) == ["w_low", "w_behind"]
    assert unreached(trials, list(layers.values()), [], probes, LEAST) == []
