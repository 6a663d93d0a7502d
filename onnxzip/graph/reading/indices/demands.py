"""What is asked of an integer value: a range, and whether a run fails outside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

Part: TypeAlias = tuple[int, int]
"""Of a value: an axis, and a place on it."""


@dataclass(frozen=True)
class Demand:
    """Integers that a value may be.

    Attributes:
        ids: the integers, in steps of 1.
        is_needed: a run fails, or reads nothing, beyond them; else they are all that make a difference
            (a Clip or a Mod comes between, say).
        part: the axis and the place on it that are asked, None for the whole value.
    """

    ids: range
    is_needed: bool = True
    part: Part | None = None

    @property
    def low(self) -> int:
        """The least of the ids."""
        return self.ids.start

    @property
    def high(self) -> int:
        """The largest of the ids."""
        return self.ids.stop - 1

    def moved(self, low: float, high: float) -> Demand:
        """Return the same demand for the integers from `low` to `high`, both included."""
        return replace(self, ids=between(low, high))

    def met_with(self, other: Demand) -> Demand:
        """Return what meets both demands; the one that is needed (else this one) where nothing does.

        The part that is asked stays this demand's.
        """
        ids = between(max(self.low, other.low), min(self.high, other.high))
        if ids:
            return Demand(ids, self.is_needed or other.is_needed, self.part)
        return replace(other, part=self.part) if other.is_needed and not self.is_needed else self


def between(low: float, high: float) -> range:
    """Return the integers from `low` to `high`, both included."""
    return range(math.ceil(low), math.floor(high) + 1)
