"""What is shown on a terminal or in a pipe: tables on stdout, progress and one-line errors on stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from onnxzip.cli.streams import write_error, write_output
from onnxzip.records.printable import printable
from onnxzip.records.progress import ShowProgress

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPE_WIDTH = 10_000
"""Columns: rich needs a number, and no line of a table is as long."""


@contextmanager
def show_progress(*, is_quiet: bool) -> Iterator[ShowProgress | None]:
    """Show a progress bar on stderr, when that is a terminal and -q is not given."""
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bars.add_task("starting", total=1.0)

    def show(stage: str, fraction: float) -> None:
        with suppress(OSError):  # the terminal was closed: the work goes on
            bars.update(task, description=escape(stage), completed=fraction)

    with suppress(OSError):
        bars.start()
    try:
        yield show
    finally:
        with suppress(OSError):
            bars.stop()


def render(content: RenderableType) -> str:
    """Return a table as text for stdout.

    What is not a terminal has no width: lines stay whole, so that they can be searched.
    """
    from rich.console import Console

    is_terminal, encoding = sys.stdout.isatty(), sys.stdout.encoding or "utf-8"
    width = None if is_terminal or "COLUMNS" in os.environ else _PIPE_WIDTH
    data = io.BytesIO()  # not stdout itself, which rich touches even while it captures
    file = io.TextIOWrapper(data, encoding, "replace", newline="", write_through=True)
    Console(file=file, width=width, highlight=False, force_terminal=is_terminal).print(content)
    return data.getvalue().decode(encoding)


def print_table(content: RenderableType) -> None:
    """Print to stdout.

    Raises:
        OutputError: stdout is closed or full.
    """
    write_output(render(content))


def print_error(message: str) -> None:
    """Print one line to stderr."""
    write_error(f"onnxzip: {printable(' '.join(message.split()))}\n")
