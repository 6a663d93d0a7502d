"""A table of text."""

from __future__ import annotations

from dataclasses import dataclass

from onnxzip.records.printable import printable


@dataclass(frozen=True)
class Table:
    """A table of text; columns named in `left` are text, all the others numbers.

    Where the terminal is narrow, the column named `folds` may break its cells over lines, and the one
    named `moves`, the last, goes below the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str]
    folds: str = ""
    moves: str = ""

    def __post_init__(self) -> None:
        """Show names as they may be shown: they come from files."""
        rows = tuple(tuple(map(printable, row)) for row in self.rows)
        object.__setattr__(self, "rows", rows)


NO_TABLE = Table((), (), frozenset())
