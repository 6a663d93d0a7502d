"""Inputs that are made up for a model that runs for ever on some."""

from __future__ import annotations

import pytest
from onnx import helper

from onnxzip import graph
from onnxzip.errors import CalibrationError
from onnxzip.graph import Model, read_model
from onnxzip.measure.inputs import feeding
from onnxzip.options import Options


def looping(trips: int | None) -> Model:
    """Return a model whose Loop ends with its condition, an input, or after so many trips."""
    value = helper.make_tensor_value_info
    state = [1, 4]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["s"], ["t"])],
        "body",
        [value("i", 7, []), value("go", 9, []), value("s", 1, state)],
        [value("on", 9, []), value("t", 1, state)],
    )
    name, counts = ("", []) if trips is None else ("m", [helper.make_tensor("m", 7, [], [trips])])
    loop = helper.make_node("Loop", [name, "c", "x"], ["y"], body=body)
    main = helper.make_graph(
        [loop], "main", [value("x", 1, state), value("c", 9, [])], [value("y", 1, state)], counts
    )
    opsets = [helper.make_opsetid("", 17)]
    return read_model(helper.make_model(main, opset_imports=opsets, ir_version=8))


@pytest.mark.parametrize(("trips", "words"), [(None, "Loop 'y'"), (2**62, "Loop 'y'"), (3, "")])
def test_loops_that_no_small_number_ends(trips, words):
    assert graph.endless_loop(looping(trips)) == words


def test_a_run_without_end_is_ended(monkeypatch):
    monkeypatch.setattr(feeding, "_LOOP_S", 0.2)
    with pytest.raises(CalibrationError, match=r"Loop 'y'.* not done after 0\.2 s; none of the gen"):
        feeding.run_alone(looping(None), Options())
    feeding.run_alone(looping(3), Options())
