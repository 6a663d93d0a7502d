"""Compresses models in processes of their own, several at a time: one that crashes stops no other.

A process is a fresh Python, as what libraries do at a fork is not to be relied on. What it finds, and
how far it is, comes through a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias

from onnxzip.cli.arguments import Request
from onnxzip.cli.messages import complete, explain
from onnxzip.cli.several.one import Told, compress_file
from onnxzip.cli.stopping import EXIT_SIGNAL, Stopped, deaf, listen, stoppable
from onnxzip.cli.streams import open_streams
from onnxzip.cli.supervision import EXIT_HELD, describe_ending, tidy
from onnxzip.errors import (
    InputError,
    OnnxzipError,
    OutputError,
    OutputExistsError,
    ToleranceError,
    UsageError,
)
from onnxzip.runtime.apart import die_with_parent

_PATIENCE_S = 20.0
"""For a process that was told to end to remove its temporary files."""

EXIT_BAD_INPUT = 1


@dataclass(frozen=True)
class Outcome:
    """How it went with one model.

    Attributes:
        code: the exit code that the model would have by itself.
        n_before: bytes of the model, 0 where they are not known.
        n_after: bytes of the compressed one, 0 where there is none.
        verdict: in a few words.
        lines: for stderr.
        table: for stdout, with -v.
    """

    code: int
    n_before: int = 0
    n_after: int = 0
    verdict: str = ""
    lines: tuple[str, ...] = ()
    table: str = ""


Event: TypeAlias = tuple[str, float] | Outcome
"""What comes through the pipe: what is going on and the fraction done, or how it went."""


def run_all(
    requests: Sequence[Request],
    n_at_a_time: int,
    on_progress: Callable[[int, str, float], None],
    on_outcome: Callable[[int, Outcome], None],
) -> None:
    """Do what is asked for of each model; where this is stopped, all its processes end.

    Args:
        requests: one for each model.
        n_at_a_time: how many processes there are at most.
        on_progress: called with a request's place, what is going on, and the fraction done.
        on_outcome: called with a request's place and how it went.
    """
    waiting = list(enumerate(requests))[::-1]
    running: dict[Connection, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_at_a_time:
                place, request = waiting.pop()
                started = _Running(place, request)
                running[started.pipe] = started
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                event = running[pipe].receive()
                if isinstance(event, Outcome):
                    on_outcome(running.pop(pipe).place, event)
                else:
                    on_progress(running[pipe].place, *event)
    finally:
        for left in running.values():
            left.process.terminate()
        for left in running.values():
            left.end()


class _Running:
    """A process that compresses a model, and the end of the pipe from which is read how it goes."""

    def __init__(self, place: int, request: Request) -> None:
        self.place, self._request = place, request
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe(duplex=False)
        self.process: SpawnProcess = context.Process(target=_work, args=(request, other, os.getpid()))
        if sys.platform != "win32":  # the first start would start it, and unblock signals for that
            resource_tracker.ensure_running()
        with deaf():  # stopped halfway, it would print a traceback; it listens when it has handlers
            self.process.start()
        other.close()

    def receive(self) -> Event:
        """Return the next thing that the process tells; its last is how it went."""
        try:
            event: Event = self.pipe.recv()
        except (EOFError, OSError):
            return self._crashed()
        if isinstance(event, Outcome):
            self.end()
        return event

    def end(self) -> None:
        """Wait until the process has ended, and end it where that takes long."""
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            tidy(self._request)
        self.pipe.close()

    def _crashed(self) -> Outcome:
        self.end()
        tidy(self._request)
        code = self.process.exitcode or 0
        ending, verdict = describe_ending(code), "out of memory" if code == EXIT_HELD else "crashed"
        return Outcome(EXIT_BAD_INPUT, verdict=verdict, lines=(f"{self._request.source}: {ending}",))


def _work(request: Request, pipe: Connection, parent: int) -> None:
    """Compress one model: the main function of a process."""
    die_with_parent(parent)
    open_streams()

    def show(stage: str, fraction: float) -> None:
        pipe.send((stage, fraction))

    with suppress(BrokenPipeError), stoppable(is_process=True) as stops:
        try:
            listen()
            outcome = _outcome(compress_file(request, stops, show))
        except KeyboardInterrupt as error:
            outcome = _stopped(error if isinstance(error, Stopped) else Stopped())
        except (Exception, SystemExit) as error:
            outcome = (
                _failure(error, request, is_done=stops.is_done)
                if stops.stopped is None
                else _stopped(stops.stopped)
            )
        pipe.send(outcome)


def _outcome(told: Told) -> Outcome:
    from onnxzip.report.tables.verdicts import brief_verdict

    report = told.report
    verdict = brief_verdict(report.checks)
    return Outcome(0, report.bytes_before, report.bytes_after, verdict, told.lines, told.table)


def _stopped(stopped: Stopped) -> Outcome:
    return Outcome(EXIT_SIGNAL + stopped.number, verdict="stopped")


def _failure(error: Exception | SystemExit, request: Request, *, is_done: bool) -> Outcome:
    """Return what is told of a model that was not compressed, or whose report was not written."""
    if is_done:
        return Outcome(
            0,
            verdict="done, see warning",
            lines=(f"warning: {explain(error, request)}{complete(request)}",),
        )
    code = error.exit_code if isinstance(error, OnnxzipError) else EXIT_BAD_INPUT
    verdict = next((words for kind, words in _VERDICTS.items() if isinstance(error, kind)), "failed")
    return Outcome(code, verdict=verdict, lines=(explain(error, request),))


_VERDICTS: dict[type[OnnxzipError], str] = {
    OutputExistsError: "already there",
    OutputError: "not written",
    InputError: "bad input",
    UsageError: "not possible",
    ToleranceError: "not done",
}
"""What a line says of an error: the first kind that it is of."""
