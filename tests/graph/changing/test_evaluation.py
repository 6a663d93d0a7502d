"""What is folded is what the standard says, at every operator set: numpy tells, by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxzip.graph.changing import evaluation
from onnxzip.graph.changing.evaluation import evaluate

OPSETS = range(7, 23)
A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
I = np.array([[5, -3, 0], [7, 2, -9]], np.int64)  # noqa: E741
Attributes = Mapping[str, Any]


def axes(
    op_type: str, axes: list[int], since: int = 13
) -> Callable[[int], tuple[list[Any], Attributes]]:
    """Return the further inputs and attributes of an operator whose axes became an input at an opset."""
    return lambda opset: ([np.array(axes, np.int64)], {}) if opset >= since else ([], {"axes": axes})


def slicing(starts: list[int], ends: list[int], over: list[int]) -> Callable[[int], Any]:
    """Return a Slice's inputs or attributes."""
    arrays = [np.array(numbers, np.int64) for numbers in (starts, ends, over)]
    attributes = {"starts": starts, "ends": ends, "axes": over}
    return lambda opset: (arrays, {}) if opset >= 10 else ([], attributes)


def same(*inputs: Any, **attributes: Any) -> Callable[[int], Any]:
    """Return inputs and attributes that are the same at all opsets."""
    return lambda opset: (list(inputs), attributes)


INF = np.array([np.inf, -np.inf, 0, -0.0, 1e-40], np.float32)
CASES: Mapping[str, tuple[str, Any, Callable[[int], Any], Any]] = {
    "unsqueeze, negative axes": ("Unsqueeze", A, axes("Unsqueeze", [-2, -1]), A[..., None, None]),
    "unsqueeze, mixed axes": ("Unsqueeze", A, axes("Unsqueeze", [0, -1]), A[None, ..., None]),
    "unsqueeze, unsorted axes": ("Unsqueeze", A, axes("Unsqueeze", [3, 0]), A[None, :, :, None]),
    "squeeze, negative": ("Squeeze", A[:, :1], axes("Squeeze", [-2]), A[:, 0]),
    "slice, from the end": ("Slice", A, slicing([-2], [9], [-1]), A[..., -2:]),
    "slice, beyond": ("Slice", A, slicing([0], [-1], [1]), A[:, :-1]),
    "gather, negative": ("Gather", A, same(np.array([-1, 0]), axis=1), A[:, [-1, 0]]),
    "concat, negative axis": ("Concat", A, same(A, axis=-1), np.concatenate([A, A], -1)),
    "transpose": ("Transpose", A, same(perm=[2, 0, 1]), A.transpose(2, 0, 1)),
    "reshape, 0 and -1": ("Reshape", A, same(np.array([0, -1])), A.reshape(2, 12)),
    "flatten": ("Flatten", A, same(axis=2), A.reshape(6, 4)),
    "shape": ("Shape", A, same(), np.array([2, 3, 4])),
    "cast to bool": ("Cast", A, same(to=9), A.astype(np.bool_)),
    "cast of bool": ("Cast", A > 5, same(to=1), (A > 5).astype(np.float32)),
    "negative": ("Neg", I, same(), -I),
    "matmul of vectors": ("MatMul", A[0, 0], same(A[0, 1]), np.float32(A[0, 0] @ A[0, 1])),
    "broadcast": ("Add", A, same(A[:1, :, :1]), A + A[:1, :, :1]),
    "infinite": ("Add", INF, same(INF), INF + np.array([np.inf, -np.inf, 0, -0.0, 1e-40], np.float32)),
    "reciprocal of zero": ("Reciprocal", INF, same(), np.array([0, -0.0, np.inf, -np.inf, np.inf])),
    "square root": ("Sqrt", np.array([4.0, 0, -1], np.float32), same(), np.array([2, 0, np.nan])),
    "empty": ("Neg", np.zeros((0, 3), np.float32), same(), np.zeros((0, 3))),
    "minimum": ("Min", A, same(np.full(4, 3, np.float32)), np.minimum(A, 3)),
    "less": ("Less", A, same(np.float32(5)), A < 5),
    "where": ("Where", A > 5, same(A, -A), np.where(A > 5, A, -A)),
}


def outcome(name: str, opset: int) -> tuple[Any, bool]:
    """Return what is computed, and whether the operator is in that set with these inputs."""
    op_type, first, how, _ = CASES[name]
    others, attributes = how(opset)
    arrays = {f"c{i}": np.asarray(array) for i, array in enumerate([first, *others])}
    node = helper.make_node(op_type, list(arrays), ["y"], **attributes)
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return None, False
    takes = len(arrays) >= schema.min_input
    return evaluate(node, arrays, [helper.make_opsetid("", opset)]), takes


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_computed_is_right(name: str, opset: int) -> None:
    """A node may be left alone, where one of three does not know it; a wrong result never comes out."""
    found, _ = outcome(name, opset)
    wanted = np.asarray(CASES[name][3])
    if found is not None:
        assert found.shape == wanted.shape
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_nearly_all_is_computed() -> None:
    """At the opset that most files have; the reference cannot mend what it lacks, and needs not."""
    lacking = [name for name in CASES if outcome(name, 17)[0] is None]
    assert len(lacking) <= 1, lacking


class Wrong:
    """A reference evaluator that is wrong in the way a test asks for."""

    how: Callable[[Any], Any]

    def __init__(self, model: onnx.ModelProto) -> None: ...

    def run(self, names: None, feeds: dict[str, Any]) -> list[Any]:
        return [type(self).how(-feeds["c0"])]


@pytest.mark.parametrize(
    ("kind", "is_taken"),
    [
        ("right", True),
        ("shape", False),
        ("type", False),
        ("value", False),
        ("rounding", True),
    ],
)
def test_a_reference_that_is_wrong_is_not_believed(
    kind: str, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: dict[str, Callable[[Any], Any]] = {
        "right": lambda y: y,
        "shape": lambda y: y[None],
        "type": lambda y: y.astype(np.float64),
        "value": lambda y: y * np.float32(1.001),
        "rounding": lambda y: np.nextafter(y, np.float32(9)),
    }
    monkeypatch.setattr(Wrong, "how", staticmethod(errors[kind]), raising=False)
    monkeypatch.setattr(evaluation, "ReferenceEvaluator", Wrong)
    node = helper.make_node("Neg", ["c0"], ["y"])
    found = evaluate(node, {"c0": A}, [helper.make_opsetid("", 17)])
    assert (found is not None) == is_taken


def test_bfloat16_is_moved_without_asking_onnxruntime() -> None:
    import ml_dtypes

    array = A.astype(ml_dtypes.bfloat16)
    node = helper.make_node("Transpose", ["c0"], ["y"], perm=[2, 0, 1])
    found = evaluate(node, {"c0": array}, [helper.make_opsetid("", 17)])
    assert found is not None
    np.testing.assert_array_equal(found, array.transpose(2, 0, 1))
