"""A table of text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxzip.records.printable import printable


@dataclass(frozen=True)
class Table:
    """A table of text; columns named in `left` are text, all the others numbers.

    Where the terminal is narrow, the column named `folds` may break its cells over lines, the one
    named `moves`, the last, goes below the table, and those named in `spare` are left out, first ones
    first, but for what they say in the last row, which then is one of sums.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str]
    folds: str = ""
    moves: str = ""
    spare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Show names as they may be shown: they come from files."""
        rows = tuple(tuple(map(printable, row)) for row in self.rows)
        object.__setattr__(self, "rows", rows)

    def without(self, column: str) -> Table:
        """Return the table without one of its columns."""
        place = self.columns.index(column)
        rows = tuple(row[:place] + row[place + 1 :] for row in self.rows)
        columns = self.columns[:place] + self.columns[place + 1 :]
        return replace(self, columns=columns, rows=rows)


NO_TABLE = Table((), (), frozenset())
