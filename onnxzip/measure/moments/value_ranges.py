"""Measures what range intermediate values of a model have, and how their numbers are spread in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxzip.graph import Model
from onnxzip.inputs.feedset import FeedSet
from onnxzip.measure.moments.value_groups import each_value

_N_DRAWN = 1 << 16
"""Numbers of a value that are looked at: where a range is best cut depends on its thousandths, of which
65 are among so many."""


@dataclass(frozen=True, eq=False)
class ValueRange:
    """What numbers a float32 value had in all runs.

    Attributes:
        low: the smallest.
        high: the largest.
        drawn: (n,) float32, some of them, at random places.
    """

    low: float
    high: float
    drawn: NDArray[np.float32]


@dataclass
class _Sum:
    """What was seen of a value so far."""

    low: float = np.inf
    high: float = -np.inf
    drawn: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, array: NDArray[np.float32], n_wanted: int, rng: np.random.Generator) -> None:
        flat = array.reshape(-1)
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self.drawn.append(flat[rng.integers(flat.size, size=n_wanted)] if flat.size > n_wanted else flat)


def measure_ranges(
    model: Model,
    values: Sequence[str],
    feeds: FeedSet,
    custom_ops: Path | None,
    show: Callable[[float], None],
) -> Mapping[str, ValueRange]:
    """Run the model and return the ranges of those of the values that are float32 and finite.

    Args:
        model: a model.
        values: names of values of its main graph, inputs included.
        feeds: what to run on; their samples count alike.
        custom_ops: shared library of custom operators.
        show: called with the fraction done.

    Raises:
        ModelError: the model does not run with these values as outputs.
    """
    sums: dict[str, _Sum] = {}
    refused: set[str] = set()
    n_wanted = max(_N_DRAWN // max(len(feeds), 1), 1)
    places = {value: place for place, value in enumerate(values)}
    for i_run, value, array in each_value(model, values, feeds, custom_ops, show):
        if array.dtype != np.float32 or not np.isfinite(array).all():
            refused.add(value)
        elif array.size:
            rng = np.random.default_rng((i_run, places[value]))
            sums.setdefault(value, _Sum()).add(array, n_wanted, rng)
    return {
        value: ValueRange(found.low, found.high, np.concatenate(found.drawn))
        for value, found in sums.items()
        if value not in refused
    }
