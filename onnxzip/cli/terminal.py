"""What is shown on a terminal or in a pipe: tables on stdout, progress and one-line errors on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from onnxzip.progress import ShowProgress
from onnxzip.records.printable import printable

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
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=1.0)
        yield lambda stage, fraction: bars.update(task, description=escape(stage), completed=fraction)


def print_table(content: RenderableType) -> None:
    """Print to stdout; a reader that has gone away (`| head`) is no error, the work is done.

    What is not a terminal has no width: lines stay whole, so that they can be searched.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(content)
    encoding = sys.stdout.encoding or "utf-8"
    text = captured.get().encode(encoding, "replace").decode(encoding)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(message: str) -> None:
    """Print one line to stderr."""
    with suppress(BrokenPipeError):
        print(f"onnxzip: {printable(' '.join(message.split()))}", file=sys.stderr)
