"""Families of inputs: one reading for each input of a model, and the runs that are drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.inputs.generated.readings import Reading
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

MAX_FAMILIES = 4
"""Readings beyond it are left out, the unlikeliest: a guess that costs time."""

_OWN_STREAM = 1
"""numpy seeds (0, 0) like 0: the numbers of default_rng(0) may be the very weights of a test model."""

Shapes = Mapping[str, tuple[int, ...]]
Readings = Mapping[str, Sequence[Reading]]


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

    @property
    def is_guess(self) -> bool:
        """Whether nothing but the shape of an input speaks for it."""
        return any(reading.is_guess for reading in self.readings.values())

    def draw(self, inputs: Sequence[InputSpec], shapes: Shapes, n_runs: int, seed: int) -> list[Feeds]:
        """Return inputs for so many runs.

        What is scaled in several ways is the same for all of them.

        Args:
            inputs: graph inputs.
            shapes: of one run, by input name.
            n_runs: how many.
            seed: of the random numbers.
        """
        feeds: list[dict[str, Array]] = [{} for _ in range(n_runs)]
        for index, spec in enumerate(inputs):
            rng = np.random.default_rng([seed, index, _OWN_STREAM])
            values = self.readings[spec.name].draw(shapes[spec.name], n_runs, rng)
            for feed, array in zip(feeds, values, strict=True):
                feed[spec.name] = np.array(array, dtype=spec.dtype, order="C")
        return list(feeds)


def families_of(found: Readings, *, with_fallbacks: bool = False) -> list[Family]:
    """Return the families of inputs that are worth a try, the likeliest first.

    As many as the input with most readings has; the others' take turns.

    Args:
        found: readings by input name, the likeliest first.
        with_fallbacks: only those with a reading that is a fallback, and not those without.
    """
    ways = {
        name: [r for r in some if r.is_fallback == with_fallbacks] or list(some[:1])
        for name, some in found.items()
    }
    if with_fallbacks and not any(r.is_fallback for some in ways.values() for r in some):
        return []
    n_families = min(max(map(len, ways.values()), default=1), MAX_FAMILIES)
    return [
        _family({name: some[i % len(some)] for name, some in ways.items()}, found)
        for i in range(n_families)
    ]


def _family(chosen: Mapping[str, Reading], found: Readings) -> Family:
    names = [reading.name for name, reading in chosen.items() if len(found[name]) > 1]
    return Family(", ".join(dict.fromkeys(filter(None, names))), chosen)
