"""Whatever fold computes, of whatever type: what numpy says, or nothing. The list is fold's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnxzip.passes._fold_constants as constants
import pytest
from onnx import helper

from onnxzip.graph.changing.evaluation import evaluate
from onnxzip.passbase import NodeView

OPSETS = (7, 11, 13, 17, 22)
Array = np.ndarray
Truth = tuple[list[Array], dict[str, Any], Any]


def extremes(name: str) -> Array:
    """Return six numbers of a type, its ends among them."""
    dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    if name == "bool":
        return np.array([True, False, True, True, False, False])
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return np.array([ends.min, ends.max, 0, 1, 3, ends.max - 1], dtype)
    ends = ml_dtypes.finfo(dtype)
    return np.array([ends.max, -ends.max, np.inf, -0.0, np.nan, ends.tiny], dtype)


def moved(op_type: str, a: Array, opset: int) -> Truth | None:
    """Return what an operator reads beside `a`, its attributes, and its result; None for no such one."""
    grid = a.reshape(2, 3)

    def over(axes: list[int], since: int) -> tuple[list[Array], dict[str, Any]]:
        return ([np.array(axes)], {}) if opset >= since else ([], {"axes": axes})

    table: dict[str, Callable[[], Truth]] = {
        "Reshape": lambda: ([a, np.array([3, -1])], {}, a.reshape(3, 2)),
        "Transpose": lambda: ([grid], {"perm": [1, 0]}, grid.T),
        "Flatten": lambda: ([grid], {"axis": 2}, a.reshape(6, 1)),
        "Gather": lambda: ([grid, np.array([-1, 0])], {"axis": 1}, grid[:, [-1, 0]]),
        "Concat": lambda: ([a, a], {"axis": 0}, np.concatenate([a, a])),
        "Shape": lambda: ([grid], {}, np.array([2, 3])),
        "Size": lambda: ([grid], {}, np.array(6)),
        "Squeeze": lambda: (lambda more: ([a[None], *more[0]], more[1], a))(over([0], 13)),
        "Unsqueeze": lambda: (lambda more: ([a, *more[0]], more[1], a[:, None]))(over([1], 13)),
        "Slice": lambda: (
            ([a, np.array([1]), np.array([9]), np.array([0])], {}, a[1:])
            if opset >= 10
            else ([a], {"starts": [1], "ends": [9], "axes": [0]}, a[1:])
        ),
        "ConstantOfShape": lambda: ([np.array([2, 3])], {}, np.zeros((2, 3), np.float32)),
    }
    return table[op_type]() if op_type in table else None


def computed(op_type: str, a: Array) -> Truth | None:
    """Return the same for arithmetic: with itself turned round, where it takes two."""
    b = a[::-1].copy()
    unary: dict[str, Callable[[Array], Array]] = {
        **{"Neg": np.negative, "Abs": np.abs, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log},
        **{"Reciprocal": np.reciprocal, "Floor": np.floor, "Ceil": np.ceil, "Not": np.logical_not},
    }
    binary: dict[str, Callable[[Array, Array], Array]] = {
        **{"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "MatMul": np.matmul},
        **{"Min": np.minimum, "Max": np.maximum, "Equal": np.equal, "Less": np.less},
        **{"Greater": np.greater, "And": np.logical_and, "Or": np.logical_or},
    }
    if op_type in unary:
        return [a], {}, unary[op_type](a)
    if op_type in binary:
        return [a, b], {}, binary[op_type](a, b)
    if op_type == "Where":
        condition = np.array([True, False] * 3)
        return [condition, a, b], {}, np.where(condition, a, b)
    return None


def outcomes(op_type: str, opset: int) -> Sequence[tuple[str, Array, Any]]:
    """Return what is computed that fold does not refuse: what it is, the result, what numpy says."""
    found = []
    for name in constants._CAST_DTYPES.values():
        targets = constants._CAST_DTYPES if op_type == "Cast" else {0: ""}
        for number, target in targets.items():
            with np.errstate(all="ignore"):
                a = extremes(name)
                dtype = (
                    np.dtype(ml_dtypes.bfloat16) if target == "bfloat16" else np.dtype(target or "f4")
                )
                truth = (
                    ([a], {"to": number}, a.astype(dtype))
                    if op_type == "Cast"
                    else moved(op_type, a, opset) or computed_or_none(op_type, a)
                )
            if truth is None:
                continue
            arrays, attributes, wanted = truth
            inputs = {f"c{i}": np.asarray(array) for i, array in enumerate(arrays)}
            view = NodeView(0, op_type, "", "n", tuple(inputs), ("y",), attributes)
            if constants.evaluation_refusal(view, list(inputs.values())):
                continue
            node = helper.make_node(op_type, list(inputs), ["y"], **attributes)
            result = evaluate(node, inputs, [helper.make_opsetid("", opset)])
            if result is not None:
                found.append((f"{name} {target}", result, wanted))
    return found


def computed_or_none(op_type: str, a: Array) -> Truth | None:
    """Return arithmetic that numpy knows for the type."""
    try:
        return computed(op_type, a)
    except TypeError:
        return None


@pytest.mark.parametrize("op_type", [*constants._MOVES, *constants._ARITHMETIC])
def test_every_type_that_is_computed_is_computed_right(op_type: str) -> None:
    n_found = 0
    for opset in OPSETS:
        for what, result, wanted in outcomes(op_type, opset):
            n_found += 1
            place = f"{op_type} {what} opset {opset}"
            assert result.shape == np.shape(wanted), place
            with np.errstate(all="ignore"):
                if result.dtype.kind in "iub":
                    np.testing.assert_array_equal(result, wanted, place)
                else:
                    wide = result.astype(np.float64), np.asarray(wanted).astype(np.float64)
                    np.testing.assert_allclose(*wide, rtol=1e-6, err_msg=place)
    assert n_found >= 2 or op_type in ("Not", "And", "Or")
