"""Ids are followed from the tables they index back to the inputs, by every way there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from onnxzip.graph import index_ranges, part_ranges, read_model
from tests.cases import CASES
from tests.graph.running import run

N, WIDTH = 40, 3
"""Rows and columns of the table, unless a way says otherwise."""

TABLE = np.arange(N * WIDTH, dtype=np.float32).reshape(N, WIDTH)
INT64, FLOAT = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
MICROSOFT = "com.microsoft"


def node(op_type: str, inputs: str, outputs: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """Make a node; names are separated by blanks, and "-" stands for one left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), domain=domain, **attributes)


def value(name: str, shape: Sequence[Any] | None = None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def body(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    **constants: Any,
) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    return helper.make_graph(nodes, "body", inputs, outputs, tensors)


@dataclass(frozen=True)
class Way:
    """A graph from the input "ids" (4 of them) to the output "y", and the ids that are legal.

    Attributes:
        nodes: of the graph, with "table" for the table.
        ids: what is legal.
        constants: initializers over {"table": TABLE}.
        fails_beyond: whether a run fails just outside of the ids, at their high and their low end.
    """

    nodes: Sequence[onnx.NodeProto]
    ids: range
    constants: Mapping[str, Any] = field(default_factory=dict)
    dtype: int = INT64
    shape: tuple[int, ...] = (4,)
    fails_beyond: tuple[bool, bool] = (True, False)
    functions: Sequence[onnx.FunctionProto] = ()
    opset: int = 17

    def model(self) -> onnx.ModelProto:
        constants = {"table": TABLE, **self.constants}
        tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
        inputs = [value("ids", self.shape, self.dtype)]
        graph = helper.make_graph(self.nodes, "way", inputs, [value("y")], tensors)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("local", 1)]
        opsets += [helper.make_opsetid(MICROSOFT, 1), helper.make_opsetid("ai.onnx.ml", 3)]
        return helper.make_model(graph, opset_imports=opsets, functions=self.functions, ir_version=8)


def read(index: str, table: str = "table", **attributes: Any) -> onnx.NodeProto:
    return node("Gather", f"{table} {index}", "y", **attributes)


def moved(op_type: str, more: str = "", **attributes: Any) -> list[onnx.NodeProto]:
    """Return the nodes that look up the ids that an operator gives."""
    return [node(op_type, f"ids {more}", "index", **attributes), read("index")]


def through_table(op_type: str, more: str = "", **attributes: Any) -> list[onnx.NodeProto]:
    """Return the nodes that look ids up in what an operator makes of a table."""
    return [node(op_type, f"table {more}", "rows", **attributes), read("ids", "rows")]


ALL = range(N)

CARRIED = {
    "plain": Way([read("ids")], ALL),
    "int32": Way([read("ids")], ALL, dtype=onnx.TensorProto.INT32),
    "axis 1": Way([read("ids", axis=1)], range(WIDTH)),
    "negative axis": Way([read("ids", axis=-1)], range(WIDTH)),
    "Cast": Way(moved("Cast", to=onnx.TensorProto.INT32), ALL),
    "Cast of floats": Way(moved("Cast", to=INT64), ALL, dtype=FLOAT),
    "Identity": Way(moved("Identity"), ALL),
    "Reshape": Way(moved("Reshape", "shape"), ALL, {"shape": np.array([2, 2])}),
    "Unsqueeze": Way(moved("Unsqueeze", "axes"), ALL, {"axes": np.array([1])}),
    "Squeeze": Way(moved("Squeeze", "axes"), ALL, {"axes": np.array([0])}, shape=(1, 4)),
    "Transpose": Way(moved("Transpose", perm=[1, 0]), ALL, shape=(2, 2)),
    "Flatten": Way(moved("Flatten", axis=0), ALL, shape=(2, 2)),
    "Expand": Way(moved("Expand", "shape"), ALL, {"shape": np.array([2, 4])}),
    "Tile": Way(moved("Tile", "times"), ALL, {"times": np.array([3])}),
    "Slice": Way(moved("Slice", "zero end"), ALL, {"zero": np.array([0]), "end": np.array([3])}),
    "Split": Way([node("Split", "ids", "a b"), read("b")], ALL),
    "Gather": Way(moved("Gather", "last"), ALL, {"last": np.array([-1])}),
    "GatherElements": Way(moved("GatherElements", "last"), ALL, {"last": np.array([3])}),
    "GatherND": Way(moved("GatherND", "last"), ALL, {"last": np.array([[3]])}),
    "Pad": Way(moved("Pad", "pads"), ALL, {"pads": np.array([1, 0])}),
    "Concat": Way(moved("Concat", "start", axis=0), ALL, {"start": np.array([1])}),
    "Where": Way(
        [node("Equal", "ids pad", "is_pad"), node("Where", "is_pad zero ids", "index"), read("index")],
        ALL,
        {"pad": np.array(-1), "zero": np.array(0)},
    ),
    "ScatterElements": Way(
        moved("ScatterElements", "first one"), ALL, {"first": np.array([0]), "one": np.array([1])}
    ),
    "ReduceMax": Way(moved("ReduceMax"), ALL),
    "TopK": Way([node("TopK", "ids two", "index place"), read("index")], ALL, {"two": np.array([2])}),
    "sequence": Way(
        [
            node("SplitToSequence", "ids", "parts"),
            node("SequenceAt", "parts zero", "index"),
            read("index"),
        ],
        ALL,
        {"zero": np.array(0)},
    ),
}

