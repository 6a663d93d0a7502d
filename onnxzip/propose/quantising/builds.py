"""Models some of whose nodes compute in int8, made for any choice of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from onnxzip.graph import GraphEditor, Model
from onnxzip.measure.moments.value_ranges import ValueRange
from onnxzip.propose.quantising.grid import Grid, grid_of
from onnxzip.propose.quantising.landing import Landing, land
from onnxzip.propose.quantising.region import (
    Multiplication,
    Region,
    find_region,
    multiplications_of,
)
from onnxzip.propose.quantising.surgery import with_rounded_values


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
        editor = GraphEditor(self.model)
        weights = {la.weight: editor.constant(la.weight) for la in self.landings}
        known = {name: array for name, array in weights.items() if array is not None}
        return land(self.model, self.landings, known, lambda name: None).model


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
        self._latest: tuple[tuple[frozenset[str], frozenset[str]], Build] | None = None
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
        unable = {m.weight for m in self.candidates if m.data not in self._grids or not self._is_able(m)}
        self.candidates = [m for m in self.candidates if m.weight not in unable]

    def build(self, chosen: Sequence[Multiplication]) -> Build:
        """Return the build of a choice, some of the candidates."""
        key = frozenset(m.node.outputs[0] for m in chosen), frozenset(self.refused)
        if self._latest is None or self._latest[0] != key:  # which is timed, run and looked at in turn
            region = self._region(chosen)
            model, landings = with_rounded_values(self._model, region, self._grids)
            self._latest = key, Build(region, model, landings)
        return self._latest[1]

    def _region(self, chosen: Sequence[Multiplication]) -> Region:
        return find_region(
            self._editor,
            chosen,
            lambda node: node.outputs[0] not in self.refused,
            lambda value: not self._grids or value in self._grids,
        )

    def _is_able(self, candidate: Multiplication) -> bool:
        """Whether all that it rounds by itself has a grid."""
        return all(value in self._grids for value in self._region([candidate]).rounded)
