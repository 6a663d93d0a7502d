"""Cuts a model into stages, each from where some weights are read first to the end of the model.

What a weight changes lies behind the first node that reads it. Whoever knows the values before that node
need not compute them again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from onnxzip.graph.changing.cutting.part import build_part, nodes_behind
from onnxzip.graph.changing.fields import replace_all
from onnxzip.graph.changing.hoisting import hoist_weights, make_overridable
from onnxzip.graph.reading.model import Model
from onnxzip.graph.reading.scope import reads_of, sorted_nodes

Types = Mapping[str, np.dtype[np.generic]]


@dataclass(frozen=True)
class Stage:
    """From one node of the main graph to its end.

    Attributes:
        start: position of the first node.
        weights: those that are read first from here on and before the next stage begins: what each is
            called in the model, by layer name.
        reads: values made before it that it needs.
        makes: outputs of the model that it makes.
    """

    start: int
    weights: Mapping[str, str]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


class StagedModel:
    """A model with its weights in the main graph, and its stages in the order in which they begin.

    Args:
        model: the model, which is not changed.
        names: of the layers that may change; those that no output needs are in no stage.
        n_stages: how many to make at most, with as many weights each.
    """

    def __init__(self, model: Model, names: Collection[str], n_stages: int) -> None:
        self.model = model.copy()
        homes = hoist_weights(self.model, names)
        graph = self.model.proto.graph
        replace_all(graph.node, sorted_nodes(graph, model.source))
        self._reads = [list(dict.fromkeys(reads_of(node))) for node in graph.node]
        self._made = {o: i for i, node in enumerate(graph.node) for o in node.output if o}
        self._outputs = [v.name for v in graph.output if v.name in self._made]
        needed = set(self._behind(0, self._outputs)[0])
        firsts: dict[str, int] = {}
        for i, names_read in enumerate(self._reads):
            for name in names_read if i in needed else ():
                firsts.setdefault(name, i)
        found = sorted((firsts[home], layer) for layer, home in homes.items() if home in firsts)
        self.stages = [self._stage(part, homes) for part in _groups(found, n_stages)]

    @cached_property
    def order(self) -> dict[str, int]:
        """The stage of each weight, by layer name, in the order in which they are read."""
        return {name: i for i, stage in enumerate(self.stages) for name in stage.weights}

    def build(self, stage: Stage, types: Types) -> Model:
        """Return a stage as a model whose weights of its own are optional inputs.

        Args:
            stage: one of `stages`.
            types: element type of each value that it reads.
        """
        nodes, _ = self._behind(stage.start, stage.makes)
        part = build_part(self.model, nodes, {n: types[n] for n in stage.reads}, stage.makes)
        make_overridable(part, stage.weights)
        return part

    def build_between(self, start: int, stage: Stage, types: Types) -> tuple[Model, list[str]]:
        """Return what lies before a stage from a node on, and which of the values it reads that makes.

        Args:
            start: position of the node.
            stage: one of `stages`.
            types: element type of each value made before it that it needs.
        """
        makes = [name for name in stage.reads if self._made[name] >= start]
        nodes, reads = self._behind(start, makes)
        return build_part(self.model, nodes, {n: types[n] for n in reads}, makes), makes

    def _stage(self, weights: Sequence[tuple[int, str]], homes: Mapping[str, str]) -> Stage:
        start = weights[0][0]
        makes = [name for name in self._outputs if self._made[name] >= start]
        _, reads = self._behind(start, makes)
        return Stage(start, {name: homes[name] for _, name in weights}, reads, tuple(makes))

    def _behind(self, start: int, goals: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        return nodes_behind(self._reads, self._made, start, goals)


def _groups(found: Sequence[tuple[int, str]], n_groups: int) -> list[list[tuple[int, str]]]:
    """Divide (position, name), which are sorted, into groups of about equal size; none cuts a node."""
    size = -(-len(found) // max(n_groups, 1))
    groups: list[list[tuple[int, str]]] = []
    for position, name in found:
        if not groups or (len(groups[-1]) >= size and position > groups[-1][-1][0]):
            groups.append([])
        groups[-1].append((position, name))
    return groups
