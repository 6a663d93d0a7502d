"""A part of a written report, before it is given a format."""

from __future__ import annotations

from dataclasses import dataclass

from onnxzip.report.plots.plot import Plot
from onnxzip.report.tables.table import NO_TABLE, Table

_NARROW = 3
"""Columns of a table that has room in half a page."""


@dataclass(frozen=True)
class Picture:
    """A picture: a PNG file in base64, its size in pixels, and what it shows, for everybody to read."""

    png: str
    width: int
    height: int
    caption: str
    alt: str


@dataclass(frozen=True)
class Block:
    """A part of a section, with a heading of its own; one that is folded opens when it is asked for.

    `note` says what the pictures have no room for.
    """

    title: str
    pictures: tuple[Picture, ...] = ()
    note: str = ""
    plots: tuple[Plot, ...] = ()
    table: Table = NO_TABLE
    is_folded: bool = False


@dataclass(frozen=True)
class Section:
    """A lead, plots, a table, a list, lines of code, and parts; what is empty is left out.

    Attributes:
        is_tiles: whether the only row of the table is shown as figures with their names.
        has_doubts: whether it says why a verdict may not hold.
    """

    title: str
    table: Table = NO_TABLE
    points: tuple[str, ...] = ()
    lead: str = ""
    plots: tuple[Plot, ...] = ()
    blocks: tuple[Block, ...] = ()
    code: str = ""
    is_tiles: bool = False
    has_doubts: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to say."""
        return not (
            *self.table.rows,
            *self.points,
            *self.plots,
            *self.blocks,
            *filter(None, (self.code, self.lead)),
        )

    @property
    def is_wide(self) -> bool:
        """Whether it takes the whole width of a page."""
        if len(self.table.columns) > _NARROW:
            return True
        return not self.plots and not self.table.rows
