"""Passes by Reshapes that change nothing in the end.

Passes and coder each give their values the shape that the next reader expects, so that Reshapes meet. A
node costs about 40 bytes of file and its output 4 bytes a weight of load memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs


def pass_by_needless_reshapes(nodes: Sequence[gs.Node], outputs: Sequence[gs.Tensor]) -> None:
    """Let nodes read what lies before needless Reshapes, which then nothing may need any more.

    A Reshape of a Reshape reads the first one's input. So does a multiplication by a single number that
    only another Reshape reads.

    Args:
        nodes: decode nodes in topological order; their inputs are changed.
        outputs: values that others read.
    """
    kept = {id(tensor) for tensor in outputs}
    for node in nodes:
        if node.op != "Reshape":
            continue
        product = next(iter(node.inputs[0].inputs), None)
        if product is not None and _is_scaling(product):
            (scaled,) = product.outputs
            if len(scaled.outputs) == 1 and id(scaled) not in kept:
                source = _behind_reshapes(product.inputs[0])
                product.inputs[0] = source
                scaled.shape = source.shape
        node.inputs[0] = _behind_reshapes(node.inputs[0])


def _behind_reshapes(tensor: gs.Tensor) -> gs.Tensor:
    while tensor.inputs and tensor.inputs[0].op == "Reshape":
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def _is_scaling(node: gs.Node) -> bool:
    """Whether a node multiplies its first input by one number."""
    return node.op == "Mul" and tuple(node.inputs[1].shape or ()) == (1,)
