"""Inputs and outputs of a graph, and how data for its inputs are passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from onnxzip.report.record import Port
from onnxzip.report.tables.table import Table


def port_table(ports: Sequence[Port], kind: Literal["input", "output"]) -> Table:
    """Return one row per input or output: its name, type and shape."""
    rows = tuple((port.name, port.dtype, _shape(port)) for port in ports)
    return Table((kind, "type", "shape"), rows, frozenset({kind, "type", "shape"}), kind)


def data_hint(inputs: Sequence[Port]) -> str:
    """Return how data for these inputs are passed; "" where there are none."""
    if not inputs:
        return ""
    is_alone = len(inputs) == 1
    what = (
        f".npy, or .npz with an array {inputs[0].name!r}"
        if is_alone
        else ".npz, an array for each input"
    )
    return f"data for -c: {what}; first axis = samples"


def _shape(port: Port) -> str:
    """Return e.g. "batch x 3 x 8 x 8"; "any" for an unknown rank, "-" for what is no dense tensor."""
    if port.shape is not None:
        return " x ".join(map(str, port.shape)) or "scalar"
    return "-" if "(" in port.dtype else "any"
