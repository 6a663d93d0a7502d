"""What the graph tests share: running models in onnxruntime, and a plain decoder for stored values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from onnxzip.codec.emit.scaled import emit_moves
from onnxzip.graph import to_proto
from onnxzip.graph.reading.model import Model
from onnxzip.passbase import Builder
from onnxzip.records.payload import Coefficients
from onnxzip.transforms.moves import Moves, moved
from tests.cases import CASES, Case

RUNNABLE = [case for case in CASES.values() if case.runnable]
OFF = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
BASIC = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC


def open_session(
    model: onnx.ModelProto | Path, level: Any = OFF, saved: Path | None = None
) -> ort.InferenceSession:
    """Open a model on the CPU with one thread; save the optimised graph if a path is given."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    if saved is not None:
        options.optimized_model_filepath = str(saved)
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto | Path, feeds: Mapping[str, Any], level: Any = OFF) -> dict[str, Any]:
    """Return a model's outputs by name."""
    session = open_session(model, level)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_identical(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare outputs bit for bit, sequences item for item."""
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        _assert_same(found[name], value)


def _assert_same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            _assert_same(a, b)
    else:
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_array_equal(found, wanted)


def assert_close(found: Mapping[str, Any], wanted: Mapping[str, Any], limit: float = 1e-5) -> None:
    """Compare outputs: |difference| / |wanted| of float tensors, anything else exactly."""
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert found[name].shape == value.shape
            assert found[name].dtype == value.dtype
            difference = np.linalg.norm((found[name] - value).ravel().astype(np.float64))
            assert difference <= limit * np.linalg.norm(value.ravel().astype(np.float64)), name
        else:
            _assert_same(found[name], value)


def assert_same_behaviour(model: Model, original: onnx.ModelProto | Path, case: Case) -> None:
    """Run a model and the original on the case's feeds and compare bit for bit."""
    for seed in (0, 1):
        feeds = case.feeds(seed)
        assert_identical(run(to_proto(model), feeds), run(original, feeds))


def emit_plainly(items: Sequence[Any], builder: Builder, moves: Sequence[Moves]) -> list[str]:
    """Store integers as they are: Cast, Mul by the steps, and the moves."""
    names: list[str] = []
    for item, own in zip(items, moves, strict=True):
        if not isinstance(item, Coefficients):
            names.append(builder.constant(moved(item, own)))
            continue
        shape = item.integers.shape
        raw = builder.constant(item.integers.astype(np.int16))
        value = builder.node("Cast", [raw], shape, np.float32, to=onnx.TensorProto.FLOAT)
        steps = builder.constant(item.steps)
        value = builder.node("Mul", [value, steps], shape, np.float32)
        names.append(emit_moves(value, shape, np.float32, own, builder)[0])
    return names
