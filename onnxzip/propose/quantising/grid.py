"""The uint8 grid of an activation: scale and zero point from the range that its numbers were seen in.

x is stored as q = clip(round(x / scale) + zero_point, 0, 255), as QuantizeLinear does (ONNX's
Operators.md). A range that cuts the rare large numbers off makes the steps of all others smaller; where
it is best cut, the sum of both squared errors is least (as in Sung et al. 2015, arXiv 1511.06488).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.measure.moments.value_ranges import ValueRange

N_LEVELS = 256
"""Of uint8."""

_SHARES = tuple(0.97**i for i in range(40))
"""Of the whole range, that are tried: in steps of 3 %, which is a tenth of a dB, down to 30 %."""


@dataclass(frozen=True)
class Grid:
    """A uint8 grid; `scale` is a float32 number."""

    scale: float
    zero_point: int

    def rounded(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the numbers that values become on the grid."""
        scale = np.float32(self.scale)
        levels = np.clip(np.rint(values / scale) + self.zero_point, 0, N_LEVELS - 1)
        return np.asarray((levels - self.zero_point) * scale, np.float32)


def grid_of(found: ValueRange, *, cuts: bool) -> Grid:
    """Return the grid for a value.

    Args:
        found: the range that it was seen in.
        cuts: whether rare large numbers may be cut off: not where inputs are made up, as real ones
            may have more of them.
    """
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    if low == high:
        return Grid(1.0, 0)
    grids = list(
        dict.fromkeys(
            grid_of_range(low * share, high * share) for share in _SHARES[: None if cuts else 1]
        )
    )
    if len(grids) == 1:
        return grids[0]
    errors = [
        float(np.square(grid.rounded(found.drawn) - found.drawn, dtype=np.float64).sum())
        for grid in grids
    ]
    return grids[int(np.argmin(errors))]


def grid_of_range(low: float, high: float) -> Grid:
    """Return the grid that covers a range with 0 in it, and has 0 on it."""
    least = float(np.finfo(np.float32).tiny)
    scale = float(np.float32(max((high - low) / (N_LEVELS - 1), least)))
    return Grid(scale, int(np.clip(np.rint(-low / scale), 0, N_LEVELS - 1)))
