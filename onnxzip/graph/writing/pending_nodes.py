"""Decode nodes before they are written, and the peephole that makes them fewer.

Passes and coder each give their values the shape the next reader expects, so that Reshapes meet. A
node costs about 40 bytes of file and its output 4 bytes a weight of load memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.records.aliases import AttributeValue


@dataclass
class PendingNode:
    """A node being built; `shapes`/`dtype` are None for nodes that run at inference."""

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, AttributeValue]
    shapes: list[tuple[int, ...]] | None = None
    dtype: np.dtype[np.generic] | None = None


def drop_needless_reshapes(
    pending: Sequence[PendingNode], kept: Collection[str], constant_shapes: Mapping[str, tuple[int, ...]]
) -> list[PendingNode]:
    """Return the pending without needless Reshapes; changes them in place.

    A Reshape of a Reshape reads the first one's input. A Reshape before a multiplication by a single
    number, with another Reshape behind it, is left out. What nobody reads any more is dropped.

    Args:
        pending: decode nodes in topological order, names final.
        kept: values that others read.
        constant_shapes: shapes of the initializers they read.
    """
    makers = {name: node for node in pending for name in node.outputs}
    shapes = dict(constant_shapes)
    for node in pending:
        shapes.update(zip(node.outputs, node.shapes or [], strict=False))
    uses = Counter(name for node in pending for name in node.inputs) + Counter(kept)
    for node in pending:
        if node.op_type != "Reshape":
            continue
        product = makers.get(node.inputs[0])
        if product is not None and _is_scaling(product, shapes) and uses[product.outputs[0]] == 1:
            source = _behind_reshapes(product.inputs[0], makers)
            product.inputs[0] = source
            product.shapes = [shapes[source]]
        node.inputs[0] = _behind_reshapes(node.inputs[0], makers)
    return _alive(pending, kept)


def _behind_reshapes(name: str, makers: Mapping[str, PendingNode]) -> str:
    maker = makers.get(name)
    while maker is not None and maker.op_type == "Reshape":
        name = maker.inputs[0]
        maker = makers.get(name)
    return name


def _is_scaling(node: PendingNode, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a node multiplies its first input by one number."""
    return node.op_type == "Mul" and shapes.get(node.inputs[1]) == (1,)


def _alive(pending: Sequence[PendingNode], kept: Collection[str]) -> list[PendingNode]:
    read = set(kept)
    alive: list[PendingNode] = []
    for node in reversed(pending):
        if any(name in read for name in node.outputs):
            alive.append(node)
            read.update(node.inputs)
    return alive[::-1]
