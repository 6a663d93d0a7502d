"""Models that ask for more memory than any machine has, whatever they are fed: one line, at once."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from onnxzip.errors import CalibrationError
from onnxzip.graph import read_model
from onnxzip.measure.inputs.feeding import run_alone
from onnxzip.options import Options

NODE = helper.make_node
N_MANY = 1 << 27
"""Times the sizes of x: 2^58 numbers of its own, beyond what a process can address."""

MADE = {
    "ConstantOfShape": [NODE("ConstantOfShape", ["sizes"], ["large"])],
    "Expand": [NODE("Expand", ["zero", "sizes"], ["large"])],
    "Tile": [NODE("Tile", ["x", "sizes"], ["large"])],
    "Range": [
        NODE("ReduceProd", ["sizes"], ["end"], keepdims=0),
        NODE("Range", ["start", "end", "step"], ["numbers"]),
        NODE("Cast", ["numbers"], ["large"], to=1),
    ],
    "Pad": [
        NODE("Concat", ["none", "sizes"], ["amounts"], axis=0),
        NODE("Pad", ["x", "amounts"], ["large"]),
    ],
}


@pytest.mark.parametrize("name", MADE)
def test_sizes_that_the_graph_computes_are_refused_in_a_line(name: str) -> None:
    whole = {"many": np.array([N_MANY] * 2), "none": np.array([0, 0]), "start": np.array(0)}
    constants = {**whole, "step": np.array(1), "zero": np.float32(0)}
    first = [NODE("Shape", ["x"], ["shape"]), NODE("Mul", ["shape", "many"], ["sizes"])]
    last = [NODE("ReduceMax", ["large"], ["most"], keepdims=0), NODE("Add", ["x", "most"], ["y"])]
    value = helper.make_tensor_value_info
    main = helper.make_graph(
        [*first, *MADE[name], *last],
        "g",
        [value("x", 1, ["n", 8])],
        [value("y", 1, ["n", 8])],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in constants.items()],
    )
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(CalibrationError, match=rf"{name} '.*; none of the generated inputs runs, pass"):
        run_alone(read_model(model), Options())
