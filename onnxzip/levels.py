"""What -1 ... -9 mean: how coefficients are quantised, and how the graph decodes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxzip.decode import emit_coded, emit_packed
from onnxzip.errors import UsageError
from onnxzip.passbase import Builder, Codec
from onnxzip.quantize import FixedRate, VariableRate
from onnxzip.types import Coefficients

DEFAULT_LEVEL = 6
FIRST_CODED_LEVEL = 4

Stored = Coefficients | NDArray[np.int32]


@dataclass(frozen=True)
class Level:
    """A trade of file size against load time and memory.

    Attributes:
        number: 1 ... 9.
        codec: quantises coefficients and prices them.
        emit: emits the decoders of all coefficients and integers of a model.
        renames: whether internal names are shortened and doc strings dropped.
    """

    number: int
    codec: Codec
    emit: Callable[[Sequence[Stored], Builder], list[str]]
    renames: bool


def level(number: int) -> Level:
    """Return a level: 1 to 3 pack at fixed rates, 4 to 9 use the entropy coder.

    Raises:
        UsageError: there is no such level.
    """
    if not 1 <= number <= 9:
        raise UsageError(f"there is no level {number}; the levels are 1 (fast) to 9 (small)")
    if number < FIRST_CODED_LEVEL:
        return Level(number, FixedRate(), emit_packed, renames=False)
    return Level(number, VariableRate(), emit_coded, renames=number >= DEFAULT_LEVEL)
