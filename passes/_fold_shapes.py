"""Sizes that a Reshape is told, computed from the shape of what it reshapes: it can take them itself.

Exporters write x.view(x.size(0), -1) as Reshape(x, Concat(Unsqueeze(Gather(Shape(x), 0)), [-1])). A 0 in
the list of sizes says the same: the size of x at that place (Reshape in ONNX's Operators.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxzip.passbase import Editor, NodeView

_ALLOWS_EMPTY = "allowzero"
"""An attribute of Reshape with which a 0 is a size."""


def copied_sizes(editor: Editor, producers: Mapping[str, NodeView], node: NodeView) -> list[int] | None:
    """Return the list of sizes that says what a Reshape's computed one does; None where there is none.

    Args:
        editor: the graph.
        producers: the nodes before this one, by output.
        node: any node.
    """
    if node.op_type != "Reshape" or len(node.inputs) != 2 or node.attributes.get(_ALLOWS_EMPTY, 0):
        return None
    joined = producers.get(node.inputs[1])
    if joined is None or joined.op_type != "Concat" or joined.domain:
        return None
    sizes: list[int] = []
    for part in joined.inputs:
        constant = editor.constant(part)
        if constant is not None and constant.dtype == np.int64 and constant.ndim == 1:
            sizes += constant.tolist()
        elif _is_size(editor, producers, part, node.inputs[0], len(sizes)):
            sizes.append(0)
        else:
            return None
    return sizes


def _is_size(
    editor: Editor, producers: Mapping[str, NodeView], value: str, source: str, place: int
) -> bool:
    """Whether a value is [the size of a source at a place]."""
    unsqueezed = producers.get(value)
    if unsqueezed is None or unsqueezed.op_type != "Unsqueeze" or unsqueezed.domain:
        return False
    picked = producers.get(unsqueezed.inputs[0])
    if picked is None or picked.op_type != "Gather" or picked.domain:
        return False
    shape, index = producers.get(picked.inputs[0]), editor.constant(picked.inputs[1])
    return (
        index is not None
        and index.ndim == 0
        and int(index) == place
        and shape is not None
        and shape.op_type == "Shape"
        and not shape.domain
        and shape.inputs[0] == source
        and not shape.attributes
    )
