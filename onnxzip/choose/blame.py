"""Finds which layers of a plan cost more than was predicted, by measuring parts of the plan.

A part is measured with all layers outside it exact. Parts that cost what was predicted are left alone,
others are halved, the worst first: of n layers one that jumps is found with 2 log2(n) measurements.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

CONTRADICTION = 1.5
"""Ratio of measured to predicted loss that is no matter of adding up: errors of layers that add up in
squares, as predicted, and in pairs, are sqrt(2) apart."""


def blame(
    predicted: Mapping[str, float],
    measure: Callable[[Sequence[str]], float],
    max_measurements: int,
) -> dict[str, float]:
    """Return the single layers that were measured, with the losses that each causes alone.

    Args:
        predicted: what each layer of the plan should cost, by name.
        measure: returns the loss with these layers as planned, all others exact.
        max_measurements: most parts to measure.
    """
    found: dict[str, float] = {}
    names = list(predicted)
    # A heap of (- loss, place of the first name, names); no two have the same place.
    # NaN is the worst loss there is.
    parts: list[tuple[float, int, Sequence[str]]] = [(-math.inf, 0, names)] if names else []
    n_left = max_measurements
    while parts and n_left > 0:
        _, start, part = heapq.heappop(parts)
        middle = (len(part) + 1) // 2
        for first, half in ((start, part[:middle]), (start + middle, part[middle:])):
            if not half or n_left <= 0:
                continue
            n_left -= 1
            loss = measure(half)
            if len(half) == 1:
                found[half[0]] = loss
            elif not loss <= CONTRADICTION * norm(predicted[name] for name in half):
                heapq.heappush(parts, (-loss if loss == loss else -math.inf, first, half))
    return found


def norm(losses: Iterable[float]) -> float:
    """Return the root of the sum of squares: what independent losses add up to."""
    return math.sqrt(sum(loss * loss for loss in losses))
