"""What was measured of layers' errors, made fit to predict with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

LEAST_SENSITIVITY = 1e-5
"""Of the outputs' variation, for an error as large as the weight: less may be float32's own noise, which
is 1e-7 to 1e-6 (`prove.exact.EXACT_LIMIT` is 1e-5)."""

RUINED = 1e6  # stands for outputs that are no numbers any more; a prediction has to be finite

_UNSEEN_QUANTILE = 0.75
"""Cautious, but not held to the one layer that is most sensitive: a guess."""


def fill_unseen(measured: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Replace sensitivities of zero: a weight that no feed reached is not a weight without effect.

    Returns:
        The sensitivities, an unreached layer's the upper quartile (1 without any), and their names.
    """
    measured = {name: min(s, RUINED) for name, s in measured.items()}
    seen = [s for s in measured.values() if s > LEAST_SENSITIVITY]
    typical = float(np.quantile(seen, _UNSEEN_QUANTILE)) if seen else 1.0
    unseen = [name for name, s in measured.items() if s <= LEAST_SENSITIVITY]
    return {name: typical if name in unseen else s for name, s in measured.items()}, unseen


def never_falling(
    points: Sequence[tuple[float, float]], least: float
) -> tuple[tuple[float, float], ...]:
    """Return the points from an error on, none with less loss than a smaller error was seen to have.

    What jumps may lose nothing by luck.
    """
    kept = [(error, error * value) for error, value in points if error >= least]
    losses = np.maximum.accumulate([loss for _, loss in kept])
    return tuple((error, float(loss) / error) for (error, _), loss in zip(kept, losses, strict=True))
