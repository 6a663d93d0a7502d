"""What is known of work in progress, for whoever shows it."""

from __future__ import annotations

import time

from onnxzip.cli.progress.estimate import TimeLeft, clock, worded
from onnxzip.records.printable import printable


class Work:
    """What is going on, how much is done, how long it takes.

    Attributes:
        stage: what is going on, in a few words.
        fraction: share of the work done, 0 ... 1, which never falls; None where nobody knows.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.fraction: float | None = None
        self._began = time.monotonic()
        self._left = TimeLeft()

    def show(self, stage: str, fraction: float) -> None:
        """Note what is going on and how much is done: a `ShowProgress`."""
        self.stage = printable(stage)
        self.fraction = max(self.fraction or 0.0, min(fraction, 1.0))
        self._left.step(self.elapsed_s, self.fraction)

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def percent(self) -> str:
        """The share done, e.g. "27%", never all of it; "" where it is not known."""
        return "" if self.fraction is None else f"{min(int(100 * self.fraction), 99)}%"

    @property
    def time_left(self) -> str:
        """How long the rest takes, in words; "" as long as that cannot be known."""
        return worded(self._left.seconds(self.elapsed_s))

    def line(self) -> str:
        """Return all of it on one line."""
        parts = (self.percent, clock(self.elapsed_s), self.stage, self.time_left)
        return ", ".join(filter(None, parts))
