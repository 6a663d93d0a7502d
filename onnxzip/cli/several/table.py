"""Lines of a run on several models: all of one shape, though none knows what comes behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from onnxzip.cli.several.jobs import Job
from onnxzip.cli.several.workers import Outcome
from onnxzip.records.printable import printable
from onnxzip.report.numbers import format_bytes, format_ratio
from onnxzip.report.tables.folding import folded_in_the_middle

_RATIO = 8
"""Columns of a ratio, "1234.56x"."""

_LEAST_NAME = 12
"""Columns that a name has at least: in fewer it cannot be known."""

_LONGEST_VERDICT = len("passed, with doubts")


class LineTable:
    """Makes a line of each model."""

    def __init__(self, jobs: Sequence[Job], width: int | None) -> None:
        """Settle the columns.

        Args:
            jobs: all of them.
            width: columns of the terminal; None for a pipe, whose lines stay whole.
        """
        self._n_bytes = max(len(format_bytes(job.n_bytes)) for job in jobs)
        self._has_before = True
        longest = max(len(printable(job.name)) for job in jobs)
        self._n_name = longest
        if width is not None:
            room = width - self._n_numbers()
            if room < min(longest, _LEAST_NAME):
                self._has_before = False
                room = width - self._n_numbers()
            self._n_name = min(longest, max(room, _LEAST_NAME))

    def _n_numbers(self) -> int:
        """Return the columns of all but the name."""
        n_before = self._n_bytes + 4 if self._has_before else 0
        return 2 + n_before + self._n_bytes + 2 + _RATIO + 2 + _LONGEST_VERDICT

    def line(self, name: str, outcome: Outcome) -> str:
        """Return the line of one model."""
        cells = [folded_in_the_middle(printable(name), self._n_name).ljust(self._n_name)]
        before = format_bytes(outcome.n_before) if outcome.n_before else "-"
        after = format_bytes(outcome.n_after) if outcome.n_after else "-"
        numbers = f"{before:>{self._n_bytes}} -> " if self._has_before else ""
        numbers += f"{after:>{self._n_bytes}}"
        cells += [numbers, f"{format_ratio(outcome.n_before, outcome.n_after):>{_RATIO}}"]
        return "  ".join([*cells, outcome.verdict]).rstrip() + "\n"


def summary(outcomes: Sequence[Outcome], n_models: int, left_out: tuple[int, int], took: str) -> str:
    """Return the last line: how many models, and bytes of those that were compressed.

    Args:
        outcomes: of those that were begun and came to an end.
        n_models: how many there are.
        left_out: files left out as they are compressed already, and as they are no models.
        took: how long it took, in words.
    """
    done = [outcome for outcome in outcomes if outcome.n_after]
    before, after = sum(o.n_before for o in done), sum(o.n_after for o in done)
    failed = Counter(outcome.verdict for outcome in outcomes if not outcome.n_after)
    n_small, n_others = left_out
    sizes = f": {format_bytes(before)} -> {format_bytes(after)}, {format_ratio(before, after)}"
    parts = [
        f"{len(done)} of {n_models} models compressed" + (sizes if done else ""),
        *(f"{n} {verdict}" for verdict, n in failed.most_common()),
        f"{n_small} compressed already, left out" if n_small else "",
        f"{n_others} other file{'s' * (n_others > 1)} left out" if n_others else "",
        took,
    ]
    return "; ".join(filter(None, parts)) + "\n"
