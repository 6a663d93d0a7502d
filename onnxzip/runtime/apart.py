"""Runs a task in a process of its own, with limits, and says in a few words how that was lost.

What onnxruntime does with a model that anybody may have made - run for ever, fill the memory, divide by
zero - ends that process, not ours. The process is a fresh Python: not forked, as onnxruntime has threads
here, and it does not run the caller's main module again. On Linux it ends with ours, even by SIGKILL;
there and on macOS its CPU time is limited, on Linux its memory too, everywhere its wall-clock time.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from onnxzip.runtime.apart import serve; serve(*map(int, sys.argv[2:]))"
)
_ALIGNMENT = 64
"""Arrays begin on a cache line, as onnxruntime's kernels like them."""

_OUT_OF_MEMORY, _FAILED = 3, 4
"""Exit codes of the process: they must be none that Python itself ends with."""

_WALL_S, _WALL_FACTOR = 60, 20
"""Seconds, and seconds for each of CPU time, after which a process hangs: others may have the cores."""

_WATCH_S = 1.0
"""Between two looks for a parent: nothing to a processor, and little to whoever waits."""

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal that comes when the parent ends."""

_MEMORY_WORDS = ("bad_alloc", "Failed to allocate", "out of memory", "Cannot allocate")
"""What onnxruntime's exceptions say where memory runs out."""


class LostProcessError(Exception):
    """The process returned nothing; the message says what it did, without a subject."""


@dataclass(frozen=True)
class Limits:
    """What a task may use.

    Attributes:
        cpu_s: seconds of CPU time, of all its threads together, from the start of the task itself.
        n_bytes: memory beyond what the modules and the arguments of the task take; None for any.
        wall_s: seconds until it is given up; by default so many that others may have the cores.
    """

    cpu_s: int
    n_bytes: int | None = None
    wall_s: int | None = None

    @property
    def patience_s(self) -> int:
        """Seconds of wall-clock time after which the process hangs."""
        return _WALL_S + _WALL_FACTOR * self.cpu_s if self.wall_s is None else self.wall_s


