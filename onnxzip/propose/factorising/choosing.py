"""Which layers become chains, and which chains: the least time within a loss of the whole model.

A chain's loss is measured alone first. Losses are taken to add up in squares, as those of candidates are
(choose/lagrangian.py); for a budget of predicted loss one Lagrangian over all layers finds what takes
least time, and the budget is bisected until the loss of the whole, measured, is within what is allowed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.propose.factorising.options import Option
from onnxzip.transforms.allocation import cheapest

_log = logging.getLogger(__name__)

_N_TRIALS = 8
"""Halvings of a range of budgets that is a factor of 1000 wide: they end within 3 %."""

_RANGE = 1e-3

Picks = Mapping[str, "Choice"]


@dataclass(frozen=True)
class Choice:
    """A chain that is faster than its layer's nodes.

    Attributes:
        option: what it is.
        seconds: that it takes in all its places.
        error: relative error of the layer's outputs.
        loss: of the model's outputs, with this chain alone.
    """

    option: Option
    seconds: float
    error: float
    loss: float = math.nan


def frontier(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices that lose less than all that take less time, from the fastest on."""
    found: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.seconds, c.error)):
        if not found or choice.error < found[-1].error:
            found.append(choice)
    return found


def choose(
    choices: Mapping[str, Sequence[Choice]],
    own_seconds: Mapping[str, float],
    measure: Callable[[Picks], float],
    allowed: float,
) -> Picks:
    """Return the choice of each layer that becomes a chain.

    Args:
        choices: by layer name, with their losses.
        own_seconds: that each layer's own nodes take, likewise.
        measure: returns the loss of the whole model with some choices.
        allowed: largest loss.
    """
    names = [name for name, found in choices.items() if any(map(_is_finite, found))]
    if not names or not allowed > 0:
        return {}
    costs, squares = _table([choices[name] for name in names], [own_seconds[n] for n in names])
    tried: dict[tuple[int, ...], float] = {}
    best: Picks = {}

    def is_within(budget: float) -> bool:
        nonlocal best
        columns = tuple(int(i) for i in cheapest(costs, squares, budget**2))
        pairs = zip(names, columns, strict=True)
        picks = {name: choices[name][i] for name, i in pairs if i < len(choices[name])}
        if columns not in tried:
            tried[columns] = measure(picks) if picks else 0.0
            _log.info("%d chains, predicted loss %.4g: %.4g", len(picks), budget, tried[columns])
        if tried[columns] <= allowed:
            best = picks
        return tried[columns] <= allowed

    finite = np.where(np.isfinite(squares), squares, 0)
    high = math.sqrt(float(finite.max(axis=1).sum())) * (1 + 1e-9)
    if high == 0 or is_within(high):
        return best
    low = high * _RANGE
    for _ in range(_N_TRIALS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if is_within(middle) else (low, middle)
    return best


def _is_finite(choice: Choice) -> bool:
    return math.isfinite(choice.loss)


def _table(
    choices: Sequence[Sequence[Choice]], own_seconds: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return seconds and squared losses, a row for each layer, its own nodes behind its choices.

    Further columns, and choices that ruin the model, take forever.
    """
    width = max(map(len, choices)) + 1
    costs, squares = np.full((len(choices), width), np.inf), np.zeros((len(choices), width))
    for row, (found, own) in enumerate(zip(choices, own_seconds, strict=True)):
        for column, choice in enumerate(found):
            if _is_finite(choice):
                costs[row, column], squares[row, column] = choice.seconds, choice.loss**2
        costs[row, len(found)] = own
    return costs, squares
