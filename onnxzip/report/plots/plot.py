"""What a plot shows, before anything is drawn: points, lines and bars, each named and in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["chosen", "passed", "failed", "before", "after", "other"]
"""What a group of marks stands for, which decides its colour and shape: see page/style.css."""

Format: TypeAlias = Callable[[float], str]


def format_plain(value: float) -> str:
    """Return a number in three digits."""
    return f"{value:.3g}"


_FARTHEST = 1e15
"""Beyond it a drawing library's ticks overflow, and so does what else there is to see."""


def has_place(value: float) -> bool:
    """Whether a number can be drawn; NaN cannot."""
    return abs(value) <= _FARTHEST


@dataclass(frozen=True)
class Point:
    """A point, and what is told of it: shown where its group is labelled, else under the pointer."""

    x: float
    y: float
    text: str = ""

    @property
    def has_place(self) -> bool:
        """Whether it can be drawn."""
        return has_place(self.x) and has_place(self.y)


@dataclass(frozen=True)
class Group:
    """Points that belong together.

    Attributes:
        name: in the legend.
        role: see `Role`.
        is_line: whether they are joined by a line instead of being dots.
        is_labelled: whether their texts stand beside them.
    """

    name: str
    role: Role
    points: tuple[Point, ...]
    is_line: bool = False
    is_labelled: bool = False


@dataclass(frozen=True)
class Axis:
    """A direction of a plot: what it measures, and how its numbers are written."""

    label: str
    format: Format = format_plain


@dataclass(frozen=True)
class XYPlot:
    """Points or lines over two axes.

    Attributes:
        title: what heads it.
        summary: what a reader who does not see it must know; also its caption.
        groups: what is drawn, the first one first; points that cannot be drawn are left out.
        limit: the value of y that a line across the plot marks; None for none.
        limit_text: what is written at that line.
        is_logarithmic: whether both axes are, which leaves out what is not above 0.
    """

    title: str
    summary: str
    x: Axis
    y: Axis
    groups: tuple[Group, ...]
    limit: float | None = None
    limit_text: str = ""
    is_logarithmic: bool = False

    @property
    def legend(self) -> tuple[tuple[str, Role], ...]:
        """Names and roles of the groups, where there are several."""
        return _legend(self.groups)


@dataclass(frozen=True)
class Bars:
    """One group of bars: a value and its text for each name of the plot."""

    name: str
    role: Role
    values: tuple[float, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class BarPlot:
    """Bars that run from left to right, one of each group for every name; see `XYPlot`."""

    title: str
    summary: str
    axis: Axis
    names: tuple[str, ...]
    groups: tuple[Bars, ...]

    @property
    def legend(self) -> tuple[tuple[str, Role], ...]:
        """Names and roles of the groups, where there are several."""
        return _legend(self.groups)


Plot: TypeAlias = XYPlot | BarPlot


def _legend(groups: tuple[Group, ...] | tuple[Bars, ...]) -> tuple[tuple[str, Role], ...]:
    return tuple((group.name, group.role) for group in groups) if len(groups) > 1 else ()
