"""Compresses several models, tells of each in a line, and of all in the last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from onnxzip.cli.arguments import Request
from onnxzip.cli.progress.shown import shown
from onnxzip.cli.progress.work import Work
from onnxzip.cli.report_file import check_report
from onnxzip.cli.several.jobs import Found, Job, check_reports, find_jobs
from onnxzip.cli.several.table import LineTable, summary
from onnxzip.cli.several.workers import Outcome, run_all
from onnxzip.cli.stopping import Stops
from onnxzip.cli.streams import write_output
from onnxzip.cli.terminal import print_error, stdout_width, wrapped
from onnxzip.cli.trusting.passwords import with_password
from onnxzip.errors import OutputError, reason_of
from onnxzip.report.numbers import format_seconds

_SEVERITY = (0, 3, 1, 2)
"""Exit codes, the worst last: that a model cannot be made smaller is the least of what may be wrong."""


def compress_several(request: Request, stops: Stops) -> int:
    """Compress all models that are asked for; a failure of one stops no other.

    Returns:
        The exit code of the model with which it went worst.

    Raises:
        OnnxzipError: nothing can be begun.
    """
    request = with_password(request)
    assert isinstance(request.output, Path)
    began = time.monotonic()
    found = find_jobs(request.several, request.output, request.options.cache)
    folders = _make_folders(found.jobs)
    n_jobs, n_bytes = request.options.n_jobs, None
    if request.options.max_memory is not None:
        n_jobs, n_bytes = _shares_of_memory(request.options.max_memory, n_jobs, len(found.jobs))
    n_each = max(n_jobs // len(found.jobs), 1)
    requests = [job.request(request, n_each, n_bytes) for job in found.jobs]
    check_reports(found.jobs, [one.report for one in requests])
    for one in requests:
        if one.report is not None:
            check_report(one, one.report)
    work = Work(f"0/{len(found.jobs)} done")
    telling = _Telling(request, found, work)
    try:
        with shown(work, is_quiet=request.quiet) as pause:
            telling.pause = pause
            run_all(requests, n_jobs, telling.progress, telling.outcome)
    finally:
        _remove_empty(folders)
        if not request.quiet:
            took = format_seconds(time.monotonic() - began)
            text = summary(telling.outcomes, len(found.jobs), (found.n_small, found.n_others), took)
            write_output(wrapped(text))
    return worst_of([outcome.code for outcome in telling.outcomes])


def _shares_of_memory(limit: int, n_jobs: int, n_models: int) -> tuple[int, int]:
    """Return how many processes fit into so much memory, and what each model's run may hold.

    Args:
        limit: of all of them together, this process included.
        n_jobs: processes that are wanted.
        n_models: how many models there are.
    """
    from onnxzip.propose.room import n_fitting_processes
    from onnxzip.runtime.memory.held import held_bytes

    n_free = max(limit - held_bytes(), 1)
    n_processes = n_fitting_processes(n_jobs, n_free)
    return n_processes, n_free // min(n_processes, n_models)


def worst_of(codes: Sequence[int]) -> int:
    """Return the exit code of a run on several models."""
    return max(codes, key=_SEVERITY.index)


class _Telling:
    """Tells of the models in the order of their names, as soon as all before them are told of.

    Attributes:
        outcomes: of those that are done.
        pause: what is shown of work in progress makes way while the block runs.
    """

    def __init__(self, request: Request, found: Found, work: Work) -> None:
        self.outcomes: list[Outcome] = []
        self.pause: Callable[[], AbstractContextManager[None]] = nullcontext
        self._request, self._jobs, self._work = request, found.jobs, work
        self._lines = LineTable(found.jobs, stdout_width())
        self._fractions: dict[int, float] = {}
        self._ready: dict[int, Outcome] = {}
        self._n_told = 0

    def progress(self, place: int, stage: str, fraction: float) -> None:
        """Note how far a model is."""
        self._fractions[place] = fraction
        n_done, name = len(self.outcomes), self._jobs[place].name
        self._work.show(f"{n_done}/{len(self._jobs)} done, {name}: {stage}", self._fraction())

    def outcome(self, place: int, outcome: Outcome) -> None:
        """Note how it went with a model, and tell what can be told."""
        self._fractions[place] = 1.0
        self.outcomes.append(outcome)
        self._ready[place] = outcome
        self._work.show(f"{len(self.outcomes)}/{len(self._jobs)} done", self._fraction())
        while self._n_told in self._ready:
            self._tell(self._jobs[self._n_told].name, self._ready.pop(self._n_told))
            self._n_told += 1

    def _tell(self, name: str, outcome: Outcome) -> None:
        with self.pause():
            if not self._request.quiet:
                table = outcome.table if self._request.verbose else ""
                write_output(table + self._lines.line(name, outcome))
            for line in outcome.lines:
                print_error(line)

    def _fraction(self) -> float:
        """Return the share of the work that is done, by the bytes of the models."""
        sizes = [max(job.n_bytes, 1) for job in self._jobs]
        return sum(sizes[place] * done for place, done in self._fractions.items()) / sum(sizes)


def _make_folders(jobs: Sequence[Job]) -> list[Path]:
    """Make the folders that models go to, and return those that were not there, inner ones last.

    Raises:
        OutputError: one cannot be made.
    """
    made: list[Path] = []
    for folder in dict.fromkeys(job.output.parent for job in jobs):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            try:
                path.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"{path}: the folder cannot be made; {reason_of(error)}") from error
            made.append(path)
    return made


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders in which nothing came to lie."""
    for folder in reversed(folders):
        with suppress(OSError):  # it is not empty
            folder.rmdir()
