"""Shows work in progress as fits what stderr is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

from onnxzip.cli.progress.lines import Lines
from onnxzip.cli.progress.work import Work
from onnxzip.cli.terminal import print_error
from onnxzip.records.progress import ShowProgress

Pause: TypeAlias = Callable[[], AbstractContextManager[None]]
"""What is shown makes way for other lines in the block of what this returns."""


@contextmanager
def show_progress(*, is_quiet: bool, stage: str = "starting") -> Iterator[ShowProgress | None]:
    """Show on stderr how far the work in the block is; yield what is told of it, None with -q.

    Args:
        is_quiet: whether nothing is shown.
        stage: what is going on as long as nothing else is told.
    """
    work = Work(stage)
    with shown(work, is_quiet=is_quiet):
        yield None if is_quiet else work.show


@contextmanager
def shown(work: Work, *, is_quiet: bool) -> Iterator[Pause]:
    """Show on stderr how far work is while the block runs, unless `is_quiet`."""
    if is_quiet:
        yield nullcontext
    elif sys.stderr.isatty():
        from onnxzip.cli.progress.bar import bar

        with bar(work) as pause:
            yield pause
    else:
        with Lines(work, print_error):
            yield nullcontext
