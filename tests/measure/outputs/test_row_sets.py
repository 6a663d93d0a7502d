"""Sets of rows: order is of no matter, and what is missing costs its distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxzip
from onnxzip.graph import read_model
from onnxzip.graph.reading.inputs.dependence import unsized_outputs
from onnxzip.measure.metrics.rel_l2 import RelL2
from onnxzip.measure.outputs.row_sets import matched_rows
from tests.casebook.kit import Draft, value

BOXES = np.random.default_rng(4).uniform(0, 9, (12, 4)).astype(np.float32)


def loss(before: Any, after: Any) -> float:
    metric = RelL2(limit=1.0, sets={"y": 0})
    return float(metric.measure([{"y": before}], [{"y": after}]).value)


def test_order_and_copies_are_of_no_matter() -> None:
    assert loss(BOXES, BOXES[::-1]) == 0
    assert loss(BOXES, np.concatenate([BOXES, BOXES[:3]])) == 0
    ids = np.array([[0, 0, 5], [0, 0, 9], [0, 0, 2]])
    assert loss(ids, ids[[2, 0, 1]]) == 0


def test_what_is_missing_costs_its_distance() -> None:
    """By hand: each row beside its nearest, from both sides."""
    before, after = np.array([[0.0], [4.0], [10.0]], np.float32), np.array([[1.0], [10.0]], np.float32)
    square = (1 + 9 + 0) + (1 + 0)
    below = (0 + 16 + 100) + (0 + 100)
    assert loss(before, after) == pytest.approx((square / below) ** 0.5)
    nothing = before[:0]
    assert loss(before, nothing) == loss(nothing, nothing) + 1
    numbers = np.array([[0, 0, 5], [0, 0, 9]])
    assert loss(numbers, numbers[:1]) == pytest.approx(1 / 9), "one of nine numbers has no equal"
    assert loss(numbers, numbers[:0]) == 1


def test_what_is_no_set_of_rows() -> None:
    assert matched_rows(BOXES, BOXES[:, :3]) is None
    assert matched_rows(BOXES, BOXES.astype(np.float64)) is None
    assert matched_rows(np.array(["a"]), np.array(["b"])) is None
    assert matched_rows(np.array(1.0), np.array(2.0)) is None
    many = np.zeros((5000, 1), np.float32)
    assert matched_rows(many, many) is None, "25 million distances"
    assert RelL2(limit=1.0).measure([{"y": BOXES}], [{"y": BOXES[:3]}]).value == np.inf


def detector() -> Any:
    """Return boxes, which of them are left over, and how many NonZero finds."""
    draft = Draft()
    hidden = draft.add("Relu", [draft.add("MatMul", ["x", draft.weight("w", 64, 96)], "h")], "r")
    for name, n in (("boxes", 240), ("scores", 60)):
        product = draft.add("MatMul", [hidden, draft.weight(f"w_{name}", 96, n)], f"m_{name}")
        shape = draft.tensor(f"s_{name}", np.array([1, 60, 4] if n == 240 else [1, 1, 60]))
        draft.add("Reshape", [draft.add("Sigmoid", [product], f"p_{name}"), shape], name)
    limits = [draft.tensor("most", np.array([50])), draft.tensor("iou", np.array([0.5], np.float32))]
    limits.append(draft.tensor("least", np.array([0.55], np.float32)))
    draft.add("NonMaxSuppression", ["boxes", "scores", *limits], "chosen")
    draft.add("NonZero", [draft.add("Greater", ["scores", "least"], "g")], "where")
    draft.add("Transpose", ["where"], "rows", perm=[1, 0])
    outputs = [value("boxes", [1, 60, 4]), value("chosen", ["n", 3], 7), value("rows", ["m", 3], 7)]
    outputs.append(value("where", [3, "m"], 7))
    return draft.model([value("x", [1, 64])], outputs)


def test_outputs_that_values_size() -> None:
    assert unsized_outputs(read_model(detector())) == {"chosen": 0, "rows": 0, "where": 1}
    report = onnxzip.compress(detector(), passes=("scalar",), level=1, tolerance=0.2).report
    (drift,) = [check for check in report.checks if check.kind == "drift"]
    assert set(drift.by_output) == {"boxes", "chosen", "rows", "where"}
    assert drift.by_output["rows"] == pytest.approx(drift.by_output["where"])
    assert 0 < drift.by_output["boxes"] <= drift.value <= 0.2
    assert report.bytes_after < report.bytes_before / 2
