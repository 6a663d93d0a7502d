"""Runs the command line in forked processes with limits: importing onnx and onnxruntime takes a second.

The process that forks must have no threads, so it makes no session itself.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxzip.listing
import onnxzip.pipeline
import onnxzip.report.terminal  # noqa: F401  (imported once, here, for all runs)
from onnxzip.cli.main import main

SPARE_BYTES = 6 << 30
"""Address space that a run may take beyond what it is forked with, so that it ends before others do."""
MAX_FILE_BYTES = 1 << 30
CPU_SECONDS, WALL_SECONDS = 60, 300
"""Inputs are a few KB: the longest honest run of them takes 30 s, where others have the cores 120."""

EXIT_CRASHED = 70
"""EX_SOFTWARE of sysexits.h: an exception that even the command line did not catch."""


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        code: the exit code; negative for the signal that ended it.
        out: what it printed to stdout.
        err: what it printed to stderr.
        cpu_seconds: of the process and those it waited for.
        peak_bytes: most memory that the process had resident, with 0.1 GB that it is forked with.
        is_late: whether it was ended for taking too long.
    """

    code: int
    out: str
    err: str
    cpu_seconds: float
    peak_bytes: int
    is_late: bool


def run_command(arguments: Sequence[object], folder: Path) -> Run:
    """Run the command line in a process of its own.

    Args:
        arguments: without the program's name.
        folder: its working directory; it must have a folder `tmp` for temporary files.
    """
    return run_forked(lambda: main([str(argument) for argument in arguments]), folder)


def run_forked(work: Callable[[], int], folder: Path) -> Run:
    """Run a function that returns an exit code in a process of its own, with limits."""
    streams = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        _be_the_child(work, folder, streams)
    is_late = not _ends_within(child, WALL_SECONDS)
    if is_late:
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    _end_group(child)
    code = os.waitstatus_to_exitcode(status)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in streams]
    for path in streams:
        path.unlink()
    seconds = usage.ru_utime + usage.ru_stime
    is_late = is_late or code == -signal.SIGXCPU
    return Run(code, texts[0], texts[1], seconds, usage.ru_maxrss * 1024, is_late)


def _ends_within(child: int, seconds: float) -> bool:
    handle = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(handle)


def _end_group(leader: int) -> None:
    """End what a run has started and left behind; a process pool ends a moment after its owner."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _be_the_child(work: Callable[[], int], folder: Path, streams: Sequence[Path]) -> None:
    code = EXIT_CRASHED
    try:
        os.setsid()
        for number, path in enumerate(streams, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
        faulthandler.disable()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread, as BLAS has
        _limit()
        code = work()
    except BaseException:  # whatever it is, it is reported, and the fork must not go on
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    n_bytes = pages * resource.getpagesize() + SPARE_BYTES
    for what, amount in (
        (resource.RLIMIT_AS, n_bytes),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        least = amount if most == resource.RLIM_INFINITY else min(amount, most)
        resource.setrlimit(what, (least, most))
