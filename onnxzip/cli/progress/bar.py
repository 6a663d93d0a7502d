"""Progress on a terminal: one line that is drawn anew ten times a second, and goes in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from onnxzip.cli.progress.estimate import clock
from onnxzip.cli.progress.work import Work
from onnxzip.report.tables.folding import folded_in_the_middle

_REFRESHES_PER_S = 10
"""What looks like motion."""

_LEAST_BAR, _MOST_BAR = 8, 40
"""Columns of the bar: shorter ones say nothing that the percents do not."""

_STAGE, _LONG_STAGE = 24, 34
"""Columns of what is going on, and where that is more: it has the same, or the bar would jump."""

_PERCENT, _CLOCK, _LEFT = 3, 5, 18
"""Columns of "27%", "12:34", "a few seconds left"."""


class _Line:
    """The line, as it stands at the moment when it is drawn."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._spinner = Spinner("dots")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the line; where it is narrow the bar goes, then what is going on is shortened."""
        work, width = self._work, options.max_width - 1  # a cursor behind the last column may wrap
        elapsed = clock(work.elapsed_s)
        right = f"{work.percent:>{_PERCENT}}  {elapsed:>{_CLOCK}}  {work.time_left:<{_LEFT}}".rstrip()
        room = width - _GAP - (_PERCENT + _CLOCK + _LEFT + 2 * _GAP) - _GAP
        n_stage = _LONG_STAGE if len(work.stage) > _STAGE else _STAGE
        n_bar = min(room - n_stage - _GAP, _MOST_BAR)
        n_stage = n_stage if n_bar >= _LEAST_BAR else room
        stage = Text(folded_in_the_middle(work.stage, max(n_stage, 1)).ljust(n_stage))
        cells: list[RenderableType] = [self._spinner, stage]
        if n_bar >= _LEAST_BAR:
            is_known = work.fraction is not None
            cells.append(ProgressBar(1.0, work.fraction or 0.0, n_bar, pulse=not is_known))
        line = Table.grid(padding=(0, _GAP, 0, 0))
        for _ in range(len(cells) + 1):
            line.add_column(no_wrap=True, overflow="crop")
        line.add_row(*cells, Text(right))
        yield line


_GAP = 2
"""Columns between two parts."""


@contextmanager
def bar(work: Work) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Show work on the terminal that stderr is, while the block runs; yield what makes it pause."""
    live = Live(
        _Line(work),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=_REFRESHES_PER_S,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    @contextmanager
    def pause() -> Iterator[None]:
        _stop(live)
        try:
            yield
        finally:
            _start(live)

    _start(live)
    try:
        yield pause
    finally:
        _stop(live)


def _start(live: Live) -> None:
    with suppress(OSError):  # the terminal was closed: the work goes on
        live.start(refresh=True)


def _stop(live: Live) -> None:
    with suppress(OSError):
        live.stop()
