"""The standard streams as a run finds them: closed, full, or with a reader that has gone away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from onnxzip.disk.named_bytes import NamedBytes
from onnxzip.errors import ModelError, OutputError, UsageError, reason_of


def open_streams() -> None:
    """Give streams that are closed a place, or the next file that is opened would be taken for one.

    What is written to stdout fails there, as POSIX asks of a closed stream (gnulib does the same in
    stdopen); what is written to stderr nobody wants. Processes that are started have the streams too:
    a Python without stderr has None in its place, which libraries do not expect.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = _writer(1)
    if sys.stderr is None:
        sys.stderr = _writer(2)


def _writer(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", errors="replace", closefd=False)


@contextmanager
def hushed() -> Iterator[None]:
    """Let nothing that is loaded in the block write to stderr.

    Libraries that find no memory say so, and some end the process: what happened is told by whoever
    waits for it, in one line.
    """
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def write_output(text: str) -> None:
    """Write to stdout; a reader that has gone away (`| head`) is no error.

    Raises:
        OutputError: stdout is closed or full.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_rest(sys.stdout)
    except OSError as error:
        _drop_rest(sys.stdout)
        raise OutputError(
            f"standard output: {error.strerror or error}; send it where there is room, or to /dev/null"
        ) from error


def read_input(name: str) -> NamedBytes:
    """Read all of stdin, a model.

    Args:
        name: what to call it.

    Raises:
        UsageError: a person would have to type it.
        ModelError: nothing came, or it cannot be read.
    """
    if os.isatty(0):
        raise UsageError(f"{name} is a terminal; send a model there: onnxzip - OUT < model.onnx")
    try:
        with open(0, "rb", closefd=False) as stream:
            data = stream.read()
    except OSError as error:
        raise ModelError(f"{name}: cannot be read; {reason_of(error)}") from error
    if not data:
        raise ModelError(f"{name}: is empty; see whether what should write there failed")
    return NamedBytes(data, name)


def check_binary(name: str) -> None:
    """Refuse to write a model to stdout where that is a terminal.

    Raises:
        UsageError: it is one.
    """
    if sys.stdout.isatty():
        raise UsageError(f"{name} is a terminal; send the model to a file: onnxzip IN - > OUT")


def write_model(data: bytes, name: str) -> None:
    """Write a model to stdout, where half of one is of no use to anybody.

    Raises:
        OutputError: stdout is closed or full, or its reader has gone away.
    """
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _drop_rest(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise OutputError(f"{name}: its reader has gone away; see why that ended") from error
        raise OutputError(f"{name}: cannot be written; {reason_of(error)}") from error


def write_error(text: str) -> None:
    """Write to stderr; where that is not possible there is nobody to tell."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _drop_rest(sys.stderr)


def _drop_rest(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere: Python would write it at its end, and exit with 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
