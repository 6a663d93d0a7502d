"""What a run of a model takes, worked out from shapes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunCost:
    """What one run takes, as far as shapes are known.

    It is worked out and not measured, so that the same model gets the same inputs everywhere.

    Attributes:
        n_in_use: numbers in use at once, at most.
        n_operations: multiplications, and numbers made.
    """

    n_in_use: int = 0
    n_operations: int = 0
