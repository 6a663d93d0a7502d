"""Digests of content: equal where values are, in every process; different where anything differs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import ml_dtypes
import numpy as np
import pytest

from onnxzip.codec.fixed_rate import FixedRate
from onnxzip.codec.variable_rate import VariableRate
from onnxzip.disk.cache.content import digest
from onnxzip.records.layer import Layer, Layout, Statistics

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
LAYER = Layer("w", "Gemm", WEIGHT, Layout((), (0,), (1,), ()), {"transB": 1})
MOMENT = np.eye(4, dtype=np.float32)
DIFFERENT: list[object] = [
    *(None, 0, 0.0, -0.0, False, True, 1, "0", "", b"", b"0", Path("0"), float("nan"), float("inf")),
    *((), (0,), ((0,),), (0, ()), ("a", "b"), ("ab",), {}, {"a": "b"}, {"b": "a"}, {"a": {}}, {"a": ()}),
    *(frozenset(), frozenset({1}), frozenset({1, 2})),
    *(WEIGHT, WEIGHT.T, WEIGHT.reshape(4, 3), WEIGHT.astype(np.float64), WEIGHT.view(np.int32)),
    *(np.zeros(0, np.float32), np.zeros((0, 2), np.float32), np.float32(1), np.zeros((), np.float32)),
    *(np.zeros(2, np.float16), np.zeros(2, ml_dtypes.bfloat16), np.zeros(2, np.int16)),
    *(np.array(["a", "b"]), np.array(["a", "b"], object), np.array(["b", "a"], object)),
    *(
        LAYER,
        replace(LAYER, name="v"),
        replace(LAYER, op_type="MatMul"),
        replace(LAYER, weight=WEIGHT + 1),
    ),
    *(replace(LAYER, attributes={}), replace(LAYER, can_factorise=True)),
    *(
        replace(LAYER, statistics=Statistics(MOMENT, 9)),
        replace(LAYER, statistics=Statistics(MOMENT, 8)),
    ),
    *(FixedRate(n_sharing=3), FixedRate(n_sharing=4), VariableRate(), VariableRate(plain_bit_price=0.1)),
]


def test_no_two_values_have_the_same_digest() -> None:
    """Also where they are equal to Python, as 0 and False are, or to numpy."""
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)
    assert len({digest("a", "bc"), digest("ab", "c"), digest(("a", "bc")), digest("abc")}) == 4


def test_equal_content_has_one_digest_whatever_holds_it() -> None:
    scattered = np.zeros((3, 8), np.float32)[:, ::2]
    scattered[:] = WEIGHT
    same = replace(LAYER, weight=scattered)
    assert not scattered.flags.c_contiguous
    assert same.sizes  # what was worked out of a record is no part of it
    assert digest(same) == digest(LAYER)
    assert digest([1, 2]) == digest((1, 2))
    assert digest(MappingProxyType({"a": 1})) == digest({"a": 1})
    assert digest(frozenset({"x", "y"})) == digest({"y", "x"})
    assert digest(np.array("a", object)[()]) == digest("a")


def test_a_digest_is_the_same_in_another_process() -> None:
    code = (
        "from onnxzip.disk.cache.content import digest; from onnxzip.codec.variable_rate import"
        " VariableRate; print(digest(VariableRate(), {'a', 'b', 'c'}, {'x': (1, 2.5)}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest(VariableRate(), {"a", "b", "c"}, {"x": (1, 2.5)})}


def test_what_has_no_known_content_is_refused() -> None:
    """A function, of which nobody knows what it reads, would be taken for another of its name."""
    for value in (print, lambda: 0, object(), Layer, [object()], {"a": iter(())}):
        with pytest.raises(TypeError, match="content of a"):
            digest(value)
