"""How a model scales an input before anything else happens to it: what values it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Expected: TypeAlias = Literal["large", "unit", "any", "unknown"]

_LEAST_WIDTH = 50.0
"""What pixels of 0 ... 255 are divided by: 255, 128, 127.5, or 57.1 to 58.4, ImageNet's deviation. No
feature of deviation 1 is."""

_LEAST_CENTRE = 20.0
"""Means of pixels that are subtracted: 103.9 to 123.7 for ImageNet, 33 for MNIST."""

_UNIT_CENTRES, _MOST_UNIT_WIDTH = (0.2, 0.8), 1.0
"""Means of pixels of 0 ... 1: 0.406 to 0.485 for ImageNet, 0.5 for most others."""


@dataclass(frozen=True)
class InputScaling:
    """x * factor + offset, element by element, for every channel.

    Attributes:
        factors: one, or one for each channel; none is 0.
        offsets: as many.
        is_normalised: whether a normalisation follows that takes any scale.
    """

    factors: tuple[float, ...]
    offsets: tuple[float, ...]
    is_normalised: bool = False

    @property
    def expected(self) -> Expected:
        """What values a model takes that scales them so.

        "large": pixels of 0 ... 255, or audio of 16 bits; "unit": 0 ... 1; "any": all scales.
        """
        if self.is_normalised:
            return "any"
        pairs = list(zip(self.factors, self.offsets, strict=True))
        widths = [1 / abs(factor) for factor, _ in pairs]
        centres = [-offset / factor for factor, offset in pairs]
        if min(widths) >= _LEAST_WIDTH or min(centres) >= _LEAST_CENTRE:
            return "large"
        low, high = _UNIT_CENTRES
        is_unit = low <= min(centres) and max(centres) <= high and max(widths) <= _MOST_UNIT_WIDTH
        return "unit" if is_unit else "unknown"