def run_apart(limits: Limits, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a task in a process of its own and return what it returns; arrays are mapped, not copied.

    Args:
        limits: what it may use.
        task: a function of a module, not of a class or another function.
        args: pickled, like the task's result.
        kwargs: likewise.

    Raises:
        LostProcessError: the process crashed, or met a limit.
        OSError: no process can be started, or there is no place for a temporary file.
        Exception: what the task raises.
    """
    (result,) = _answers(limits, (task, args, kwargs))
    return cast(T, result)


def collect_apart(
    limits: Limits, task: Callable[P, Iterator[T]], *args: P.args, **kwargs: P.kwargs
) -> list[T]:
    """Run a task in a process of its own and return all that it yields; see `run_apart`.

    The process forgets what was yielded before it goes on, and arrays are mapped: neither it nor the
    caller has all of them in memory.
    """
    return cast(list[T], _answers(limits, (task, args, kwargs)))


def _answers(limits: Limits, what: tuple[Callable[P, object], object, object]) -> list[object]:
    """Return all that a task, with its arguments, returns or yields in a process of its own."""
    with _told_of(), tempfile.TemporaryFile() as request, tempfile.TemporaryFile() as answer:
        _write(request, what)
        n_bytes = -1 if limits.n_bytes is None else limits.n_bytes
        numbers = [os.getpid(), limits.cpu_s, n_bytes]
        command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), *map(str, numbers)]
        request.seek(0)
        process = subprocess.Popen(command, stdin=request, stdout=answer, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=limits.patience_s)
        except subprocess.TimeoutExpired as error:
            raise LostProcessError(_overdue(limits)) from error
        finally:
            process.kill()
            process.communicate()
        code = process.returncode
        if code not in (0, _FAILED):
            raise LostProcessError(_ending(code, limits))
        results = _read(answer)
    if code == _FAILED:
        raise cast(Exception, results[-1])
    return results


@contextmanager
def _told_of() -> Iterator[None]:
    """Let an error that a file without a name has no room be told of the folder that it lies in."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG):
            raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error
        raise


_TOO_LONG = "is not done after {} s of CPU time"


def _overdue(limits: Limits) -> str:
    if limits.wall_s is None:
        return _TOO_LONG.format(limits.cpu_s)
    return f"is not done after {limits.wall_s} s"


def _ending(code: int, limits: Limits) -> str:
    """Say how a process ended that returned nothing."""
    if code == _OUT_OF_MEMORY:
        return f"needs more than {limits.n_bytes or 0:,} bytes of memory, or than there are"
    if code == -getattr(signal, "SIGXCPU", 0):
        return _TOO_LONG.format(limits.cpu_s)
    if code == -getattr(signal, "SIGKILL", 0):
        return "was ended by the system, which is out of memory"
    if -code in set(signal.Signals):
        return f"makes onnxruntime crash ({signal.Signals(-code).name})"
    return f"ends the process that runs it (exit code {code})"


def serve(parent: int, cpu_s: int, n_bytes: int) -> None:
    """Do what stands on stdin, and write to stdout what came of it: the main function of the process.

    Args:
        parent: the process that waits for it.
        cpu_s: see `Limits`.
        n_bytes: likewise; -1 for any.
    """
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    die_with_parent(parent)
    _limit("CORE", 0)
    with os.fdopen(0, "rb", closefd=False) as request:
        (what,) = _read(request)
    task, args, kwargs = cast(tuple[Callable[..., object], Sequence[object], dict[str, object]], what)
    _limit("CPU", math.ceil(time.process_time()) + cpu_s)
    if n_bytes >= 0:
        _limit("AS", _n_bytes_in_use() + n_bytes)
    code = 0
    try:
        result = task(*args, **kwargs)
        results = result if isinstance(result, Iterator) else iter((result,))
        deque(map(partial(_write, answer), results), 0)  # which holds nothing of what is written
    except MemoryError:
        code = _OUT_OF_MEMORY
    except Exception as error:
        is_memory = n_bytes >= 0 and any(word in str(error) for word in _MEMORY_WORDS)
        code = _OUT_OF_MEMORY if is_memory else _FAILED
        if code == _FAILED:
            _write(answer, error)
    os._exit(code)  # nothing is left to do, and destructors of libraries are known to crash


def die_with_parent(parent: int) -> None:
    """End this process when its parent ends, where the system can: Linux.

    Args:
        parent: the parent's id; if that has ended already, nobody waits for what is done here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def end_with(parent: int) -> None:
    """End this process, one of a pool, soon after its parent: the initializer of such pools.

    A pool is no child for `die_with_parent`: it may outlive the thread that started it.

    Args:
        parent: the process that made the pool.
    """

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _limit(name: str, value: int) -> None:
    """Limit a resource of this process, where the system knows it, at most as it is limited already."""
    try:
        import resource
    except ImportError:  # Windows
        return
    kind = getattr(resource, f"RLIMIT_{name}")
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard))


def _n_bytes_in_use() -> int:
    """Return the size of this process's address space; without /proc a limit holds nothing anyway."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:
        return 1 << 40


def _write(file: IO[bytes], value: object) -> None:
    """Write a value: the sizes of its parts, the pickle, then the arrays, each on a line of its own."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    sizes = json.dumps([part.nbytes for part in parts]).encode() + b"\n"
    file.write(sizes)
    file.write(bytes(-len(sizes) % _ALIGNMENT))
    for part in parts:
        file.write(part)
        file.write(bytes(-part.nbytes % _ALIGNMENT))
    file.flush()


def _read(file: IO[bytes]) -> list[object]:
    """Read all values that `_write` wrote; arrays stay in the file, read-only."""
    if not os.fstat(file.fileno()).st_size:
        return []
    mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    values: list[object] = []
    position = 0
    while position < len(mapping):
        end = mapping.find(b"\n", position) + 1
        sizes = json.loads(mapping[position:end])
        position = end + -end % _ALIGNMENT
        parts = []
        for size in sizes:
            parts.append(memoryview(mapping)[position : position + size])
            position += size + -size % _ALIGNMENT
        values.append(pickle.loads(parts[0], buffers=parts[1:]))
    return values
