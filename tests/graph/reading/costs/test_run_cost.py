"""What a run takes: multiplications of float and of integer layers alike."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from onnxzip import graph
from onnxzip.graph import read_model
from tests.textmodels import model_from_text

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g'
QUANTISED = "q, scale, zero = DynamicQuantizeLinear(x)"
CASES = {
    "convolution": ("float[2, 3, 8, 8] x", "y = Conv(x, w)", "float[4, 3, 3, 3] w", 2 * 4 * 36 * 27),
    "integer convolution": (
        *(
            "float[2, 3, 8, 8] x",
            "q, scale, zero = DynamicQuantizeLinear(x)  y = ConvInteger(q, w, zero)",
        ),
        *("uint8[4, 3, 3, 3] w", 2 * 4 * 36 * 27),
    ),
    "product": ("float[5, 6] x", "y = MatMul(x, w)", "float[6, 7] w", 5 * 6 * 7),
    "integer product": (
        *("float[5, 6] x", f"{QUANTISED}  y = MatMulInteger(q, w, zero)"),
        *("uint8[6, 7] w", 5 * 6 * 7),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_multiplications_are_counted(name: str) -> None:
    """Beside them, the numbers that are quantised: less than a tenth, here."""
    inputs, body, weight, expected = CASES[name]
    is_integer = weight.startswith("uint8")
    made = "int32 y" if is_integer else "float y"
    proto = model_from_text(f"{HEAD} ({inputs}) => ({made}) <{weight}> {{{body}}}")
    if is_integer:
        (tensor,) = proto.graph.initializer
        tensor.CopyFrom(numpy_helper.from_array(np.ones(tuple(tensor.dims), np.uint8), tensor.name))
    shape = tuple(int(n) for n in inputs.split("[")[1].split("]")[0].split(","))
    found = graph.run_cost(read_model(proto), {"x": shape}).n_operations
    assert expected <= found <= 1.2 * expected
