"""What a decoder makes and costs, by rules of our own, beside what onnx infers and the file holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxzip
from onnxzip.errors import ModelError
from onnxzip.graph import claims_of, decoder_bytes, read_mark, read_model
from onnxzip.graph.reading.shapes import decoder_types
from onnxzip.graph.writing.decoder_claims import Claims
from onnxzip.graph.writing.decoder_rules import ForeignError, Value, outputs_of
from tests.cases import CASES

FLOAT, INT64, INT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT8


@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize("name", ["residual_network", "lstm_bidirectional", "bfloat16_cast"])
def test_what_is_written_is_known(name: str, level: int, tmp_path: Path) -> None:
    """Types and shapes as onnx infers them, costs far from the bounds."""
    out = tmp_path / "small.onnx"
    onnxzip.compress(CASES[name].write(tmp_path), out, level=level, skip=("fold",))
    model = read_model(out)
    n_nodes, values = read_mark(model)
    claims = claims_of(model, n_nodes)
    inferred = decoder_types(model, n_nodes)
    assert claims.decoded == tuple(value.name for value in values)
    for value_name, value in claims.values.items():
        tensor = inferred[value_name].type.tensor_type
        assert tensor.elem_type == value.data_type
        assert tuple(dim.dim_value for dim in tensor.shape.dim) == value.shape
    assert claims.n_decoded_bytes <= claims.n_needed_bytes
    assert claims.excess(decoder_bytes(model, n_nodes)) == ""


def array(*shape: int) -> Value:
    return Value(FLOAT, shape)


def sizes(*numbers: int) -> Value:
    return Value(INT64, (len(numbers),), numbers)


KNOWN: dict[str, tuple[str, list[Value], dict[str, object], list[tuple[int, ...]]]] = {
    "sum": ("Add", [array(2, 1, 3), array(4, 1)], {}, [(2, 4, 3)]),
    "product": ("MatMul", [array(5, 2, 3), array(3, 4)], {}, [(5, 2, 4)]),
    "vector by matrix": ("MatMul", [array(3), array(3, 4)], {}, [(4,)]),
    "matrix by vector": ("MatMul", [array(2, 3), array(3)], {}, [(2,)]),
    "vector by vector": ("MatMul", [array(3), array(3)], {}, [()]),
    "row": ("Gather", [array(5, 7), array(2, 3)], {"axis": 1}, [(5, 2, 3)]),
    "rest of a shape": ("Reshape", [array(2, 3, 4), sizes(0, -1)], {}, [(2, 12)]),
    "nothing reshaped": ("Reshape", [array(0, 3), sizes(0, 5)], {}, [(0, 5)]),
    "cut": ("Slice", [array(9, 5), sizes(1), sizes(99), sizes(1)], {}, [(9, 4)]),
    "cut from the end": ("Slice", [array(9), sizes(-3), sizes(9)], {}, [(3,)]),
    "parts": ("Split", [array(5, 2), sizes(2, 3)], {"axis": 0}, [(2, 2), (3, 2)]),
    "older parts": ("Split", [array(2, 5)], {"axis": -1, "split": [4, 1]}, [(2, 4), (2, 1)]),
    "joined": ("Concat", [array(1, 2), array(3, 2)], {"axis": 0}, [(4, 2)]),
    "turned": ("Transpose", [array(2, 3, 4)], {"perm": [2, 0, 1]}, [(4, 2, 3)]),
    "spread": ("Expand", [array(3, 1), sizes(2, 1, 4)], {}, [(2, 3, 4)]),
    "scattered": ("ScatterElements", [array(9), array(3), array(3)], {}, [(9,)]),
    "rounded": ("QuantizeLinear", [array(2, 3), array(), Value(INT8, ())], {}, [(2, 3)]),
    "rounded by rows": (
        "QuantizeLinear",
        [array(2, 3), array(2), Value(INT8, (2,))],
        {"axis": 0},
        [(2, 3)],
    ),
    "rounded by columns": ("QuantizeLinear", [array(2, 3), array(3), Value(INT8, (3,))], {}, [(2, 3)]),
    "summed up": ("CumSum", [array(9), Value(6, ())], {"exclusive": 1}, [(9,)]),
}


def node_of(op: str, n_inputs: int, n_outputs: int, attributes: dict[str, object]) -> onnx.NodeProto:
    names = [f"i{i}" for i in range(n_inputs)], [f"o{i}" for i in range(n_outputs)]
    return helper.make_node(op, *names, **attributes)


@pytest.mark.parametrize("kind", KNOWN)
def test_rules_are_those_of_onnx(kind: str) -> None:
    op, inputs, attributes, shapes = KNOWN[kind]
    node = node_of(op, len(inputs), len(shapes), attributes)
    assert [value.shape for value in outputs_of(node, inputs)] == shapes
    known = [
        numpy_helper.from_array(np.array(value.numbers, np.int64), f"i{i}")
        for i, value in enumerate(inputs)
        if value.numbers is not None
    ]
    free = [
        helper.make_tensor_value_info(f"i{i}", value.data_type, value.shape)
        for i, value in enumerate(inputs)
        if value.numbers is None
    ]
    values = zip(node.output, outputs_of(node, inputs), strict=True)
    made = [helper.make_tensor_value_info(name, value.data_type, None) for name, value in values]
    opset = 11 if "split" in attributes else 17
    model = helper.make_model(
        helper.make_graph([node], "g", free, made, known), opset_imports=[helper.make_opsetid("", opset)]
    )
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
    assert [tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in inferred] == shapes


FOREIGN: dict[str, tuple[str, list[Value], dict[str, object]]] = {
    "shapes that do not join": ("Add", [array(2), array(3)], {}),
    "types that do not": ("Mul", [array(2), sizes(1, 2)], {}),
    "too few": ("Add", [array(2)], {}),
    "too many": ("Cast", [array(2), array(2)], {"to": 1}),
    "no product": ("MatMul", [array(2, 3), array(2, 3)], {}),
    "scalars multiplied": ("MatMul", [array(), array(2)], {}),
    "more than there is": ("Reshape", [array(2, 3), sizes(7)], {}),
    "two rests": ("Reshape", [array(2, 3), sizes(-1, -1)], {}),
    "a computed shape": ("Expand", [array(1), Value(INT64, (1,))], {}),
    "no such axis": ("Gather", [array(2), array(1)], {"axis": 1}),
    "no such axis to cut": ("Slice", [array(2), sizes(0), sizes(1), sizes(3)], {}),
    "steps": ("Slice", [array(9), sizes(0), sizes(9), sizes(0), sizes(2)], {}),
    "an axis twice": ("Transpose", [array(2, 3)], {"perm": [0, 0]}),
    "a number for a list": ("Transpose", [array(2, 3)], {"perm": 0}),
    "parts of another sum": ("Split", [array(5), sizes(2, 2)], {}),
    "negative parts": ("Split", [array(1), sizes(2, -1)], {}),
    "unequal sides": ("Concat", [array(1, 2), array(1, 3)], {"axis": 0}),
    "unequal scatter": ("ScatterElements", [array(9), array(3), array(2)], {}),
    "too many axes": ("Expand", [array(1), sizes(*[1] * 17)], {}),
    "steps for no axis": ("QuantizeLinear", [array(2, 3), array(4), Value(INT8, (4,))], {}),
    "steps of no such axis": ("QuantizeLinear", [array(2), array(2), Value(INT8, (2,))], {}),
    "unequal steps": ("QuantizeLinear", [array(2, 3), array(3), Value(INT8, ())], {}),
    "rounded to wide integers": ("QuantizeLinear", [array(2, 3), array(), Value(5, ())], {}),
    "an operator of no decoder": ("Tile", [array(1), sizes(2)], {}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_does_not_fit_is_refused(kind: str) -> None:
    op, inputs, attributes = FOREIGN[kind]
    with pytest.raises(ForeignError):
        outputs_of(node_of(op, len(inputs), 2 if op == "Split" else 1, attributes), inputs)


def test_a_decoder_reads_what_is_there() -> None:
    node = helper.make_node("Identity", ["x"], ["w"])
    values = [helper.make_tensor_value_info(name, FLOAT, [1]) for name in ("x", "w")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(ModelError, match="'x', which is neither stored nor made before"):
        claims_of(read_model(model), 1)


@pytest.mark.parametrize(
    ("claims", "finding"),
    [
        (Claims({"w": array(1 << 28)}, ("w",), 10, 1 << 30, 1), "makes 1,073,741,824 bytes of 100"),
        (Claims({"w": array(10)}, ("w",), 10, 1 << 30, 1), "needs 1,073,741,824 bytes to make 40"),
        (
            Claims({"w": array(10)}, ("w",), 10, 40, 1 << 40),
            "1,099,511,627,776 operations for 100 bytes",
        ),
        (Claims({"w": array(1 << 25)}, ("w",), 10, 1 << 27, 1 << 25), ""),
    ],
)
def test_what_is_out_of_proportion_is_named(claims: Claims, finding: str) -> None:
    assert finding in claims.excess(100)
    assert bool(claims.excess(100)) == bool(finding)
