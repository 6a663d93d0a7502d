"""Emits the table of all windows of bit strings (`coding.bits`), a byte a window.

A window of w bits at bit s of a byte depends on that byte and on the w - 1 lowest bits of the next one.
So all eight windows of a byte are one row of a table that is the same for all bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxzip.codec.emit.nodes import cast, count_up, cut, look_up, scalar, split_if_many
from onnxzip.passbase import Builder

_MIN_PARTED_BYTES = 1 << 16
"""From here on the levels are parted before the look-up: 4 nodes more, and 4 bytes of memory a byte
less."""


class Windows:
    """Emits windows of a common width; holds the table of their rows.

    Attributes:
        width: of the windows, in bits; fields may be narrower.
    """

    def __init__(self, width: int, builder: Builder) -> None:
        """Emit the table, (256 << (width - 1), 8) uint8."""
        self.width = width
        self._builder = builder
        n = 256 << (width - 1)
        shape = (n, 8)
        places = builder.constant(1 << np.arange(8, dtype=np.int32)[None])
        shifted = builder.node("Div", [count_up((n, 1), builder), places], shape, np.int32)
        masked = builder.node("Mod", [shifted, scalar(1 << width, builder)], shape, np.int32)
        self._rows = cast(masked, shape, np.uint8, builder)

    def emit(self, fields: NDArray[np.uint8], level_starts: Sequence[int]) -> list[str]:
        """Emit the windows of each level.

        Args:
            fields: (n,) bit strings, one behind the other, and a last byte.
            level_starts: the first byte of each.

        Returns:
            For each level the name of (8 * its bytes,) uint8: one window for every bit.
        """
        builder, n = self._builder, len(fields) - 1
        stored = builder.constant(fields)
        low = cast(cut(stored, (n,), builder, dtype=np.uint8), (n,), np.int32, builder)
        index = low
        if self.width > 1:
            high = cut(stored, (n,), builder, start=1, dtype=np.uint8)
            high = cast(high, (n,), np.int32, builder)
            high = builder.node("Mod", [high, scalar(1 << (self.width - 1), builder)], (n,), np.int32)
            high = builder.node("Mul", [high, scalar(256, builder)], (n,), np.int32)
            index = builder.node("Add", [low, high], (n,), np.int32)
        sizes = [(int(k),) for k in np.diff(np.append(level_starts, n))]
        if n < _MIN_PARTED_BYTES:
            return split_if_many(
                self._look_up(index, n), [(8 * k,) for (k,) in sizes], np.uint8, builder
            )
        parts = split_if_many(index, sizes, np.int32, builder)
        return [self._look_up(part, k) for part, (k,) in zip(parts, sizes, strict=True)]

    def _look_up(self, index: str, n: int) -> str:
        windows = look_up(self._rows, index, (n, 8), self._builder, np.uint8)
        return self._builder.reshape(windows, (8 * n,), np.uint8)