SHIFTED = {
    "Add": Way(moved("Add", "two"), range(-2, N - 2), {"two": np.array(2)}),
    "Add of a Constant node": Way(
        [node("Constant", "", "two", value_int=2), *moved("Add", "two")], range(-2, N - 2)
    ),
    "Add of several": Way(moved("Add", "some"), range(-1, N - 7), {"some": np.array([1, 7, 3, 2])}),
    "Add of a cast constant": Way(
        [node("Cast", "two", "as_int", to=INT64), *moved("Add", "as_int")],
        range(-2, N - 2),
        {"two": np.array(2, np.float32)},
    ),
    "Sub": Way(moved("Sub", "two"), range(2, N + 2), {"two": np.array(2)}),
    "constant - ids": Way(
        [node("Sub", "last ids", "index"), read("index")],
        range(N),
        {"last": np.array(N - 1)},
        fails_beyond=(False, True),
    ),
    "Neg": Way(
        [node("Neg", "ids", "index"), read("index")], range(1 - N, 1), fails_beyond=(False, True)
    ),
    "Sum": Way(
        [
            node("Cast", "ids", "f", to=FLOAT),
            node("Sum", "f a b", "g"),
            node("Cast", "g", "index", to=INT64),
            read("index"),
        ],
        range(-3, N - 3),
        {"a": np.float32(1), "b": np.float32(2)},
    ),
    "Mul": Way(moved("Mul", "three"), range(14), {"three": np.array(3)}),
    "Mul by less than 0": Way(
        moved("Mul", "three"), range(-13, 1), {"three": np.array(-3)}, fails_beyond=(False, True)
    ),
    "Div": Way(moved("Div", "three"), range(3 * N), {"three": np.array(3)}),
    "ids and a mask": Way(
        [
            node("Greater", "ids five", "c"),
            node("Cast", "c", "mask", to=INT64),
            node("Mul", "ids mask", "index"),
            read("index"),
        ],
        ALL,
        {"five": np.array(5)},
    ),
    "two shifts": Way(
        [node("Add", "ids two", "a"), node("Sub", "a five", "index"), read("index")],
        range(3, N + 3),
        {"two": np.array(2), "five": np.array(5)},
    ),
}

