"""Passes by Reshapes that change nothing in the end.

Passes and coder each give their values the shape that the next reader expects, so that Reshapes meet. A
node costs about 40 bytes of file and its output 4 bytes a weight of load memory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_graphsurgeon as gs


def pass_by_needless_reshapes(nodes: Sequence[gs.Node], outputs: Sequence[gs.Tensor]) -> None:
    """Let nodes read what lies before needless Reshapes, which then nothing may need any more.

    A Reshape of a Reshape reads the first one's input. So does a multiplication by a single number, or
    of rows by a matrix, that only another Reshape reads.

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
        elif product is not None and product.op == "MatMul":
            _pass_by_rows(product, kept)
        node.inputs[0] = _behind_reshapes(node.inputs[0])
        _pass_by(node)


def _pass_by_rows(product: gs.Node, kept: Collection[int]) -> None:
    """Let a MatMul that only a Reshape reads take rows as they lie before a Reshape of its own."""
    (made,) = product.outputs
    left, right = product.inputs
    source = _behind_reshapes(left)
    is_only = len(made.outputs) == 1 and id(made) not in kept
    is_same = source is not left and len(right.shape) == 2 and source.shape[-1] == left.shape[-1]
    if is_only and is_same:
        product.inputs[0] = source
        made.shape = (*source.shape[:-1], right.shape[-1])


def _pass_by(node: gs.Node) -> None:
    """Let readers of a Reshape to the same shape read its input.

    One behind a Cast or a Transpose is there for the runtimes that would merge those into what follows.
    """
    (source, *_), (made,) = node.inputs, node.outputs
    maker = next(iter(source.inputs), None)
    is_needed = (
        maker is None or maker.op in ("Cast", "Transpose") or tuple(source.shape) != tuple(made.shape)
    )
    if not is_needed:
        for reader in list(made.outputs):
            for i, read in enumerate(reader.inputs):
                if read is made:
                    reader.inputs[i] = source


def _behind_reshapes(tensor: gs.Tensor) -> gs.Tensor:
    while tensor.inputs and tensor.inputs[0].op == "Reshape":
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def _is_scaling(node: gs.Node) -> bool:
    """Whether a node multiplies its first input by one number."""
    return node.op == "Mul" and tuple(node.inputs[1].shape or ()) == (1,)
