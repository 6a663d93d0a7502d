"""Everything onnxzip raises on purpose.

    OnnxzipError
    ├── InputError             bad input; exit 1
    │   ├── ModelError         the model file: unreadable, invalid, unsupported
    │   ├── CalibrationError   calibration arrays, labels, metric
    │   ├── ProviderError      an execution provider or custom operator is missing
    │   └── OutputError        the output cannot be written
    ├── VerificationError      the rewritten graph is not the graph that was planned; exit 1
    ├── UsageError             arguments that contradict each other; exit 2
    └── ToleranceError         no smaller file meets the tolerance; exit 3

Every message is one line that names the place, the finding and the next step. A setting stands in
backticks in it, `target_size`, and is worded as the interface calls it that was used: target_size, or
--target-size.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from onnxzip.records.printable import printable


class OnnxzipError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        """Return the message in the words of the Python interface."""
        return self.worded(lambda setting: setting)

    def worded(self, word: Callable[[str], str]) -> str:
        """Return the message with each setting as `word` words its name."""
        text = re.sub(r"`(\w+)`", lambda found: word(found[1]), super().__str__())
        return printable(re.sub(r"\s*[\r\n]+\s*", " ", text))


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


_WORDS = ("failed to map segment", "Cannot allocate memory", "cannot allocate memory")
"""What the loader of shared libraries says."""

_EXIT_BAD_INPUT = 1
"""As for every other run that memory is too small for."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, be it for a library that was to be loaded."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in _WORDS)


@contextmanager
def loading() -> Iterator[None]:
    """Load modules in the block; who imports onnxzip as a library gets the exception itself."""
    try:
        yield
    except (ImportError, MemoryError) as error:
        if not (_is_command() and is_out_of_memory(error)):
            raise
        sys.stderr.write("onnxzip: out of memory; free some, or use a machine with more\n")
        sys.stderr.flush()
        os._exit(_EXIT_BAD_INPUT)  # to tidy up may take memory as well


def _is_command() -> bool:
    """Whether this process was started as onnxzip, or as `python -m onnxzip`, which is being found."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    is_module = name == "-m" and "onnxzip" in sys.orig_argv
    return is_module or Path(name).name.removesuffix(".exe") == "onnxzip"
