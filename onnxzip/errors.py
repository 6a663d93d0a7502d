"""Everything onnxzip raises on purpose.

    OnnxzipError
    ├── InputError             bad input; exit 1
    │   ├── ModelError         the model file: unreadable, invalid, unsupported
    │   ├── CalibrationError   calibration arrays, labels, metric
    │   ├── ProviderError      an execution provider or custom operator is missing
    │   ├── OutputError        the output cannot be written
    │   │   └── OutputExistsError  it exists, and may not be replaced
    │   ├── ClusterError       the cluster cannot be reached, is lost, or is not fit
    │   └── TrustError         a key, a signature or a sealed file does not hold what it should
    ├── VerificationError      the rewritten graph is not the graph that was planned; exit 1
    ├── UsageError             arguments that contradict each other; exit 2
    └── ToleranceError         no smaller file meets the tolerance; exit 3

Every message is one line that names the place, the finding and the next step. A setting stands in
backticks in it, `target_size`, and is worded as the interface calls it that was used: target_size, or
--target-size.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import ClassVar

from onnxzip.records.printable import printable

_LONGEST_WORD = 1000
"""Characters: more than a path or a name that anybody gave; a file may hold longer ones."""


def one_line(text: str) -> str:
    """Return a text as it stands in a message: one line without control characters or endless names."""
    line = printable(re.sub(r"\s*[\r\n]+\s*", " ", text))
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:200]}...{word[0][-100:]}", line)


class OnnxzipError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns.

    Args:
        finding: the message, or all of it but the next step.
        step: the next step, where another error that tells the finding has one of its own.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, finding: str, *, step: str = "") -> None:
        super().__init__(finding)
        self.finding = finding
        self._step = step

    def __str__(self) -> str:
        """Return the message in the words of the Python interface."""
        return self.worded(lambda setting: setting)

    def worded(self, word: Callable[[str], str]) -> str:
        """Return the message with each setting as `word` words its name."""
        text = re.sub(
            r"`(\w+)`", lambda found: word(found[1]), "; ".join(filter(None, (self.finding, self._step)))
        )
        return one_line(text)


class InputError(OnnxzipError):
    """Something the user handed in cannot be used."""


class ModelError(InputError):
    """The model cannot be read, is invalid, or uses something that is not supported."""


class CalibrationError(InputError):
    """Calibration arrays, labels or a metric do not fit the model."""


class ProviderError(InputError):
    """An execution provider or a custom-operator library is not available."""


class OutputError(InputError):
    """The output file cannot be written."""


class OutputExistsError(OutputError):
    """There is a file where the output goes, and it may not be replaced."""


class ClusterError(InputError):
    """A cluster cannot be reached, is lost, or has no workers that run what runs here."""


class TrustError(InputError):
    """A key cannot be used, a signature does not fit, or a sealed file does not open."""


class VerificationError(OnnxzipError):
    """The emitted graph does not compute what the plan says; nothing is written."""


class UsageError(OnnxzipError):
    """The arguments contradict each other."""

    exit_code: ClassVar[int] = 2


class ToleranceError(OnnxzipError):
    """No smaller file stays within the loss the user allowed.

    Attributes:
        report: the `Report` on the file that came nearest, which is not written; or None.
    """

    exit_code: ClassVar[int] = 3
    report: object = None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like a name, in whatever case; "" where none is like it."""
    import difflib  # of no use but for a mistake, and slow to load

    by_lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), by_lower, 1)
    return by_lower[found[0]] if found else ""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "did you mean X?" where one of the known names is like it, else the other text."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else otherwise


def path_advice(path: Path) -> str:
    """Return what to do about a path that leads nowhere: name a file there that is called like it."""
    try:
        beside = {
            other.stem: other for other in sorted(path.parent.iterdir()) if other.name != path.name
        }
    except OSError:
        return "check the path"
    near = nearest(path.stem, beside)
    return f"did you mean {beside[near]}?" if near else "check the path"


_SPACE = "free some space, or name a place that has more"
_RIGHTS = "get the right to it, or name another place"
_STEPS = {
    **dict.fromkeys((errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)), _SPACE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more of them (ulimit -n)"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP), "check the path"),
    errno.EEXIST: "see what lies there, or name another place",
    errno.EFBIG: "allow larger files (ulimit -f), or name a place that takes them",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EIO: "see whether the disk is sound",
}
"""What to do about what the system says (errno(3))."""


def reason_of(error: OSError) -> str:
    """Return what the system says, and what to do about it."""
    return f"{error.strerror or error}; {_STEPS.get(error.errno or 0, 'try again')}"


_WORDS = ("failed to map segment", "Cannot allocate memory", "cannot allocate memory")
"""What the loader of shared libraries says."""

_EXIT_BAD_INPUT = 1
"""As for every other run that memory is too small for."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, be it for a library that was to be loaded."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in _WORDS)


_ROOM = 1 << 27
"""Bytes of address space for numpy; the least that we do takes 180 MB on two cores."""

_ROOM_OF_SCIPY, _ROOM_OF_THREAD, _MAX_THREADS = 1 << 28, 40 << 20, 64
"""Bytes of address space for scipy and what is loaded with it, those for each thread of its OpenBLAS, a
buffer and a stack, and how many of them its wheels can have."""


def check_room(*, has_scipy: bool) -> None:
    """Raise MemoryError where there is too little address space for libraries that are to be loaded.

    OpenBLAS cannot do that: the one in numpy 2.4 ends the process with a line of its own, that in scipy
    1.17 tries for ever, and no signal that Python handles ends it.

    Args:
        has_scipy: whether scipy is among them, beside numpy.
    """
    n_threads = min(os.cpu_count() or 1, _MAX_THREADS)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if re.fullmatch("[1-9][0-9]?", found := os.environ.get(name, "")):
            n_threads = min(n_threads, int(found))
    try:
        mmap.mmap(-1, _ROOM_OF_SCIPY + n_threads * _ROOM_OF_THREAD if has_scipy else _ROOM).close()
    except OSError as error:
        raise MemoryError from error


_EXIT_INTERRUPTED = 128 + signal.SIGINT
"""As shells have it."""


@contextmanager
def loading() -> Iterator[None]:
    """Load modules in the block; who imports onnxzip as a library gets the exception itself.

    From here on Ctrl-C ends a command with one line, until its work answers to it.
    """
    try:
        if _is_command():
            _end_when_interrupted()
            check_room(has_scipy=False)
        yield
    except (ImportError, MemoryError) as error:
        if not (_is_command() and is_out_of_memory(error)):
            raise
        sys.stderr.write("onnxzip: out of memory; free some, or use a machine with more\n")
        sys.stderr.flush()
        os._exit(_EXIT_BAD_INPUT)  # to tidy up may take memory as well


def _end_when_interrupted() -> None:
    """Let Ctrl-C end this process at once, where it would print a traceback."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # nohup, or whoever embeds us
        return

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # stderr is closed
            os.write(2, b"onnxzip: interrupted\n")
        os._exit(_EXIT_INTERRUPTED)

    with suppress(ValueError):  # in a thread, which gets no signals
        signal.signal(signal.SIGINT, end)


def _is_command() -> bool:
    """Whether this process was started as onnxzip, or as `python -m onnxzip`, which is being found."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    is_module = name == "-m" and "onnxzip" in sys.orig_argv
    return is_module or Path(name).name.removesuffix(".exe") == "onnxzip"