LIMITED = {
    "Clip": Way(
        moved("Clip", "low high"),
        range(2, 9),
        {"low": np.array(2), "high": np.array(8)},
        fails_beyond=(False, False),
    ),
    "Clip beyond the table": Way(moved("Clip", "low"), range(2, N), {"low": np.array(2)}),
    "old Clip": Way(
        [
            node("Clip", "ids", "c", min=2.0, max=8.0),
            node("Cast", "c", "index", to=INT64),
            read("index"),
        ],
        range(2, 9),
        dtype=FLOAT,
        opset=10,
        fails_beyond=(False, False),
    ),
    "Min": Way(moved("Min", "eight"), range(9), {"eight": np.array(8)}, fails_beyond=(False, False)),
    "Max": Way(moved("Max", "eight"), range(8, N), {"eight": np.array(8)}),
    "Mod": Way(moved("Mod", "ten"), range(10), {"ten": np.array(10)}, fails_beyond=(False, False)),
    "Mod beyond the table": Way(moved("Mod", "ten"), range(N), {"ten": np.array(1000)}),
    "BitwiseAnd": Way(
        moved("BitwiseAnd", "bits"),
        range(16),
        {"bits": np.array(15)},
        opset=18,
        fails_beyond=(False, False),
    ),
    "OneHot": Way(
        [node("OneHot", "ids depth values", "y")],
        range(7),
        {"depth": np.array(7), "values": np.array([0, 1], np.float32)},
        fails_beyond=(False, False),
    ),
    "Equal": Way(
        [
            node("Unsqueeze", "ids axes", "column"),
            node("Equal", "column all", "hot"),
            node("Cast", "hot", "y", to=1),
        ],
        range(7),
        {"axes": np.array([1]), "all": np.arange(7)},
        fails_beyond=(False, False),
    ),
    "LabelEncoder": Way(
        [
            node(
                "LabelEncoder",
                "ids",
                "y",
                "ai.onnx.ml",
                keys_int64s=[3, 9, 5],
                values_floats=[1.0, 2.0, 3.0],
            )
        ],
        range(3, 10),
        fails_beyond=(False, False),
    ),
    "Clip within a table that a plain Gather reads": Way(
        [*moved("Clip", "low high"), node("Gather", "table ids", "more")],
        range(2, 9),
        {"low": np.array(2), "high": np.array(8)},
        fails_beyond=(False, False),
    ),
    "Range": Way(
        [node("Squeeze", "ids", "n"), node("Range", "zero n one", "index"), read("index")],
        range(1, N + 1),
        {"zero": np.array(0), "one": np.array(1)},
        shape=(1,),
    ),
}

QUANTISED = {"table": np.zeros((N, WIDTH), np.int8), "step": np.float32(0.5), "zero": np.int8(0)}

TABLES = {
    "Cast": Way(through_table("Cast", to=FLOAT), ALL, {"table": TABLE.astype(np.float16)}),
    "Identity": Way(through_table("Identity"), ALL),
    "Transpose": Way(through_table("Transpose", perm=[1, 0]), range(WIDTH)),
    "Reshape": Way(through_table("Reshape", "shape"), range(N * WIDTH), {"shape": np.array([-1])}),
    "Mul": Way(through_table("Mul", "step"), ALL, {"step": np.float32(3)}),
    "DequantizeLinear": Way(through_table("DequantizeLinear", "step zero"), ALL, QUANTISED),
    "DequantizeLinear of onnxruntime": Way(
        through_table("DequantizeLinear", "step zero", domain=MICROSOFT), ALL, QUANTISED
    ),
    "Constant": Way(
        [node("Constant", "", "rows", value=numpy_helper.from_array(TABLE)), read("ids", "rows")], ALL
    ),
    "ConstantOfShape": Way(
        [node("ConstantOfShape", "shape", "rows"), read("ids", "rows")],
        range(9),
        {"shape": np.array([9, 2])},
    ),
    "a smaller one": Way(
        [node("Gather", "table ids", "a"), node("Gather", "small ids", "b"), node("Add", "a b", "y")],
        range(9),
        {"small": TABLE[:9]},
    ),
    "shifted and plain": Way(
        [
            node("Add", "ids two", "c"),
            node("Gather", "table c", "a"),
            node("Gather", "small ids", "b"),
            node("Add", "a b", "y"),
        ],
        range(20),
        {"small": TABLE[:20], "two": np.array(2)},
    ),
    "a computed value of a fixed shape": Way(
        [node("Cast", "ids", "f", to=FLOAT), read("ids", "f")], range(4)
    ),
}

