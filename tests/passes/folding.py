"""What the tests of `fold` share: running the pass, and checking what it changed or refused."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from onnxzip.graph import GraphEditor, prune, read_model, to_proto
from onnxzip.passbase import GraphPass
from onnxzip.records.plan import Rewrite, Skip
from tests.casebook.kit import Draft
from tests.graph.running import assert_close, run

Fold: type[GraphPass] = importlib.import_module("onnxzip.passes.fold").Fold


def fold(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[Rewrite], list[Skip]]:
    """Run the pass as the pipeline does."""
    model = read_model(proto)
    editor = GraphEditor(model)
    records = list(Fold().rewrite(editor))
    editor.commit()
    prune(model)
    rewrites = [r for r in records if isinstance(r, Rewrite)]
    skips = [r for r in records if isinstance(r, Skip)]
    assert len(rewrites) + len(skips) == len(records)
    assert all(r.pass_name == "fold" for r in records)
    return to_proto(model), rewrites, skips


def op_types(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def check(
    proto: onnx.ModelProto, wanted: list[str], shape: tuple[int, ...], dtype: Any = np.float32
) -> onnx.ModelProto:
    """Fold, compare the operators left and the outputs, and fold once more: nothing may change."""
    folded, rewrites, _ = fold(proto)
    assert op_types(folded) == wanted
    n_gone = len([n for n in proto.graph.node if n.op_type != "Constant"]) - len(
        [n for n in folded.graph.node if n.op_type != "Constant"]
    )
    assert len(rewrites) == n_gone
    rng = np.random.default_rng(1)
    for _ in range(2):
        feeds = {"x": rng.standard_normal(shape).astype(dtype)}
        assert_close(run(folded, feeds), run(proto, feeds))
    again, more, _ = fold(folded)
    assert more == []
    assert op_types(again) == wanted
    assert list(folded.graph.output) == list(proto.graph.output)
    return folded


def refuse(proto: onnx.ModelProto, reason: str) -> None:
    """Fold, and expect nothing but one refusal."""
    folded, rewrites, skips = fold(proto)
    assert rewrites == []
    assert op_types(folded) == op_types(proto)
    assert len(skips) == 1
    assert reason in skips[0].reason
    assert "\n" not in skips[0].reason


def parameters(draft: Draft, n: int, dtype: Any = np.float32) -> list[str]:
    names = [
        draft.tensor(k, draft.rng.standard_normal(n).astype(dtype)) for k in ("gamma", "beta", "mean")
    ]
    return [*names, draft.tensor("variance", draft.rng.uniform(0.3, 2, n).astype(dtype))]


def batch_norm(draft: Draft, data: str, **attributes: Any) -> None:
    dtype = np.float16 if draft.initializers[0].data_type == TensorProto.FLOAT16 else np.float32
    if draft.initializers[0].data_type == TensorProto.DOUBLE:
        dtype = np.float64
    draft.add("BatchNormalization", [data, *parameters(draft, 12, dtype)], "y", **attributes)
