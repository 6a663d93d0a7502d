"""Whatever channels are divided by, and whatever makes and reads them: a model answers as before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzip import graph
from onnxzip.graph import to_proto
from onnxzip.measure.moments.channels import Channels
from onnxzip.propose.quantising import equalising
from onnxzip.propose.quantising.channel_scales import Scales
from onnxzip.propose.quantising.equalising import equalise, groups_of
from tests.casebook.kit import BATCH, Draft, value
from tests.graph.running import run

WIDTH = 8
STEPS = (
    *("norm", "plain norm", "mul", "half", "shift", "dense", "gemm", "turned gemm", "relu", "leaky"),
    *("prelu", "identity", "bend", "residual", "shared"),
)


def chain(steps: Sequence[str], n_readers: int) -> onnx.ModelProto:
    """Return a model of steps, after each of which what it makes may be read by one more."""
    draft = Draft(seed=len(steps) + n_readers)
    made = "x"
    for i, step in enumerate(steps):
        made = _add(draft, step, made, str(i))
    for i in range(n_readers):
        draft.add("MatMul", [made, draft.weight(f"last{i}", WIDTH, 5)], f"y{i}")
    outputs = [value(f"y{i}", None) for i in range(n_readers)]
    outputs += [value(node.output[0], None) for node in draft.nodes if node.output[0].startswith("seen")]
    return draft.model([value("x", [BATCH, WIDTH])], outputs)


def _add(draft: Draft, step: str, made: str, i: str) -> str:
    """Add one step behind a value; return its own."""
    numbers = [draft.weight(f"{kind}{i}", WIDTH) for kind in ("a", "b")]
    square, out = draft.weight(f"w{i}", WIDTH, WIDTH), f"v{i}"
    nodes = {
        "norm": ("LayerNormalization", [made, *numbers], {}),
        "plain norm": ("LayerNormalization", [made, numbers[0]], {"axis": 1}),
        "mul": ("Mul", [numbers[0], made], {}),
        "half": ("Mul", [made, draft.tensor(f"half{i}", np.float32(0.5))], {}),
        "shift": ("Add", [made, numbers[0]], {}),
        "dense": ("MatMul", [made, square], {}),
        "gemm": ("Gemm", [made, square, numbers[0]], {"alpha": 0.5, "beta": 2.0}),
        "turned gemm": ("Gemm", [made, square, numbers[0]], {"transB": 1}),
        "relu": ("Relu", [made], {}),
        "leaky": ("LeakyRelu", [made], {"alpha": 0.2}),
        "prelu": ("PRelu", [made, numbers[0]], {}),
        "identity": ("Identity", [made], {}),
        "bend": ("Tanh", [made], {}),
        "residual": ("Add", [made, draft.add("Sin", [made], f"r{i}")], {}),
        "shared": ("Add", [made, draft.add("Abs", [made], f"seen{i}")], {}),
    }
    op_type, inputs, attributes = nodes[step]
    return draft.add(op_type, inputs, out, **attributes)


def any_scales(channels: Channels, weight: np.ndarray) -> Scales:
    """Return scales that always seem worth it."""
    scales = np.exp(np.random.default_rng(len(weight)).standard_normal(len(weight)))
    return Scales(np.asarray(scales, np.float32), 1.0, 0.1)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6), st.integers(1, 3))
def test_a_model_answers_as_before(steps: list[str], n_readers: int) -> None:
    before = graph.read_model(chain(steps, n_readers))
    nothing = np.zeros(WIDTH, np.float32)
    groups = groups_of(before, lambda name: True)
    channels = {g.value: Channels(*[nothing] * 4, np.zeros((2, WIDTH), np.float32)) for g in groups}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equalising, "best_scales", any_scales)
        found = equalise(before, groups, channels, lambda name: True)
    assert found.rewrites
    feeds = {"x": np.asarray(np.random.default_rng(3).standard_normal((4, WIDTH)), np.float32)}
    wanted, answers = (run(to_proto(model), feeds) for model in (before, found.model))
    for name, array in wanted.items():
        assert np.linalg.norm(answers[name] - array) <= 1e-5 * np.linalg.norm(array) + 1e-7
