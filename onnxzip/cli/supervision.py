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

import onnxzip
from onnxzip.cli.arguments import parse
from onnxzip.cli.stopping import EXIT_SIGNAL, WORDS
from onnxzip.cli.terminal import print_error
from onnxzip.errors import OnnxzipError

EXIT_CRASHED = 1
"""Like any other input that cannot be used."""

_SENT_BY_KERNEL = 0x80
"""siginfo.h's SI_KERNEL: Ctrl-C, or a terminal that is closed, which the child is told by itself."""


def supervised() -> int | None:
    """Split in two: return None in the child, which does the work, its exit code in the parent.

    Where the system has no such thing, there is no child, and the answer is None as well; likewise
    where the pipeline is loaded already: a child would wait in vain for the threads of its libraries.
    """
    if sys.platform != "linux" or "pipeline" in vars(onnxzip):
        return None
    waited_for = {signal.SIGCHLD, *WORDS}
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # BLAS has threads, which it stops for this
        child = os.fork()
    if child:
        return _wait(child, waited_for)
    from onnxzip.runtime.apart import die_with_parent

    die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    return None


def _wait(child: int, waited_for: set[signal.Signals]) -> int:
    """Hand signals on until the child has ended, and return its exit code."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        found = signal.sigwaitinfo(waited_for)
        if found.si_signo in WORDS and found.si_code != _SENT_BY_KERNEL:
            os.kill(child, found.si_signo)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if -code in WORDS:  # before the child could answer to it: nothing was begun
        print_error(WORDS[signal.Signals(-code)])
        return EXIT_SIGNAL - code
    print_error(_crash(-code))
    return EXIT_CRASHED


def _crash(number: int) -> str:
    """Say what ended the child, and what to do."""
    try:
        source = f"{parse(sys.argv[1:]).source}: "
    except OnnxzipError:  # it was not even read
        source = ""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        return f"{source}the work was ended from outside ({name}); did memory run out? free some"
    return (
        f"{source}the work ended in a crash ({name}), most likely of onnxruntime; "
        "try another version of it"
    )
