"""A table of text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text; columns named in `left` are text, all the others numbers.

    The column named `folds` may break its cells over lines where the terminal is narrow.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str]
    folds: str = ""
