"""Opsets 7 to 10 become 11 with equal outputs, or a ModelError says why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxzip.errors import ModelError
from onnxzip.graph import raise_opset, read_model, to_proto
from tests.casebook.kit import Draft, value
from tests.cases import CASES
from tests.graph.running import RUNNABLE, assert_close, run

OLD = [c for c in RUNNABLE if next(e.version for e in c.build().opset_import if not e.domain) < 11]


@pytest.mark.parametrize("case", OLD, ids=str)
def test_old_models_compute_the_same(case: Any) -> None:
    proto = case.build()
    raised = raise_opset(read_model(proto))
    assert raised.opset == 11
    found = to_proto(raised)
    assert list(found.graph.output) == list(proto.graph.output)
    assert list(found.graph.input)[: len(proto.graph.input)] == list(proto.graph.input)
    assert list(found.metadata_props) == list(proto.metadata_props)
    assert {t.name for t in proto.graph.initializer} <= {t.name for t in found.graph.initializer}
    for seed in (0, 1):
        assert_close(run(found, case.feeds(seed)), run(proto, case.feeds(seed)))


def one_node(op_type: str, opset: int, inputs: Sequence[Any] = (), **attributes: Any) -> onnx.ModelProto:
    """Return y = op(x, *inputs) behind a Conv with a weight large enough to be detached."""
    draft = Draft()
    draft.add("Conv", ["x", draft.weight("weight", 8, 4, 3, 3)], "h")
    names = [draft.tensor(f"c{i}", array) for i, array in enumerate(inputs)]
    draft.add(op_type, ["h", *names], "y", **attributes)
    return draft.model([value("x", [1, 4, 8, 8])], [value("y", None)], opset=opset)


CHANGED = {
    "clip": ("Clip", [], {"min": -0.5, "max": 0.5}),
    "pad": ("Pad", [], {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "mode": "constant", "value": 0.5}),
    "slice": ("Slice", [], {"axes": [2], "starts": [1], "ends": [4]}),
    "dropout": ("Dropout", [], {"ratio": 0.3}),
    "squeeze": ("ReduceMean", [], {"axes": [2], "keepdims": 0}),
    "max_pool": ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "average_pool": (
        "AveragePool",
        [],
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    "upsample": ("Upsample", [np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    "softmax": ("Softmax", [], {"axis": 1}),
    "cumulative": ("Flatten", [], {"axis": 1}),
}


ENDED_AT_9 = ("slice", "upsample")


@pytest.mark.parametrize(
    ("name", "opset"), [(n, o) for n in CHANGED for o in (9, 10) if o == 9 or n not in ENDED_AT_9]
)
def test_operators_that_changed_until_11(name: str, opset: int) -> None:
    op_type, inputs, attributes = CHANGED[name]
    proto = one_node(op_type, opset, inputs, **attributes)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted = run(proto, feeds)
    assert_close(run(to_proto(raise_opset(read_model(proto))), feeds), wanted)


def test_newer_models_are_left_alone() -> None:
    model = read_model(CASES["opset_13"].build())
    assert raise_opset(model) is model


@pytest.mark.parametrize("domain", ["com.example", "com.microsoft"])
def test_foreign_operators_are_refused(domain: str) -> None:
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    draft.add("Mystery", ["h"], "y", domain=domain)
    proto = draft.model([value("x", [1, 64])], [value("y", None)], opset=9, domains={domain: 1})
    with pytest.raises(ModelError, match=f"operators of .*{domain}.*; export at opset 11") as caught:
        raise_opset(read_model(proto))
    assert "\n" not in str(caught.value)


def test_operators_that_changed_in_a_body_are_refused() -> None:
    """The converter does not look into bodies, so what it returned would mean something else."""
    branches = []
    for low in (-1.0, 0.0):
        inner = Draft()
        inner.add("Clip", ["x"], f"out{low}", min=low, max=1.0)
        branches.append(inner.graph([], [value(f"out{low}", [1, 64])], f"branch{low}"))
    draft = Draft()
    draft.add("If", ["c"], "y", then_branch=branches[0], else_branch=branches[1])
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    proto = draft.model([value("x", [1, 64]), condition], [value("y", [1, 64])], opset=9)
    with pytest.raises(ModelError, match="Clip in a nested graph"):
        raise_opset(read_model(proto))


def test_bodies_without_such_operators_are_converted() -> None:
    branches = []
    for name in ("Relu", "Neg"):
        inner = Draft()
        inner.add(name, ["h"], f"{name}_out")
        branches.append(inner.graph([], [value(f"{name}_out", [1, 48])], name))
    draft = Draft()
    draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "h")
    draft.add("If", ["c"], "y", then_branch=branches[0], else_branch=branches[1])
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    proto = draft.model([value("x", [1, 64]), condition], [value("y", [1, 48])], opset=9)
    raised = raise_opset(read_model(proto))
    for chosen in (True, False):
        feeds = {"x": np.ones((1, 64), np.float32), "c": np.array(chosen)}
        assert_close(run(to_proto(raised), feeds), run(proto, feeds))
