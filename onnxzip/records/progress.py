"""How work in progress is shown: a callable that gets what is going on and the fraction done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

ShowProgress: TypeAlias = Callable[[str, float], None]
"""Called with the stage in a few words and the fraction of the whole work done, 0 ... 1."""


def show_nothing(stage: str, fraction: float) -> None:
    """Show nothing."""


def part(show: ShowProgress, start: float, end: float) -> ShowProgress:
    """Return what shows a part of the work, from one fraction of the whole to another."""
    return lambda stage, fraction: show(stage, start + (end - start) * fraction)


def rising(show: ShowProgress) -> ShowProgress:
    """Return what shows the same work, whose fraction never falls: a search may take a step back."""
    most = 0.0

    def show_rising(stage: str, fraction: float) -> None:
        nonlocal most
        most = max(most, fraction)
        show(stage, most)

    return show_rising
