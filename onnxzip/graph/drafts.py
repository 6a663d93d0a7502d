"""Decode nodes before they are written, and the peephole that makes them fewer.

Passes and coder each give their values the shape the next reader expects, so that Reshapes meet. A
node costs about 40 bytes of file and its output 4 bytes a weight of load memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.types import AttributeValue


@dataclass
class Draft:
    """A node being built; `shapes`/`dtype` are None for nodes that run at inference."""

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, AttributeValue]
    shapes: list[tuple[int, ...]] | None = None
    dtype: np.dtype[np.generic] | None = None


def simplify(
    drafts: Sequence[Draft], kept: Collection[str], constant_shapes: Mapping[str, tuple[int, ...]]
) -> list[Draft]:
    """Return the drafts without needless Reshapes; changes them in place.

    A Reshape of a Reshape reads the first one's input. A Reshape before a multiplication by a single
    number, with another Reshape behind it, is left out. What nobody reads any more is dropped.

    Args:
        drafts: decode nodes in topological order, names final.
        kept: values that others read.
        constant_shapes: shapes of the initializers they read.
    """
    makers = {name: draft for draft in drafts for name in draft.outputs}
    shapes = dict(constant_shapes)
    for draft in drafts:
        shapes.update(zip(draft.outputs, draft.shapes or [], strict=False))
    uses = Counter(name for draft in drafts for name in draft.inputs) + Counter(kept)
    for draft in drafts:
        if draft.op_type != "Reshape":
            continue
        product = makers.get(draft.inputs[0])
        if product is not None and _is_scaling(product, shapes) and uses[product.outputs[0]] == 1:
            source = _behind_reshapes(product.inputs[0], makers)
            product.inputs[0] = source
            product.shapes = [shapes[source]]
        draft.inputs[0] = _behind_reshapes(draft.inputs[0], makers)
    return _alive(drafts, kept)


def _behind_reshapes(name: str, makers: Mapping[str, Draft]) -> str:
    maker = makers.get(name)
    while maker is not None and maker.op_type == "Reshape":
        name = maker.inputs[0]
        maker = makers.get(name)
    return name


def _is_scaling(draft: Draft, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a node multiplies its first input by one number."""
    return draft.op_type == "Mul" and shapes.get(draft.inputs[1]) == (1,)


def _alive(drafts: Sequence[Draft], kept: Collection[str]) -> list[Draft]:
    read = set(kept)
    alive: list[Draft] = []
    for draft in reversed(drafts):
        if any(name in read for name in draft.outputs):
            alive.append(draft)
            read.update(draft.inputs)
    return alive[::-1]
