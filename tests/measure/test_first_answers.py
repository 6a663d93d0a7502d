"""Which scalings fit, as a model's first layers answer; all of them where nothing tells."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxzip.graph import read_model
from onnxzip.inputs.generated.pictures import layout_of, pictures_of
from onnxzip.inputs.generated.scalings import SCALINGS
from onnxzip.measure.first_answers import fitting_scalings
from onnxzip.records.aliases import Feeds
from onnxzip.runtime.input_spec import InputSpec

SHAPE = (1, 3, 32, 32)
SPEC = InputSpec("x", np.dtype("float32"), SHAPE)
FILTERS = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)


def runs_of(n_runs: int = 16) -> dict[str, list[Feeds]]:
    layout = layout_of(SPEC, SHAPE)
    assert layout is not None
    return {
        s.name: [
            {"x": run.astype(np.float32)}
            for run in pictures_of(layout, s)(SHAPE, n_runs, np.random.default_rng(0))
        ]
        for s in SCALINGS
    }


RUNS = runs_of()
BLACK: Feeds = {"x": np.zeros(SHAPE, np.float32)}


def answers_to(runs: list[Feeds]) -> np.ndarray:
    """Return the first convolution's answers, channels last: plain numpy."""
    x = np.concatenate([run["x"] for run in runs])
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nhwo", windows, FILTERS)


def normalised_model(mean: np.ndarray, variance: np.ndarray) -> onnx.ModelProto:
    """A convolution and the BatchNormalization behind it, which knows what it met in training."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "one", "zero", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    arrays = {"w": FILTERS, "one": np.ones(8), "zero": np.zeros(8), "mean": mean, "var": variance}
    return make_model(nodes, arrays)


def make_model(nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("trained", [s.name for s in SCALINGS])
def test_the_scaling_of_training_comes_first(trained: str) -> None:
    found = answers_to(RUNS[trained])
    model = normalised_model(found.mean(axis=(0, 1, 2)), found.var(axis=(0, 1, 2)))
    fitting = fitting_scalings(read_model(model), None, "x", RUNS, BLACK)
    assert fitting[0] == trained
    assert len(fitting) < len(SCALINGS), "what is 255 times off does not fit"


def test_all_fit_where_no_layer_is_found() -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3])]
    found = fitting_scalings(read_model(make_model(nodes, {})), None, "x", RUNS, BLACK)
    assert list(found) == [s.name for s in SCALINGS]


def test_all_fit_where_the_layers_do_not_run_alone() -> None:
    """Feeds of another shape than the input's: what does not run tells nothing."""
    model = normalised_model(np.zeros(8), np.ones(8))
    wrong = {name: [{"x": np.zeros((1, 5), np.float32)}] for name in RUNS}
    assert list(fitting_scalings(read_model(model), None, "x", wrong, BLACK)) == list(RUNS)
