"""What ends a run from outside: Ctrl-C, SIGTERM, and SIGHUP, when its terminal is closed.

A run that is ended leaves OUT as it was and no temporary file. From the moment when files are put in
their places it is too late for that: the run then comes to its end, which is near, and to exit status 0.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from types import FrameType

EXIT_SIGNAL = 128
"""Added to the number of the signal that ended the work, as shells do."""

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""What is said of a run that a signal ended."""

if hasattr(signal, "SIGHUP"):  # Windows has none
    WORDS[signal.SIGHUP] = "hung up"


class Stopped(KeyboardInterrupt):
    """A signal came; like Ctrl-C it is no Exception, so that nothing takes it for a failure."""

    def __init__(self, number: signal.Signals = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number

    @property
    def word(self) -> str:
        """What happened to the run."""
        return WORDS[self.number]


class _State(Enum):
    WORKING = auto()
    REPLACING = auto()
    DONE = auto()
    STOPPED = auto()


class Stops:
    """How far a run is, which says what a signal does to it.

    While it works, a signal raises Stopped. While files are put in their places, and after a first
    signal, nothing happens. When all is done and only told, it raises Stopped again.

    Attributes:
        is_process: whether the process ends with the run.
    """

    def __init__(self, *, is_process: bool = False) -> None:
        self.is_process = is_process
        self._state = _State.WORKING
        self._stopped: Stopped | None = None

    @property
    def stopped(self) -> Stopped | None:
        """What was raised in a run that was not done, whatever a library has made of it since.

        A module in C that is being imported turns it into an ImportError.
        """
        return self._stopped

    @property
    def is_done(self) -> bool:
        """Whether files were put in their places."""
        return self._state is _State.DONE

    def hold(self) -> None:
        """Let nothing stop the run from here on: files are put in their places."""
        self._state = _State.REPLACING

    def release(self) -> None:
        """All files are in their places."""
        self._state = _State.DONE

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop the run if it may be stopped."""
        if self._state is _State.WORKING:
            self._state = _State.STOPPED
            self._stopped = Stopped(signal.Signals(number))
            raise self._stopped
        if self._state is _State.DONE:
            raise Stopped(signal.Signals(number))


@contextmanager
def stoppable(*, is_process: bool) -> Iterator[Stops]:
    """Let signals stop what runs in the block.

    Args:
        is_process: whether the process ends with the block: a signal must not change the exit status of
            a run that is done while the interpreter shuts down.
    """
    stops = Stops(is_process=is_process)
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield stops
        return
    before = {number: signal.getsignal(number) for number in WORDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, stops.on_signal)
    try:
        yield stops
    finally:
        for number, handler in before.items():
            is_over = is_process and stops.is_done
            signal.signal(number, signal.SIG_IGN if is_over or handler is None else handler)


@contextmanager
def deaf() -> Iterator[None]:
    """Keep signals that stop the work waiting; so does a process that is started in the block.

    A thread that hears one, be it of a library, lets this one run the handler all the same: it is run
    when the block is left.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    heard: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WORDS)
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in WORDS}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda told, _: heard.append(told))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for told in heard[:1]:
            os.kill(os.getpid(), told)


def listen() -> None:
    """Let signals that stop the work come in, those that have waited at once."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WORDS)
