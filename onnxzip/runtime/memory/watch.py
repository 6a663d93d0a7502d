"""Looks at what a run holds of memory while it works, and ends it where that is more than it may."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onnxzip.errors import InputError, UsageError
from onnxzip.runtime.memory.held import held_bytes, is_known

_PAUSE_S = 0.02
"""Between two looks, each of which takes 0.2 ms: what grows by 5 GB a second is seen within 100 MB."""

_N_LOOKS_AGAIN = 25
"""After which the run is told again: a destructor may have swallowed the exception."""

_N_LOOKS_STUCK, _LEEWAY = 2, 1.05
"""Looks after which an exception should have got through, 40 ms, and what is too much for one that still
may: what is being tidied up takes no more."""

_LEAST_FREE = 64 << 20
"""Bytes that a run on any model needs beyond what its libraries hold (models/digits_cnn.onnx: 45 MB)."""


class _Exceeded(BaseException):
    """The run holds too much; no Exception, so that nothing takes it for a failure of the model."""


class MemoryWatch:
    """What a run holds, and may hold.

    Attributes:
        limit: bytes that it may hold; None for any.
        peak: most bytes that it held so far; 0 where the system does not tell.
    """

    def __init__(self, limit: int | None, give_up: Callable[[], object] | None = None) -> None:
        """See the class; nothing is looked at yet."""
        self.limit, self._give_up = limit, give_up
        self.peak = held_bytes()
        self._ends = limit is not None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True)

    @property
    def n_free(self) -> int | None:
        """Bytes that the run may still take; None for any."""
        return None if self.limit is None else max(self.limit - held_bytes(), 0)

    def has_room(self, n_bytes: int) -> bool:
        """Whether the run may take so much more."""
        n_free = self.n_free
        return n_free is None or n_bytes <= n_free

    def stop_ending(self) -> None:
        """End nothing any more: files are put in their places."""
        self._ends = False

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; an exception that is under way is dropped."""
        self._is_over.set()
        self._thread.join()
        _raise_in(threading.get_ident(), None)

    def _look(self, worker: int) -> None:
        """Look until it is over; raise an exception in a thread when there is too much."""
        n_over = 0
        while not self._is_over.wait(_PAUSE_S):
            held = held_bytes()
            self.peak = max(self.peak, held)
            if not self._ends or self.limit is None or held <= self.limit:
                n_over = 0
                continue
            if n_over % _N_LOOKS_AGAIN == 0:
                _raise_in(worker, _Exceeded)
            n_over += 1
            if n_over > _N_LOOKS_STUCK and held > _LEEWAY * self.limit and self._give_up is not None:
                self._give_up()


@contextmanager
def watched(limit: int | None, give_up: Callable[[], object] | None = None) -> Iterator[MemoryWatch]:
    """Look at what is held while the block runs, and end it where that is more than it may be.

    Args:
        limit: bytes; None for any.
        give_up: ends the process, where the run goes on to hold too much: no exception gets through to
            what runs no Python, the kernels of onnxruntime.

    Raises:
        UsageError: the system does not tell what is held.
        InputError: it is more than the limit, or would be with any model.
    """
    watch = MemoryWatch(limit, give_up)
    if limit is not None:
        _check(limit, watch.peak)
    watch.start()
    try:
        yield watch
    except _Exceeded as error:
        raise InputError(
            f"the run came to hold {in_mb(watch.peak)}, more than `max_memory` "
            f"{in_mb(limit or 0)}; allow more, or pass fewer or smaller samples with `calibration`"
        ) from error
    finally:
        watch.stop()


def in_mb(n_bytes: int) -> str:
    """Return a size as the option takes it, rounded up."""
    return f"{-(-n_bytes // 10**6)}MB"


def _check(limit: int, held: int) -> None:
    if not is_known():
        raise UsageError("`max_memory` is held on Linux only; leave it out")
    if limit < held + _LEAST_FREE:
        given = in_mb(limit) if limit >= 10**6 else f"{limit}B"
        raise InputError(
            f"`max_memory` {given} is too little: {in_mb(held)} are held before a model is read; allow "
            f"{in_mb(held + _LEAST_FREE)} or more"
        )


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in a thread as soon as it runs Python code; None drops one that waits."""
    what = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
