"""Parts nodes whose output is larger than their inputs: some runtimes refuse to fold those.

Codec and passes emit what is plain to read; a look-up of long codewords or a product of narrow matrices
then makes much of little. Here such nodes work on parts of their rows, which a Concat lays end to end.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from onnxzip.passbase import LARGEST_EXPANDED

_ROWS = {"Gather": 1, "MatMul": 0, "Cast": 0, "Mul": 0, "Add": 0}
"""By operator, the input whose first axis is that of the output."""


def part_sizes(node: gs.Node) -> tuple[int, list[int]]:
    """Return which input of a decode node has to be parted, and the rows of each part; one for none.

    A node that cannot be parted by rows stays whole.
    """
    index = _ROWS.get(node.op, -1)
    (made, *_) = node.outputs
    n_made, n_read = _n_bytes(made), sum(_n_bytes(tensor) for tensor in node.inputs)
    if index < 0 or not made.shape or n_made <= max(n_read, LARGEST_EXPANDED):
        return index, []
    rows = node.inputs[index].shape
    others = [tensor.shape for i, tensor in enumerate(node.inputs) if i != index]
    is_matrix = node.op == "MatMul" and all(len(shape) == 2 for shape in (rows, *others))
    is_look_up = node.op == "Gather" and node.attrs.get("axis", 0) == 0
    # what is broadcast to every row is read by every part
    is_broadcast = node.op in ("Cast", "Mul", "Add") and all(
        len(shape) < len(made.shape) or shape[0] == 1 for shape in others
    )
    has_rows = len(rows) > 0 and rows[0] == made.shape[0] > 1
    if not has_rows or not (is_matrix or is_look_up or is_broadcast):
        return index, []
    n_parts = min(-(-n_made // LARGEST_EXPANDED), rows[0])
    ends = np.linspace(0, rows[0], n_parts + 1).astype(int)
    return index, np.diff(ends).tolist()


def _n_bytes(tensor: gs.Tensor) -> int:
    return int(prod(tensor.shape) * np.dtype(tensor.dtype).itemsize)
