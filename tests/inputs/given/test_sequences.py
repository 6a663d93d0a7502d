"""Sequences, optional inputs, strings and bfloat16 from the user's data, to the file's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxzip
from onnxzip.errors import CalibrationError
from tests.casebook.kit import Draft, value

ROWS = np.random.default_rng(3).standard_normal((96, 64)).astype(np.float32)
QUICK: dict[str, Any] = {"passes": ("scalar",), "level": 1, "tolerance": 0.2}


def sequence() -> onnx.ModelProto:
    """Return (rows of all elements) @ weight."""
    draft = Draft()
    draft.add("ConcatFromSequence", ["q"], "rows", axis=0)
    draft.add("MatMul", ["rows", draft.weight("weight", 64, 48)], "y")
    return draft.model(
        [helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None)], [value("y", [None, 48])]
    )


def optional() -> onnx.ModelProto:
    """Return x @ weight + o, or + 0 where o is left out."""
    given, absent = Draft(), Draft()
    given.add("OptionalGetElement", ["o"], "a")
    absent.add("Identity", ["zero"], "b")
    branches = {
        "then_branch": given.graph([], [value("a", [2, 48])], "given"),
        "else_branch": absent.graph([], [value("b", [2, 48])], "absent"),
    }
    draft = Draft()
    draft.tensor("zero", np.zeros((2, 48), np.float32))
    draft.add("OptionalHasElement", ["o"], "has")
    draft.add("If", ["has"], "added", **branches)
    product = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "m")
    draft.add("Add", [product, "added"], "y")
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, [2, 48])
    o = helper.make_value_info("o", helper.make_optional_type_proto(inner))
    return draft.model([o, value("x", [2, 64])], [value("y", [2, 48])], opset=18)


def half(output: int) -> onnx.ModelProto:
    """Return x @ weight, x of bfloat16, as another type."""
    draft = Draft()
    wide = draft.add("Cast", ["x"], "f", to=TensorProto.FLOAT)
    product = draft.add("MatMul", [wide, draft.weight("weight", 64, 48)], "m")
    draft.add("Cast", [product], "y", to=output)
    inputs = [value("x", ["n", 64], TensorProto.BFLOAT16)]
    return draft.model(inputs, [value("y", ["n", 48], output)])


def text() -> onnx.ModelProto:
    """Return rows of a table by a word, times a weight."""
    draft = Draft()
    keys = {"keys_strings": ["a", "b", "c"], "values_int64s": [0, 1, 2]}
    draft.add("LabelEncoder", ["s"], "k", domain="ai.onnx.ml", **keys)
    draft.add("Gather", [draft.weight("table", 64, 64), "k"], "e")
    draft.add("MatMul", ["e", draft.weight("weight", 64, 48)], "y")
    inputs = [value("s", ["n"], TensorProto.STRING)]
    return draft.model(inputs, [value("y", ["n", 48])], domains={"ai.onnx.ml": 2})


WORDS = np.array(["a", "b", "c", "a"] * 20)
GIVEN: dict[str, tuple[onnx.ModelProto, Any]] = {
    "lists": (sequence(), [{"q": [ROWS[:2], ROWS[2:5]]}, {"q": [ROWS[i : i + 1] for i in range(7)]}]),
    "elements": (sequence(), {"q[0]": ROWS.reshape(48, 2, 64), "q[1]": ROWS[::-1].reshape(48, 2, 64)}),
    "optional, given": (optional(), {"o": ROWS[:, :48], "x": ROWS}),
    "optional, left out": (optional(), {"x": ROWS}),
    "bfloat16 of float32": (half(TensorProto.FLOAT), {"x": ROWS}),
    "bfloat16": (half(TensorProto.BFLOAT16), {"x": ROWS.astype(ml_dtypes.bfloat16)}),
    "strings": (text(), {"s": WORDS}),
    "objects": (text(), {"s": WORDS.astype(object)}),
}


@pytest.mark.parametrize("name", GIVEN)
def test_data_of_all_types(name: str, tmp_path: Path) -> None:
    """Files do as arrays do."""
    proto, data = GIVEN[name]
    result = onnxzip.compress(proto, calibration=data, **QUICK)
    checks = {check.kind: check for check in result.report.checks}
    assert 0 < checks["drift"].value <= 0.2
    assert checks["drift"].n_samples > 1
    assert checks["exact"].value <= 1e-5
    if isinstance(data, dict) and name != "objects":
        path = tmp_path / "data.npz"
        np.savez(path, **data)
        same = onnxzip.compress(proto, calibration=path, **QUICK)
        assert same.report.checks[-1].value == pytest.approx(result.report.checks[-1].value, rel=1e-6)


def test_generated_inputs_leave_out_what_is_optional_and_round_bfloat16() -> None:
    for proto in (optional(), half(TensorProto.FLOAT), half(TensorProto.BFLOAT16)):
        report = onnxzip.compress(proto, **QUICK).report
        assert report.bytes_after < report.bytes_before
    with pytest.raises(CalibrationError, match=r"seq\(tensor\(float\)\).*pass real inputs"):
        onnxzip.compress(sequence())


def test_a_batch_that_is_called_free_and_is_one() -> None:
    """A Reshape to (1, 48) behind it takes one sample a run."""
    draft = Draft()
    product = draft.add("MatMul", ["x", draft.weight("weight", 64, 48)], "m")
    draft.add("Reshape", [product, draft.tensor("shape", np.array([1, 48]))], "y")
    proto = draft.model([value("x", ["n", 64])], [value("y", [1, 48])])
    report = onnxzip.compress(proto, calibration={"x": ROWS}, **QUICK).report
    (drift,) = [check for check in report.checks if check.kind == "drift"]
    assert "24 of 96 samples" in drift.note
