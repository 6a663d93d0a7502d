"""Draws the decoder of one weight, from a file that onnxzip has just made, for how-it-works.md.

python -m tests.guide.figure        writes the figure into the page
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
from onnx import shape_inference

from tests.guide.pages_as_tests import ROOT

PAGE = ROOT / "onnxzip" / "guide" / "how-it-works.md"
BEGIN, END = "```text\n6.weight, as", "```\n"
MODEL, WEIGHT = "models/digits_cnn.onnx", "6.weight"
OPTIONS = ("-1", "--passes", "scalar", "--keep", "[!6]*")
"""Packed, so that the decoder is short; and of one weight only."""


def draw() -> str:
    """Return the figure: what is stored at the top, a line a node, the node of the model at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        command = [sys.executable, "-m", "onnxzip", "-q", *OPTIONS, str(ROOT / MODEL), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        model = shape_inference.infer_shapes(onnx.load(path))
    return Figure(model).of(WEIGHT)


class Figure:
    """The nodes that lead to a weight."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._nodes = {name: node for node in graph.node for name in node.output}
        self._reader = {name: node for node in graph.node for name in node.input}
        self._types = {
            value.name: _type(value.type.tensor_type.elem_type, _sizes(value.type.tensor_type.shape))
            for value in graph.value_info
        }
        self._stored = {
            tensor.name: _type(tensor.data_type, list(tensor.dims)) for tensor in graph.initializer
        }

    def of(self, weight: str) -> str:
        """Return the figure of a weight."""
        lines = [f"{weight}, as it is stored", *self._path(weight), "  |"]
        return "\n".join([*lines, f"{self._reader[weight].op_type} of the model"]) + "\n"

    def _path(self, name: str) -> list[str]:
        """Return the line of a value, below those of what it is made of."""
        if name in self._stored:
            return [self._stored[name]]
        node = self._nodes[name]
        main, aside = self._split(node)
        beside = "".join(f"  <--  {self._aside(other)}" for other in aside)
        return [*self._path(main), f"  |  {node.op_type}{beside}", self._types.get(name, name)]

    def _split(self, node: onnx.NodeProto) -> tuple[str, list[str]]:
        """Return the input with the payload, and the others but for shapes and bounds."""
        inputs = list(node.input)
        if node.op_type == "Gather":
            inputs.reverse()  # the table is looked up by the payload
        shapes = node.op_type in ("Reshape", "Slice")
        return inputs[0], [] if shapes else inputs[1:]

    def _aside(self, name: str) -> str:
        """Return what a value beside the path is made of, in a line: without its types on the way."""
        if name in self._stored:
            return self._stored[name]
        main, aside = self._split(self._nodes[name])
        beside = "".join(f" ({self._aside(other)})" for other in aside)
        return f"{self._aside(main)}, {self._nodes[name].op_type}{beside}"


def _sizes(shape: onnx.TensorShapeProto) -> list[int]:
    return [dim.dim_value for dim in shape.dim]


def _type(number: int, sizes: list[int]) -> str:
    name = onnx.TensorProto.DataType.Name(number).lower().replace("float", "float32")
    name = name.replace("float3216", "float16")
    return f"{name} {' x '.join(f'{size:,}' for size in sizes)}"


def replaced(text: str, figure: str) -> str:
    """Return the page with another figure."""
    start = text.index(BEGIN)
    end = text.index(END, start + len(BEGIN))
    return text[:start] + "```text\n" + figure + text[end:]


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text("utf-8"), draw()), "utf-8")
