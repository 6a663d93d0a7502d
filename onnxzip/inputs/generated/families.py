"""Families of inputs: one reading for each input of a model, and the runs that are drawn from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxzip.inputs.feedset import MIN_TO_HOLD_OUT
from onnxzip.inputs.generated.free_sizes import SMALL_ELEMENTS
from onnxzip.inputs.generated.readings import Reading
from onnxzip.records.aliases import Array, Feeds
from onnxzip.runtime.input_spec import InputSpec

MAX_FAMILIES = 4
"""Readings beyond it are left out, the unlikeliest: a guess that costs time."""

MIN_GENERATED, _MAX_GENERATED = 16, 64
"""Samples: from twice what an interval is stated from (measure/confidence.py) to a bound on time."""

_MAX_SMALL = 256
"""Samples that are small: a single number that a model answers with says little each time."""

_USUALLY_FITTED, _MAX_FITTED = 256, 1024
"""Samples that weights may be fitted to: as many as a refit wants (choose/refitting/refit.py); more tiny
ones, of which each tells less."""

_TINY_ELEMENTS = 1 << 10
"""Numbers in a tiny sample: 64 ms of sound."""

_FITTED_ELEMENTS = 1 << 20
"""Numbers in all of them together: a minute of sound; a guess that bounds the time."""

_MAX_ELEMENTS = 1 << 24
"""Numbers in all inputs together, 64 MB: the bound that refits have."""

_N_OUTPUT_VALUES = 4096
"""The root mean square of n values is known to 1 / sqrt(2 n) of it, if they are independent: to 1 %."""

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


def n_samples_of(family: Family, n_elements: int, n_values: int, n_families: int) -> int:
    """Return how many samples of a family are wanted.

    Args:
        family: what they are of.
        n_elements: numbers in a sample.
        n_values: numbers that the smallest output has for each.
        n_families: that share the time.
    """
    n_wanted = math.ceil(_N_OUTPUT_VALUES / max(n_values, 1))
    n_most = _MAX_SMALL if n_elements <= SMALL_ELEMENTS else _MAX_GENERATED
    n_samples = min(max(n_wanted, MIN_GENERATED), n_most)
    n_samples = max(n_samples // n_families, MIN_GENERATED)
    if not family.is_like_real:
        return n_samples
    n_fitting = _MAX_ELEMENTS // max(n_elements * n_families, 1)
    n_most = min(_FITTED_ELEMENTS // max(n_elements, 1), _MAX_FITTED)
    if n_elements > _TINY_ELEMENTS:
        n_most = min(n_most, _USUALLY_FITTED)
    n_most = MIN_TO_HOLD_OUT if family.is_guess else n_most // n_families
    n_fitted = min(max(n_most, MIN_TO_HOLD_OUT), n_fitting)
    return n_fitted if n_fitted >= MIN_TO_HOLD_OUT else n_samples
