"""Families of inputs: one reading for each input of a model, and the runs that are drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.inputs.generated.readings import Context, Reading, readings, sequence_length
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

MAX_FAMILIES = 6
"""Readings beyond it are left out, the unlikeliest: a guess that costs time."""

_OWN_STREAM = 1
"""numpy seeds (0, 0) like 0: the numbers of default_rng(0) may be the very weights of a test model."""


@dataclass(frozen=True, eq=False)
class Family:
    """One way to make up all inputs of a model.

    Attributes:
        name: what it is called in reports; "" where there is one way only.
        readings: one for each input, by name.
    """

    name: str
    readings: Mapping[str, Reading]

    @property
    def is_like_real(self) -> bool:
        """Whether what goes together in its inputs goes together in real ones."""
        return any(reading.is_like_real for reading in self.readings.values())

    def draw(
        self, inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]], n_runs: int, seed: int
    ) -> list[Feeds]:
        """Return inputs for so many runs.

        Args:
            inputs: graph inputs.
            shapes: of one run, by input name.
            n_runs: how many.
            seed: of the random numbers.
        """
        feeds: list[dict[str, Array]] = [{} for _ in range(n_runs)]
        for index, spec in enumerate(inputs):
            rng = np.random.default_rng([seed, index, *map(ord, self.name), _OWN_STREAM])
            values = self.readings[spec.name].draw(shapes[spec.name], n_runs, rng)
            for feed, array in zip(feeds, values, strict=True):
                feed[spec.name] = np.ascontiguousarray(np.asarray(array).astype(spec.dtype))
        return list(feeds)


def families_of(
    inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]], bounds: Mapping[str, int]
) -> list[Family]:
    """Return the families of inputs that are worth a try, the likeliest first.

    As many as the input with most readings has; the others' take turns.

    Args:
        inputs: graph inputs.
        shapes: of one run, by input name.
        bounds: by input name, the exclusive upper bound of integers that index a table.
    """
    context = Context(bounds, sequence_length(inputs, shapes))
    found = {spec.name: readings(spec, shapes[spec.name], context) for spec in inputs}
    n_families = min(max((len(ways) for ways in found.values()), default=1), MAX_FAMILIES)
    families = []
    for i in range(n_families):
        chosen = {name: ways[i % len(ways)] for name, ways in found.items()}
        parts = [chosen[name].name for name, ways in found.items() if len(ways) > 1]
        families.append(Family(", ".join(dict.fromkeys(filter(None, parts))), chosen))
    return families
