"""Values at the edges of what fields can hold, and a choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

INTEGERS = (0, 1, -1, 2, 3, 127, 128, 255, 65536, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
DIMS = (0, 1, 2, 3, 7, 16, 255, 1000, 1 << 16, 1 << 20, 1 << 31, 1 << 40, 2**63 - 1, -1, -7)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
NAMES = (
    "",
    " ",
    "x",
    "\x1b[31mred\x1b[0m",
    "two\nlines",
    "nul\0",
    "a" * 5000,
    "../../x",
    "[bold]markup[/bold]",
    "\u202egnp.exe",
    "weight/0/x",
    "日本",
    "%s{0}",
    "`tolerance`",
)
PATHS = (
    "",
    "w.bin",
    "/etc/passwd",
    "../../../etc/passwd",
    "tmp",
    ".",
    "in.onnx",
    "/dev/zero",
    "a\0b",
    "ä" * 300,
)


def pick(rng: np.random.Generator, among: Sequence[T]) -> T:
    """Return one of several values.

    Raises:
        ValueError: there is none.
    """
    return among[int(rng.integers(len(among)))]
