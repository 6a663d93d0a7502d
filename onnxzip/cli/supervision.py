"""Lets a child do the work of the command line, so that its crash is one line and not silence.

onnxruntime may end the process it is in: kernels divide by zero, and the system ends whoever takes the
last of its memory. The parent has loaded next to nothing, and only waits. Linux only: elsewhere what
libraries do at a fork is not to be relied on, and the command line works without.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable

import onnxzip
from onnxzip.cli.arguments import parse
from onnxzip.cli.stopping import EXIT_SIGNAL, WORDS
from onnxzip.cli.terminal import print_error
from onnxzip.errors import OnnxzipError

EXIT_CRASHED = 1
"""Like any other input that cannot be used."""

_ANSWERED = b"."
"""What the child writes when the work has come to its end: any library may call exit(0)."""

_SENT_BY_KERNEL = 0x80
"""siginfo.h's SI_KERNEL: Ctrl-C, or a terminal that is closed, which the child is told by itself."""


def supervised(work: Callable[[], int]) -> int:
    """Let a child do the work, and return its exit code, in the child and in the parent alike.

    Where the system has no such thing, there is no child, and the work is done here; likewise where the
    pipeline is loaded already: a child would wait in vain for the threads of its libraries.

    Args:
        work: returns its exit code.
    """
    if sys.platform != "linux" or "pipeline" in vars(onnxzip):
        return work()
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
    from onnxzip.runtime.apart import die_with_parent

    die_with_parent(parent)
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
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        found = signal.sigwaitinfo(waited_for)
        if found.si_signo in WORDS and found.si_code != _SENT_BY_KERNEL:
            os.kill(child, found.si_signo)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        if _is_answered(answered):
            return code
        print_error(
            f"{_source()}a library that the work calls ended its process (exit code {code}); see what "
            "the metric or the library of custom operators does"
        )
        return EXIT_CRASHED
    if -code in WORDS:  # before the child could answer to it: nothing was begun
        print_error(WORDS[signal.Signals(-code)])
        return EXIT_SIGNAL - code
    print_error(_crash(-code))
    return EXIT_CRASHED


def _is_answered(answered: int) -> bool:
    """Whether the child has come to the end of its work; what it has started may live on."""
    os.set_blocking(answered, False)
    try:
        return os.read(answered, 1) == _ANSWERED
    except BlockingIOError:
        return False


def _source() -> str:
    """Return the place of a message: the model's file, "" where not even that was read."""
    try:
        return f"{parse(sys.argv[1:]).source}: "
    except OnnxzipError:
        return ""


def _crash(number: int) -> str:
    """Say what ended the child, and what to do."""
    source = _source()
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        return f"{source}the work was ended from outside ({name}); did memory run out? free some"
    return (
        f"{source}the work ended in a crash ({name}), most likely of onnxruntime; "
        "try another version of it"
    )
