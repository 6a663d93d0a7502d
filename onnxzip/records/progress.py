"""How work in progress is shown: a callable that gets what is going on and the fraction done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

ShowProgress: TypeAlias = Callable[[str, float], None]
"""Called with the stage in a few words and the fraction of the whole work done, 0 ... 1."""


PARTS = {
    "reading": (0.0, 0.01),
    "folding": (0.01, 0.02),
    "running the original": (0.02, 0.03),
    "checking what was folded": (0.03, 0.04),
    "statistics": (0.04, 0.18),
    "layers": (0.18, 0.42),
    "sensitivities": (0.42, 0.65),
    "search": (0.65, 0.93),
    "rewriting": (0.93, 0.95),
    "checking": (0.95, 0.99),
    "writing": (0.99, 1.0),
}
"""Where each part of the work begins and ends, so that the fraction is about that of the time: measured
on vgg8, resnet44, digits_cnn and all-MiniLM-L6-v2, whose parts lie around these by 0.1, the end of
MiniLM's sensitivities by 0.25."""

_SHARE_OF_ROUND = 0.15
"""Of what is left of a search: two to twelve rounds, trials and refits, were seen to come."""


def at(part: str, fraction: float = 0.0) -> float:
    """Return the fraction of the whole work at a fraction of a part of it."""
    begin, end = PARTS[part]
    return begin + (end - begin) * fraction


def within(show: ShowProgress, begin: float, end: float) -> ShowProgress:
    """Return what shows all of something as the part of the whole work from one fraction to another."""
    return lambda stage, fraction: show(stage, begin + (end - begin) * fraction)


class Rounds:
    """Shows a part of the work in rounds, of which nobody knows how many there will be.

    Each takes the same share of what is left, so that it goes on, and never beyond the end.
    """

    def __init__(self, show: ShowProgress, part: str) -> None:
        self._show, self._part = show, part
        self._left = 1.0
        self._is_begun = False

    def begin(self, stage: str, fraction: float = 0.0) -> None:
        """Begin a round: a `ShowProgress` that is called once a round."""
        self._left *= 1 - _SHARE_OF_ROUND * self._is_begun
        self._is_begun = True
        self.show(stage, fraction)

    def show(self, stage: str, fraction: float) -> None:
        """Show what is going on in a round: a `ShowProgress` whose fractions are those of the round."""
        done = 1 - self._left * (1 - _SHARE_OF_ROUND * fraction)
        self._show(stage, at(self._part, done))


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
