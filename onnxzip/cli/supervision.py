"""Lets a child do the work of the command line, so that its crash is one line and not silence.

onnxruntime may end the process it is in: kernels divide by zero, and the system ends whoever takes the
last of its memory. The parent has loaded next to nothing, and only waits. Linux only: elsewhere what
libraries do at a fork is not to be relied on, and the command line works without.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import onnxzip
from onnxzip.cli.arguments import Request, parse
from onnxzip.cli.stopping import EXIT_SIGNAL, WORDS
from onnxzip.cli.streams import write_error
from onnxzip.cli.terminal import print_error
from onnxzip.errors import OnnxzipError

EXIT_CRASHED = 1
"""Like any other input that cannot be used."""

EXIT_HELD = 99
"""Of a process that holds more memory than it may, and cannot be stopped otherwise: what else ends with
this code is told likewise."""

_ANSWERED = b"."
"""What the child writes when the work has come to its end: any library may call exit(0)."""

_EXIT_LOADER = 127
"""What glibc's loader ends a process with when it has no memory for a library (_dl_signal_error)."""

_MOST_OF_IT = 0.9
"""Share of its CPU time at which a killed process has used it up: the kernel ends it by other clocks."""

_CLEAN_LINE = "\r\x1b[K\x1b[?25h"
"""Goes to the beginning of a terminal's line, clears it, shows the cursor (ECMA-48, and DEC's ?25h)."""

_SENT_BY_KERNEL = 0x80
"""siginfo.h's SI_KERNEL: Ctrl-C, or a terminal that is closed, which the child is told by itself."""


def supervised(work: Callable[[], int]) -> int:
    """Let a child do the work, and return its exit code, in the child and in the parent alike.

    Where the system has no such thing, there is no child, and the work is done here; likewise where the
    pipeline is loaded already: a child would wait in vain for the threads of its libraries.

    Args:
        work: returns its exit code.

    Raises:
        OSError: there is no process, or no file descriptor, to be had.
    """
    if sys.platform != "linux" or "pipeline" in vars(onnxzip):
        return work()
    from onnxzip.runtime.apart import die_with_parent

    answered, answer = os.pipe()
    waited_for = {signal.SIGCHLD, *WORDS}
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # BLAS has threads, which it stops for this
        child = os.fork()
    if child:
        os.close(answer)
        return _wait(child, waited_for, answered)
    die_with_parent(parent)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # until the work has its own,
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # SIGINT ends the child, and the parent says so
    signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    try:
        return work()
    finally:  # --help leaves by an exception
        os.write(answer, _ANSWERED)


def _wait(child: int, waited_for: set[signal.Signals], answered: int) -> int:
    """Hand signals on until the child has ended, and return its exit code.

    Args:
        child: its process number.
        waited_for: signals that are blocked.
        answered: a pipe that holds `_ANSWERED` where the work came to its end.
    """
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        found = signal.sigwaitinfo(waited_for)
        if found.si_signo in WORDS and found.si_code != _SENT_BY_KERNEL:
            os.kill(child, found.si_signo)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0 and _is_answered(answered):
        return code
    if -code in WORDS:  # before the child could answer to it: nothing was begun
        print_error(WORDS[signal.Signals(-code)])
        return EXIT_SIGNAL - code
    if sys.stderr.isatty():
        write_error(_CLEAN_LINE)  # what was drawn there is left as it was
    request = _request()
    if request is not None:
        tidy(request)
    source = "" if request is None else f"{request.source}: "
    print_error(source + describe_ending(code, usage.ru_utime + usage.ru_stime))
    return EXIT_CRASHED


def _is_answered(answered: int) -> bool:
    """Whether the child has come to the end of its work; what it has started may live on."""
    os.set_blocking(answered, False)
    try:
        return os.read(answered, 1) == _ANSWERED
    except BlockingIOError:
        return False


def _request() -> Request | None:
    """Return what was asked for, None where not even that could be read."""
    try:
        return parse(sys.argv[1:])
    except OnnxzipError:
        return None


def tidy(request: Request) -> None:
    """Remove the temporary files of a child that could not; it holds their locks no longer."""
    from onnxzip.disk.replacing import real_place
    from onnxzip.disk.temporary import remove_abandoned

    remove_abandoned(Path(tempfile.gettempdir()))
    for path in (request.output, request.report):
        if isinstance(path, Path):
            with suppress(OnnxzipError):  # a link in a circle
                remove_abandoned(real_place(path).parent)


def give_up() -> NoReturn:
    """End this process, which holds more memory than it may; who waits for it says so, and tidies up."""
    os._exit(EXIT_HELD)


def describe_ending(code: int, cpu_s: float = 0.0) -> str:
    """Say what ended the child, and what to do.

    Args:
        code: its exit code, below 0 a signal.
        cpu_s: the CPU time it took, in seconds, where that is known.
    """
    if code == _EXIT_LOADER:
        return "memory ran out while a library was loaded; free some"
    if code == EXIT_HELD:
        return (
            "the run came to hold more than --max-memory; allow more, or pass fewer or smaller samples "
            "with --calibration"
        )
    if code >= 0:
        return (
            f"a library that the work calls ended its process (exit code {code}); see what the metric "
            "or the library of custom operators does"
        )
    import resource  # Windows has none

    number = -code
    limit = resource.getrlimit(resource.RLIMIT_CPU)[number == signal.SIGKILL]  # soft: SIGXCPU
    is_limited = number in (signal.SIGKILL, signal.SIGXCPU) and limit != resource.RLIM_INFINITY
    if is_limited and cpu_s >= _MOST_OF_IT * limit:
        return f"the work took all of the {limit} s of CPU time it may take; allow more (ulimit -t)"
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        return f"the work was ended from outside ({name}); did memory run out? free some"
    return f"the work ended in a crash ({name}), most likely of onnxruntime; try another version of it"
