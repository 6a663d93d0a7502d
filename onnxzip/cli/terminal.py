"""What is shown on a terminal or in a pipe: tables on stdout, one-line errors on stderr."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from onnxzip.cli.streams import write_error, write_output
from onnxzip.records.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPE_WIDTH = 10_000
"""Columns: rich needs a number, and no line of a table is as long."""


def render(content: RenderableType, *, on_stderr: bool = False) -> str:
    """Return a table as text for stdout, or stderr.

    What is not a terminal has no width: lines stay whole, so that they can be searched.
    """
    from rich.console import Console

    stream = sys.stderr if on_stderr else sys.stdout
    is_terminal, encoding = stream.isatty(), stream.encoding or "utf-8"
    width = None if is_terminal or "COLUMNS" in os.environ else _PIPE_WIDTH
    data = io.BytesIO()  # not stdout itself, which rich touches even while it captures
    file = io.TextIOWrapper(data, encoding, "replace", newline="", write_through=True)
    Console(file=file, width=width, highlight=False, force_terminal=is_terminal).print(content)
    return data.getvalue().decode(encoding)


def stdout_width() -> int | None:
    """Return the columns of the terminal that stdout is, None where it is none: lines stay whole."""
    is_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if is_narrow else None


def wrapped(text: str) -> str:
    """Return a line for stdout, broken between words where that is a terminal without room for it."""
    width = stdout_width()
    return text if width is None else textwrap.fill(text, width, break_long_words=False) + "\n"


def print_table(content: RenderableType) -> None:
    """Print to stdout.

    Raises:
        OutputError: stdout is closed or full.
    """
    write_output(render(content))


def print_error(message: str) -> None:
    """Print one line to stderr."""
    write_error(f"onnxzip: {printable(' '.join(message.split()))}\n")
