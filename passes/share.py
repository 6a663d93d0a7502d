"""Stores once what a model holds twice: weights that are equal, or that follow exactly from another.

Exporters write tied weights as several tensors: an embedding and the head that is its transpose, the
layers of a network that repeats one, a copy in another precision. All but one of them become nodes that
make them of the one that is left, which a runtime folds when a session is created. What the graph
computes does not change by a bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxzip.passbase import Editor, GraphPass
from onnxzip.records.aliases import Array, AttributeValue
from onnxzip.records.plan import Rewrite, Skip

from ._relations import Relation, Traits, find_relation, traits_of

_ONNX_TYPES = {"float16": 10, "float32": 1}
"""TensorProto.DataType."""


@dataclass(frozen=True)
class Share(GraphPass):
    """Store weights once that are equal, transposed, scaled, or rounded to float16."""

    name: ClassVar[str] = "share"

    def rewrite(self, editor: Editor) -> Iterator[Rewrite | Skip]:
        """Let a weight follow from the first one that it can follow from; yield each change."""
        found = list(_related(editor.weights()))
        homes = editor.hoist(sorted({name for source, target, _ in found for name in (source, target)}))
        for source, target, relation in found:
            _derive(editor, homes[source], homes[target], relation)
            yield Rewrite(self.name, target, f"stored once: it is '{source}'{relation.suffix}")


def _related(weights: Mapping[str, Array]) -> Iterator[tuple[str, str, Relation]]:
    """Yield (source, target, how the target is made of the source); no source is a target."""
    traits = {name: traits_of(array) for name, array in weights.items()}
    followed: set[str] = set()
    sources: dict[tuple[object, ...], list[str]] = {}
    for name in sorted(weights, key=lambda name: traits[name].is_half):  # the more exact ones first
        group = sources.setdefault(traits[name].group, [])
        for other in _alike(group, traits, name):
            if (relation := find_relation(weights[other], weights[name])) is not None:
                followed.add(other)
                yield other, name, relation
                break
            # what was scaled and rounded does not come back by the inverse factor
            back = None if other in followed else find_relation(weights[name], weights[other])
            if back is not None:
                group[group.index(other)] = name
                followed.add(name)
                yield name, other, back
                break
        else:
            group.append(name)


def _alike(group: list[str], traits: dict[str, Traits], name: str) -> list[str]:
    """Return the members of a group that may be the source of a weight, in their order."""
    return [source for source in group if traits[name].may_follow_from(traits[source])]


def _derive(editor: Editor, source: str, target: str, relation: Relation) -> None:
    """Let nodes make `target` of `source`; where there is nothing to do its readers read that."""
    steps: list[tuple[str, list[str], dict[str, AttributeValue]]] = []
    if relation.order is not None:
        steps.append(("Transpose", [], {"perm": relation.order}))
    if relation.shape is not None:
        shape = editor.add_constant(np.array(relation.shape, np.int64), f"{target}_shape")
        steps.append(("Reshape", [shape], {}))
    if relation.scale is not None:
        scale = editor.add_constant(relation.scale, f"{target}_scale")
        steps.append(("Mul", [scale], {}))
    steps += [("Cast", [], {"to": _ONNX_TYPES[dtype]}) for dtype in relation.casts]
    if not steps:
        editor.redirect(target, source)
        return
    value = source
    for i, (op_type, others, attributes) in enumerate(steps):
        hint = target if i == len(steps) - 1 else f"{target}_{op_type}"
        value = editor.add_node(op_type, [value, *others], hint, attributes)
    editor.redirect(target, value)
