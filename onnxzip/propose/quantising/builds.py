"""Models some of whose nodes compute in int8, made for any choice of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from onnxzip.graph import GraphEditor, Model
from onnxzip.measure.moments.value_ranges import ValueRange
from onnxzip.passbase import NodeView
from onnxzip.propose.quantising.grid import Grid, grid_of
from onnxzip.propose.quantising.region import (
    Multiplication,
    Region,
    find_region,
    multiplications_of,
)
from onnxzip.propose.quantising.surgery import Landing, land, steps_of, with_rounded_values
from onnxzip.records.aliases import Array


@dataclass(frozen=True, eq=False)
class Build:
    """A model some of whose nodes compute in int8.

    Attributes:
        region: these, and what serves them.
        model: its values are rounded, its weights are float32.
        landings: how the weights end.
    """

    region: Region
    model: Model
    landings: Sequence[Landing]

    @cached_property
    def landed(self) -> Model:
        """The model as it runs, with the weights as they are."""
        tensors = {t.name: t for t in self.model.proto.graph.initializer}
        weights = {la.weight: self.model.array(tensors[la.weight]) for la in self.landings}
        return landed(self.model, self.landings, weights)


def landed(model: Model, landings: Sequence[Landing], weights: Mapping[str, Array]) -> Model:
    """Return a model whose weights are integers.

    Args:
        model: one of rounded values.
        landings: how its weights end.
        weights: what these are, float32, by name.
    """
    steps = {la.weight: steps_of(weights[la.weight], la.axis) for la in landings}
    return land(model, landings, steps)


class Workbench:
    """Makes builds of a model.

    Attributes:
        candidates: the nodes that may be chosen, in topological order.
        values: what may have to be rounded.
        refused: outputs of nodes that serve none of them.
    """

    def __init__(self, model: Model, weights: Collection[str]) -> None:
        """Find the candidates.

        Args:
            model: the model.
            weights: names of those that may change.
        """
        self._model = model
        self._editor = GraphEditor(model.copy())
        self._grids: dict[str, Grid] = {}
        self.refused: set[str] = set()
        found = multiplications_of(self._editor)
        self.candidates = [m for m in found if m.weight in weights]
        region = self._region(self.candidates)
        self.values = list(dict.fromkeys((*region.rounded, *(m.data for m in self.candidates))))

    def set_ranges(self, ranges: Mapping[str, ValueRange], *, cuts: bool) -> None:
        """Give the values grids; what has none is not rounded.

        Args:
            ranges: of those that are finite float32 numbers.
            cuts: whether rare large numbers may be cut off, see `grid_of`.
        """
        self._grids = {value: grid_of(found, cuts=cuts) for value, found in ranges.items()}
        self.candidates = [m for m in self.candidates if m.data in self._grids and self._is_able(m)]

    def build(self, chosen: Sequence[Multiplication]) -> Build:
        """Return the build of a choice, some of the candidates."""
        region = self._region(chosen)
        model, landings = with_rounded_values(self._model, region, self._grids)
        return Build(region, model, landings)

    def _region(self, chosen: Sequence[Multiplication]) -> Region:
        def may_carry(node: NodeView) -> bool:
            values = (*node.inputs, *node.outputs)
            known = not self._grids or all(self._is_known(value) for value in values)
            return known and node.outputs[0] not in self.refused

        return find_region(self._editor, chosen, may_carry)

    def _is_able(self, candidate: Multiplication) -> bool:
        """Whether all that it rounds by itself has a grid."""
        return all(value in self._grids for value in self._region([candidate]).rounded)

    def _is_known(self, value: str) -> bool:
        constant = self._editor.constant(value) if value else np.zeros(0)
        return value in self._grids or constant is not None