LOOKUPS = {
    "GatherElements": Way(
        [node("GatherElements", "table ids", "y", axis=1)], range(WIDTH), shape=(2, 2)
    ),
    "GatherND": Way([node("GatherND", "table ids", "y")], ALL, shape=(4, 1)),
    "GatherND of pairs": Way([node("GatherND", "table ids", "y")], range(WIDTH), shape=(4, 2)),
    "GatherND behind Concat": Way(
        [node("Concat", "ids column", "pairs", axis=1), node("GatherND", "table pairs", "y")],
        ALL,
        {"column": np.ones((4, 1), np.int64)},
        shape=(4, 1),
    ),
    "GatherND in batches": Way(
        [node("GatherND", "stack ids", "y", batch_dims=1)],
        range(5),
        {"stack": np.zeros((4, 5, 3), np.float32)},
        shape=(4, 1),
    ),
    "ScatterElements": Way(
        [node("ScatterElements", "row ids ones", "y")],
        range(N),
        {"row": np.zeros(N, np.float32), "ones": np.ones(4, np.float32)},
    ),
    "ScatterND": Way(
        [node("ScatterND", "row ids ones", "y")],
        range(N),
        {"row": np.zeros(N, np.float32), "ones": np.ones(4, np.float32)},
        shape=(4, 1),
    ),
    "ArrayFeatureExtractor": Way(
        [node("ArrayFeatureExtractor", "table ids", "y", "ai.onnx.ml")], range(WIDTH)
    ),
    "EmbedLayerNormalization": Way(
        [node("EmbedLayerNormalization", "ids - table places - ones zeros", "y m", MICROSOFT)],
        ALL,
        {"places": TABLE[:9], "ones": np.ones(WIDTH, np.float32), "zeros": np.zeros(WIDTH, np.float32)},
        shape=(2, 4),
        dtype=onnx.TensorProto.INT32,
    ),
    "EmbedLayerNormalization's segments": Way(
        [node("EmbedLayerNormalization", "words ids table places pair ones zeros", "y m", MICROSOFT)],
        range(2),
        {
            "words": np.zeros((2, 4), np.int32),
            "places": TABLE[:9],
            "pair": TABLE[:2],
            "ones": np.ones(WIDTH, np.float32),
            "zeros": np.zeros(WIDTH, np.float32),
        },
        shape=(2, 4),
        dtype=onnx.TensorProto.INT32,
    ),
    "EmbedLayerNormalization's positions": Way(
        [node("EmbedLayerNormalization", "words - table places - ones zeros - ids", "y m", MICROSOFT)],
        range(9),
        {
            "words": np.zeros((2, 4), np.int32),
            "places": TABLE[:9],
            "ones": np.ones(WIDTH, np.float32),
            "zeros": np.zeros(WIDTH, np.float32),
        },
        shape=(2, 4),
        dtype=onnx.TensorProto.INT32,
    ),
    "GatherBlockQuantized": Way(
        [
            node(
                "GatherBlockQuantized",
                "packed ids steps",
                "y",
                MICROSOFT,
                bits=8,
                block_size=16,
                gather_axis=0,
                quantize_axis=1,
            )
        ],
        range(24),
        {"packed": np.zeros((24, 32), np.uint8), "steps": np.ones((24, 2), np.float32)},
        fails_beyond=(False, False),  # onnxruntime reads on
    ),
    "RotaryEmbedding": Way(
        [node("RotaryEmbedding", "x ids turns turns", "y", MICROSOFT)],
        range(16),
        {"x": np.ones((1, 1, 4, 8), np.float32), "turns": np.ones((16, 4), np.float32)},
        shape=(1, 4),
    ),
    "RotaryEmbedding of ONNX": Way(
        [node("RotaryEmbedding", "x turns turns ids", "y")],
        range(16),
        {"x": np.ones((1, 1, 4, 8), np.float32), "turns": np.ones((16, 4), np.float32)},
        shape=(1, 4),
        opset=23,
    ),
    "row and column": Way(
        [
            *(node("Split", "ids", "row column", axis=0), node("Mul", "row ten", "start")),
            *(node("Add", "start column", "index"), read("index")),
        ],
        range(4),
        {"ten": np.array(10)},
    ),
    "two positions": Way(
        [
            *(node("Split", "ids", "a b", axis=0), node("Sub", "a b", "difference")),
            *(node("Add", "difference most", "index"), read("index")),
        ],
        range(N // 2),
        {"most": np.array(N // 2)},
        fails_beyond=(False, False),  # their difference is 0
    ),
}


def branch(*nodes: onnx.NodeProto, dtype: int = FLOAT, **constants: Any) -> onnx.GraphProto:
    return body(nodes, [], [value("inner", None, dtype)], **constants)


COUNT = value("count", [], INT64)
GO, STILL = value("go", [], onnx.TensorProto.BOOL), value("still", [], onnx.TensorProto.BOOL)
TURNS = {"turns": np.array(2), "yes": np.array(True)}
KEEP_ON = node("Identity", "go", "still")


def loop(inputs: str, outputs: str, graph: onnx.GraphProto) -> onnx.NodeProto:
    return node("Loop", inputs, outputs, body=graph)


def function(name: str, inputs: str, output: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, inputs.split(), [output], nodes, opsets)


NESTED = {
    "If": Way(
        [
            node(
                "If",
                "yes",
                "y",
                then_branch=branch(
                    node("Cast", "table", "rows", to=onnx.TensorProto.FLOAT16),
                    node("Add", "ids two", "index"),
                    node("Gather", "rows index", "g"),
                    node("Cast", "g", "inner", to=FLOAT),
                    two=np.array(2),
                ),
                else_branch=branch(node("Gather", "table ids", "inner")),
            )
        ],
        range(N - 2),
        TURNS,
    ),
    "ids that an If gives": Way(
        [
            node(
                "If",
                "yes",
                "index",
                then_branch=branch(node("Add", "ids two", "inner"), dtype=INT64, two=np.array(2)),
                else_branch=branch(node("Identity", "ids", "inner"), dtype=INT64),
            ),
            read("index"),
        ],
        range(N - 2),
        TURNS,
    ),
    "Loop, by name": Way(
        [
            loop(
                "turns yes",
                "y",
                body([KEEP_ON, node("Gather", "table ids", "g")], [COUNT, GO], [STILL, value("g")]),
            )
        ],
        ALL,
        TURNS,
    ),
    "Loop, carried": Way(
        [
            loop(
                "turns yes ids",
                "last y",
                body(
                    [KEEP_ON, node("Gather", "table now", "g"), node("Add", "now two", "next")],
                    [COUNT, GO, value("now", [4], INT64)],
                    [STILL, value("next", [4], INT64), value("g")],
                    two=np.array(0),
                ),
            )
        ],
        ALL,
        TURNS,
    ),
    "Loop, given back": Way(
        [
            loop(
                "turns yes",
                "index",
                body(
                    [KEEP_ON, node("Identity", "ids", "g")], [COUNT, GO], [STILL, value("g", [4], INT64)]
                ),
            ),
            read("index"),
        ],
        ALL,
        TURNS,
    ),
    "Loop, a counter": Way(
        [
            loop(
                "ids yes",
                "y",
                body([KEEP_ON, node("Gather", "table count", "g")], [COUNT, GO], [STILL, value("g")]),
            )
        ],
        range(1, N + 1),
        TURNS,
        shape=(),
    ),
    "Scan, an element": Way(
        [
            node(
                "Scan",
                "state ids",
                "last y",
                num_scan_inputs=1,
                body=body(
                    [node("Gather", "table id", "g"), node("Identity", "before", "after")],
                    [value("before", [1]), value("id", [], INT64)],
                    [value("after", [1]), value("g", [WIDTH])],
                ),
            )
        ],
        ALL,
        {"state": np.ones(1, np.float32)},
    ),
    "Scan, a state": Way(
        [
            node(
                "Scan",
                "ids steps",
                "index y2",
                num_scan_inputs=1,
                body=body(
                    [node("Gather", "table before", "g"), node("Identity", "before", "after")],
                    [value("before", [4], INT64), value("step", [])],
                    [value("after", [4], INT64), value("g", [4, WIDTH])],
                ),
            ),
            node("Gather", "small index", "y"),
        ],
        range(9),
        {"steps": np.ones(2, np.float32), "small": TABLE[:9]},
    ),
    "function": Way(
        [node("Embed", "table ids", "y", "local")],
        range(-2, N - 2),
        functions=[
            function(
                "Embed",
                "t i",
                "o",
                node("Constant", "", "two", value_int=2),
                node("Add", "i two", "j"),
                node("Inner", "t j", "o", "local"),
            ),
            function("Inner", "t i", "o", node("Cast", "t", "c", to=FLOAT), node("Gather", "c i", "o")),
        ],
    ),
    "ids that a function gives": Way(
        [node("Shift", "ids", "index", "local"), read("index")],
        range(-2, N - 2),
        functions=[
            function(
                "Shift", "i", "o", node("Constant", "", "two", value_int=2), node("Add", "i two", "o")
            )
        ],
    ),
}

WAYS = {
    f"{kind}: {name}": way
    for kind, ways in (
        ("carried", CARRIED),
        ("shifted", SHIFTED),
        ("limited", LIMITED),
        ("tables", TABLES),
        ("lookups", LOOKUPS),
        ("nested", NESTED),
    )
    for name, way in ways.items()
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ids_are_followed(way: Way) -> None:
    assert index_ranges(read_model(way.model())) == {"ids": way.ids}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_onnxruntime_takes_these_ids_and_no_others(way: Way) -> None:
    proto, dtype = way.model(), helper.tensor_dtype_to_np_dtype(way.dtype)

    def try_all(number: int) -> None:
        run(proto, {"ids": np.full(way.shape, number, dtype)})

    try_all(way.ids[0])
    try_all(way.ids[-1])
    beyond = (way.ids[-1] + 1, way.ids[0] - 1 - N)  # a Gather counts back from its end, too
    for number, fails in zip(beyond, way.fails_beyond, strict=True):
        if fails:
            with pytest.raises(Exception, match=r"(?i)bound|range|invalid ind"):
                try_all(number)


UNRELATED = {
    "no table": [node("Cast", "ids", "y", to=FLOAT)],
    "a comparison": [node("Equal", "ids pad", "c"), node("Cast", "c", "index", to=INT64), read("index")],
    "positions of ids": [node("NonZero", "ids", "index"), read("index")],
    "a shape": [node("Shape", "ids", "index"), read("index")],
    "ids that are hashed": [node("Mul", "ids many", "h"), node("Mod", "h ten", "index"), read("index")],
    "a place among the largest": [node("TopK", "ids one", "most index"), read("index")],
}


@pytest.mark.parametrize("nodes", UNRELATED.values(), ids=UNRELATED)
def test_what_does_not_index_has_no_range(nodes: list[onnx.NodeProto]) -> None:
    constants = {
        "pad": np.array(1),
        "many": np.array(2654435761),
        "ten": np.array(10),
        "one": np.array([1]),
    }
    assert index_ranges(read_model(Way(nodes, ALL, constants).model())) == {}


FIELDS = {
    "Gather": [node("Gather", "ids zero", "a", axis=1), node("Gather", "ids last", "b", axis=1)],
    "Gather from the end": [
        node("Gather", "ids zero", "a", axis=-1),
        node("Gather", "ids last", "b", axis=-1),
    ],
    "Gather behind Cast": [
        node("Cast", "ids", "c", to=onnx.TensorProto.INT32),
        *(node("Gather", "c zero", "a", axis=1), node("Gather", "c last", "b", axis=1)),
    ],
    "Slice": [
        node("Slice", "ids none one axis", "a"),
        *(node("Slice", "ids one many axis", "column"), node("Squeeze", "column axis", "b")),
    ],
    "Split": [node("Split", "ids", "a b", axis=1)],
    "Split into sizes": [node("Split", "ids two_sizes", "a b", axis=1)],
    "Add": [node("Add", "ids starts", "both"), node("Split", "both", "c d", axis=1)],
}


@pytest.mark.parametrize("dtype", [INT64, FLOAT])
@pytest.mark.parametrize("nodes", FIELDS.values(), ids=FIELDS)
def test_columns_that_index_tables_of_their_own(nodes: list[onnx.NodeProto], dtype: int) -> None:
    constants = {"small": TABLE[:9], "zero": np.array(0), "last": np.array(-1), "none": np.array([0])}
    constants |= {"one": np.array([1]), "many": np.array([2**62]), "axis": np.array([1])}
    constants |= {"two_sizes": np.array([1, 1]), "starts": np.array([0, N - 9])}
    cast = [node("Cast", "given", "ids", to=INT64)]
    names = [name for name in ("a", "b") if any(name in n.output for n in nodes)]
    tables = dict(zip(names, ("table", "small"), strict=False)) or {"both": "table"}
    reads = [node("Gather", f"{table} {name}", f"y_{name}") for name, table in tables.items()]
    last = node("Identity", f"y_{next(iter(tables))}", "y")
    proto = Way([*cast, *nodes, *reads, last], ALL, constants).model()
    proto.graph.input[0].CopyFrom(value("given", [4, 2], dtype))
    model = read_model(proto)
    first, second = range(N), range(9 - N, 9) if "both" in tables else range(9)
    assert part_ranges(model) == {"given": {(1, 0): first, (1, 1): second}}
    assert index_ranges(model) == {"given": range(9)}
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    run(proto, {"given": np.array([[first[-1], second[-1]]] * 4, kind)})
    with pytest.raises(Exception, match="out of data bounds"):
        run(proto, {"given": np.array([[0, second[-1] + 1]] * 4, kind)})


def test_floats_beside_ids_have_no_range() -> None:
    nodes = [node("Gather", "ids one", "c", axis=1), node("Cast", "c", "index", to=INT64), read("index")]
    model = read_model(Way(nodes, ALL, {"one": np.array(1)}, dtype=FLOAT, shape=(4, 3)).model())
    assert index_ranges(model) == {}
    assert part_ranges(model) == {"ids": {(1, 1): ALL}}


def test_a_range_ends_where_the_type_does() -> None:
    rows = {"table": np.zeros((1000, 2), np.float32)}
    way = Way(moved("Cast", to=INT64), ALL, rows, dtype=onnx.TensorProto.UINT8)
    assert index_ranges(read_model(way.model())) == {"ids": range(256)}
    nodes = [node("Cast", "ids", "wide", to=INT64), node("Add", "wide two", "index"), read("index")]
    way = Way(nodes, ALL, {"two": np.array(2)}, dtype=onnx.TensorProto.UINT8)
    assert index_ranges(read_model(way.model())) == {"ids": range(N - 2)}


def test_contradicting_tables_leave_what_was_found_first() -> None:
    nodes = [node("Sub", "ids many", "a"), node("Gather", "table a", "b"), read("ids")]
    found = index_ranges(read_model(Way(nodes, ALL, {"many": np.array(1000)}).model()))
    assert found == {"ids": range(1000, 1000 + N)}


def test_the_ids_of_the_casebook_are_found() -> None:
    for case in CASES.values():
        if case.runnable:
            found = index_ranges(read_model(case.build()))
            limits = {name: n for name, n in case.bounds.items() if name != "lengths"}
            assert found == {name: range(n) for name, n in limits.items()}, case.name


def test_bools_and_sequences_have_no_range() -> None:
    way = Way(moved("Cast", to=INT64), ALL, dtype=onnx.TensorProto.BOOL)
    assert index_ranges(read_model(way.model())) == {}
    proto = Way(
        [node("SequenceAt", "ids zero", "index"), read("index")], ALL, {"zero": np.array(0)}
    ).model()
    proto.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("ids", INT64, [4]))
    assert index_ranges(read_model(proto)) == {}


DECODER = body([node("Gather", "table tokens", "y")], [value("tokens", None, INT64)], [value("y")])
NOT_RUN = {
    "GreedySearch": node("GreedySearch", "ids most", "y", MICROSOFT, decoder=DECODER),
    "QEmbedLayerNormalization": node("QEmbedLayerNormalization", "ids - table", "y", MICROSOFT),
    "WordConvEmbedding": node("WordConvEmbedding", "ids w b table", "y", MICROSOFT),
}


@pytest.mark.parametrize("reader", NOT_RUN.values(), ids=NOT_RUN)
def test_operators_of_onnxruntime_that_take_whole_models(reader: onnx.NodeProto) -> None:
    constants = {"most": np.array(9), "w": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)}
    assert index_ranges(read_model(Way([reader], ALL, constants).model())) == {"ids": ALL}


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["Add", "Sub"]), st.integers(-50, 50)),
            st.tuples(st.sampled_from(["Mul"]), st.sampled_from([-3, -1, 2, 5])),
            st.tuples(st.sampled_from(["Max", "Min"]), st.integers(-5, 45)),
            st.tuples(st.sampled_from(["Mod", "Div"]), st.integers(1, 60)),
            st.tuples(st.sampled_from(["Neg", "Abs"]), st.just(0)),
        ),
        max_size=4,
    ),
    st.integers(0, 2**31),
)
def test_ids_in_a_range_stay_inside_the_table(steps: list[tuple[str, int]], seed: int) -> None:
    """Whatever stands between: every id of the range reads a row of the table."""
    nodes, constants, last = [], {}, "ids"
    for number, (op_type, constant) in enumerate(steps):
        operand = "" if op_type in ("Neg", "Abs") else f"c{number}"
        nodes.append(node(op_type, f"{last} {operand}", f"v{number}"))
        last = f"v{number}"
        constants |= {operand: np.array(constant)} if operand else {}
    way = Way([*nodes, node("Identity", last, "index"), read("index")], ALL, constants)
    found = index_ranges(read_model(way.model())).get("ids")
    if found is not None:
        rng = np.random.default_rng(seed)
        ids = np.array([found[0], found[-1], *(found.start + rng.integers(0, len(found), 2))])
        assert run(way.model(), {"ids": ids})["y"].shape == (4, WIDTH)
