"""How long the rest of the work takes, from the rate at which it went so far."""

from __future__ import annotations

from collections import deque

_LEAST_S, _LEAST_FRACTION = 8.0, 0.1
"""Seconds and share of the work before which its rate says nothing: what comes first (reading, the first
run) goes at a rate of its own."""

_SOON_S, _NEARLY_DONE = 10, 0.95
"""Seconds below which "a few" are left, and the share of the work before which that is never said: a
search may well go on for longer."""

_SMOOTHING_S = 6.0
"""Seconds in which most of a change of the estimate is shown: it shall not jump with every step."""


class TimeLeft:
    """Estimates when work ends.

    The rate is that of all the work or that of its later half, whichever is slower: who waits would
    rather be done early. What is smoothed is the time at which the work ends, so that what is left falls
    by a second each second as long as nothing new is known.
    """

    def __init__(self) -> None:
        self._steps: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        self._end: float | None = None
        self._at = 0.0

    def step(self, elapsed_s: float, fraction: float) -> None:
        """Note how much of the work is done at a time since it began."""
        if fraction > self._steps[-1][1]:
            self._steps.append((elapsed_s, fraction))
        while len(self._steps) > 2 and self._steps[1][0] <= elapsed_s / 2:
            self._steps.popleft()

    def seconds(self, elapsed_s: float) -> float | None:
        """Return how many seconds are left, None as long as that cannot be known."""
        fraction = self._steps[-1][1]
        if elapsed_s < _LEAST_S or fraction < _LEAST_FRACTION:
            return None
        past_s, past = self._steps[0]
        late = (fraction - past) / max(elapsed_s - past_s, 1e-9)
        rate = min(fraction / elapsed_s, late)
        found = elapsed_s + (1 - fraction) / rate
        if self._end is None:
            self._end = found
        share = min((elapsed_s - self._at) / _SMOOTHING_S, 1.0)
        self._end += share * (found - self._end)
        self._at = elapsed_s
        return max(self._end - elapsed_s, 0.0 if fraction >= _NEARLY_DONE else float(_SOON_S))


def worded(seconds: float | None) -> str:
    """Return what is left as it may be believed: "about 2 min left"; "" where it is not known."""
    if seconds is None:
        return ""
    if seconds < _SOON_S:
        return "a few seconds left"
    if seconds < 55:
        return f"about {max(round(seconds / 10), 1) * 10} s left"
    if seconds < 55 * 60:
        return f"about {max(round(seconds / 60), 1)} min left"
    hours, minutes = divmod(round(seconds / 600) * 10, 60)
    return f"about {hours} h {minutes:02d} min left" if minutes else f"about {hours} h left"


def clock(seconds: float) -> str:
    """Return how long something has taken: "0:57", "1:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
